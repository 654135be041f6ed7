//! Which types of values a place has and an operator takes, so that what can never hold is found on reading.

use std::fmt;
use std::ops::{BitAnd, BitOr};

use super::{JsonType, Kind, Matcher, Op, Operand, Shape};
use crate::policy::json::Json;

/// A set of types of values; one that is missing counts as a type of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Types(u8);

impl Types {
    pub(super) const NONE: Types = Types(0);
    pub(super) const MISSING: Types = Types(1);
    pub(super) const NULL: Types = Types(2);
    pub(super) const BOOLEAN: Types = Types(4);
    pub(super) const NUMBER: Types = Types(8);
    pub(super) const TEXT: Types = Types(16);
    pub(super) const ARRAY: Types = Types(32);
    pub(super) const OBJECT: Types = Types(64);
    /// What a reference compares with.
    const SCALAR: Types = Types(28);
    pub(super) const PRESENT: Types = Types(126);
    pub(super) const ALL: Types = Types(127);

    pub(super) fn is_empty(self) -> bool {
        self == Types::NONE
    }
}

impl BitOr for Types {
    type Output = Types;

    fn bitor(self, other: Types) -> Types {
        Types(self.0 | other.0)
    }
}

impl BitAnd for Types {
    type Output = Types;

    fn bitand(self, other: Types) -> Types {
        Types(self.0 & other.0)
    }
}

impl fmt::Display for Types {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Types::MISSING, "what is missing"),
            (Types::NULL, "null"),
            (Types::BOOLEAN, "true or false"),
            (Types::NUMBER, "a number"),
            (Types::TEXT, "text"),
            (Types::ARRAY, "an array"),
            (Types::OBJECT, "an object"),
        ];
        let there = names.iter().filter(|(t, _)| !(*t & *self).is_empty());
        for (i, (_, name)) in there.enumerate() {
            write!(f, "{}{name}", if i == 0 { "" } else { " or " })?;
        }
        Ok(())
    }
}

/// A place that a matcher looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Domain {
    /// The types that values there have.
    pub(super) types: Types,
    /// What it is called in problems.
    pub(super) name: &'static str,
    /// Whether a number written in a policy compares to text there.
    pub(super) untyped: bool,
    /// Whether text there is always in lower case.
    pub(super) lower_case: bool,
    /// Whether text there is always an IP address.
    pub(super) address: bool,
    /// Whether text there is always the host of a request, in its one form.
    pub(super) requested: bool,
    /// What a `*` in a glob stops at.
    pub(super) separator: u8,
}

const TYPED: Domain = Domain {
    types: Types::ALL,
    name: "a JSON value",
    untyped: false,
    lower_case: false,
    address: false,
    requested: false,
    separator: b'/',
};

const TEXT: Types = Types(Types::TEXT.0 | Types::MISSING.0);

impl Domain {
    pub(super) const JSON: Domain = TYPED;

    pub(super) const ELEMENT: Domain = Domain {
        types: Types::PRESENT,
        name: "a value",
        ..TYPED
    };

    pub(super) const COUNT: Domain = Domain {
        types: Types::NUMBER,
        name: "a count",
        ..TYPED
    };

    pub(super) const PORT: Domain = Domain {
        types: TEXT,
        name: "a port",
        untyped: true,
        ..TYPED
    };

    pub(super) const SCHEME: Domain = Domain {
        types: Types::TEXT,
        name: "a scheme",
        lower_case: true,
        ..TYPED
    };

    pub(super) const HOST: Domain = Domain {
        types: TEXT,
        name: "a host",
        lower_case: true,
        separator: b'.',
        ..TYPED
    };

    pub(super) const URL_PATH: Domain = Domain {
        types: Types::TEXT,
        name: "a URL's path",
        ..TYPED
    };

    pub(super) fn of(kind: Kind) -> Domain {
        match kind {
            Kind::Wire => Domain {
                types: TEXT,
                name: "a value of path, query, headers or form",
                untyped: true,
                ..TYPED
            },
            Kind::Claim => Domain {
                name: "an identity or claim",
                ..TYPED
            },
            Kind::Body => TYPED,
            Kind::Host => Domain {
                requested: true,
                ..Domain::HOST
            },
            Kind::Address => Domain {
                types: TEXT,
                name: "the client's address",
                address: true,
                ..TYPED
            },
        }
    }

    /// The types of values on which an operator can be true.
    pub(super) fn taken_by(&self, op: &Op) -> Types {
        let untyped = if self.untyped {
            Types::TEXT
        } else {
            Types::NONE
        };
        match op {
            Op::Eq(operand) => self.equal_to(operand),
            Op::In(members) => members
                .iter()
                .fold(Types::NONE, |types, m| types | self.equal_to(m)),
            Op::Ne(operand) => self.unequal_to(operand),
            Op::NotIn(members) => members
                .iter()
                .fold(Types::PRESENT, |types, m| types & self.unequal_to(m)),
            Op::InFact(_) => Types::SCALAR,
            Op::NotInFact(_) => Types::PRESENT,
            Op::Lt(_) | Op::Lte(_) | Op::Gt(_) | Op::Gte(_) => Types::NUMBER | untyped,
            Op::Glob(_)
            | Op::Matches(_)
            | Op::Prefix(_)
            | Op::Suffix(_)
            | Op::Cidr(_)
            | Op::Url(_)
            | Op::Json(_) => Types::TEXT,
            Op::Contains(parts) if parts.iter().all(|part| part.as_text().is_none()) => {
                Types::ARRAY
            }
            Op::Contains(_) => Types::TEXT | Types::ARRAY,
            Op::Type(types) => types
                .iter()
                .fold(Types::NONE, |all, one| all | type_of(*one)),
            Op::Present => Types::PRESENT,
            Op::Absent => Types::MISSING,
            Op::Count(_) | Op::Every(_) | Op::Some(_) | Op::None(_) => Types::ARRAY,
            Op::Not(_) => Types::ALL,
            Op::AnyOf(shapes) => shapes
                .iter()
                .fold(Types::NONE, |types, shape| types | self.of_shape(shape)),
        }
    }

    /// The types of values on which a conjunction can be true.
    pub(super) fn taken_by_all(&self, matcher: &Matcher) -> Types {
        let ops = matcher.ops.iter();
        ops.fold(self.types, |types, op| types & self.taken_by(op))
    }

    pub(super) fn of_shape(&self, shape: &Shape) -> Types {
        let mut types = self.types;
        if let Some(itself) = &shape.itself {
            types = types & self.taken_by_all(itself);
        }
        if let Some(exactly) = &shape.exactly {
            types = types & self.equal_to_literal(exactly);
        }
        if shape.only.is_some() {
            types = types & (Types::ARRAY | Types::OBJECT);
        }
        if !shape.is_matcher() {
            types = types & Types::PRESENT;
        }
        types
    }

    fn equal_to(&self, operand: &Operand) -> Types {
        match operand {
            Operand::Fact(_) => Types::SCALAR,
            Operand::Literal(literal) => self.equal_to_literal(literal),
        }
    }

    /// What can be compared is of the same type, or null.
    fn unequal_to(&self, operand: &Operand) -> Types {
        match operand {
            Operand::Literal(Json::Null) => Types::PRESENT,
            Operand::Literal(_) | Operand::Fact(_) => self.equal_to(operand) | Types::NULL,
        }
    }

    fn equal_to_literal(&self, literal: &Json) -> Types {
        match literal {
            Json::Null => Types::NULL,
            Json::Bool(_) => Types::BOOLEAN,
            Json::Number(_) if self.untyped => Types::NUMBER | Types::TEXT,
            Json::Number(_) => Types::NUMBER,
            Json::Text(_) => Types::TEXT,
            Json::Array(_) => Types::ARRAY,
            Json::Object(_) => Types::OBJECT,
        }
    }
}

fn type_of(one: JsonType) -> Types {
    match one {
        JsonType::Null => Types::NULL,
        JsonType::Boolean => Types::BOOLEAN,
        JsonType::Object => Types::OBJECT,
        JsonType::Array => Types::ARRAY,
        JsonType::Number | JsonType::Integer => Types::NUMBER,
        JsonType::String => Types::TEXT,
    }
}
