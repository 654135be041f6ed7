//! The operators: what each takes, and what it says of a value.

use std::cmp::Ordering;

use super::cidr::{self, Cidr};
use super::glob::{self, Glob};
use super::pattern::Pattern;
use super::url::UrlMatcher;
use super::{Matcher, Members, Operand, Scope, Shape, affix, compare, number, shape};
use crate::policy::facts::FactRef;
use crate::policy::json::Json;
use crate::policy::value::{Truth, Value};

/// One operator with its operand. A list of patterns is one of them.
#[derive(Clone, Debug)]
pub enum Op {
    /// `eq`, a bare scalar, or `$…`.
    Eq(Operand),
    /// `ne`.
    Ne(Operand),
    /// `in` or a bare list.
    In(Members),
    /// `in: $…`: the fact is a list.
    InFact(FactRef),
    /// `not_in`.
    NotIn(Members),
    /// `not_in: $…`.
    NotInFact(FactRef),
    /// `lt`.
    Lt(Operand),
    /// `lte`.
    Lte(Operand),
    /// `gt`.
    Gt(Operand),
    /// `gte`.
    Gte(Operand),
    /// `glob`.
    Glob(Vec<Glob>),
    /// `matches`.
    Matches(Vec<Pattern>),
    /// `prefix`.
    Prefix(Vec<Box<str>>),
    /// `suffix`.
    Suffix(Vec<Box<str>>),
    /// `contains`: parts of a text, or elements of a list; literals that are scalars.
    Contains(Vec<Json>),
    /// `cidr`.
    Cidr(Vec<Cidr>),
    /// `url`.
    Url(Box<UrlMatcher>),
    /// `type`.
    Type(Vec<JsonType>),
    /// `present: true` or `absent: false`.
    Present,
    /// `absent: true` or `present: false`.
    Absent,
    /// `count`: a condition on how many elements a list has.
    Count(Box<Matcher>),
    /// `every`.
    Every(Box<Shape>),
    /// `some`.
    Some(Box<Shape>),
    /// `none`.
    None(Box<Shape>),
    /// `not`.
    Not(Box<Shape>),
    /// `any_of`. Only inside `every`, `some`, `none` and `json` are its shapes more than matchers.
    AnyOf(Vec<Shape>),
    /// `json`: the text is JSON of this shape.
    Json(Box<Shape>),
}

/// The type names of JSON Schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonType {
    /// `null`.
    Null,
    /// `boolean`.
    Boolean,
    /// `object`.
    Object,
    /// `array`.
    Array,
    /// `number`.
    Number,
    /// `integer`: a number without a fraction; `1.0` is one.
    Integer,
    /// `string`.
    String,
}

impl Op {
    /// Whether the value satisfies this operator.
    pub fn test<S: Scope>(&self, value: Value<'_>, scope: &S) -> Truth {
        let text = |accept: &dyn Fn(&str) -> Truth| {
            compare::text(value).map_or(Truth::Indeterminate, accept)
        };
        match self {
            Op::Eq(operand) => compare::equals_operand(value, operand, scope),
            Op::Ne(operand) => !compare::equals_operand(value, operand, scope),
            Op::In(members) => members.test(value, scope),
            Op::InFact(fact) => compare::member_of_fact(value, scope.fact(fact), scope),
            Op::NotIn(members) => !members.test(value, scope),
            Op::NotInFact(fact) => !compare::member_of_fact(value, scope.fact(fact), scope),
            Op::Lt(operand) => compare::ordered(value, operand, scope, Ordering::is_lt),
            Op::Lte(operand) => compare::ordered(value, operand, scope, Ordering::is_le),
            Op::Gt(operand) => compare::ordered(value, operand, scope, Ordering::is_gt),
            Op::Gte(operand) => compare::ordered(value, operand, scope, Ordering::is_ge),
            Op::Glob(globs) => text(&|text| glob::test(globs, text)),
            Op::Matches(patterns) => {
                text(&|text| compare::any(patterns.iter().map(|p| p.test(text))))
            }
            Op::Prefix(prefixes) => text(&|text| affix::prefix(prefixes, text)),
            Op::Suffix(suffixes) => text(&|text| affix::suffix(suffixes, text)),
            Op::Contains(parts) => affix::contains(parts, value, scope),
            Op::Cidr(ranges) => text(&|text| cidr::test(ranges, text)),
            Op::Url(url) => text(&|text| url.test(text, scope)),
            Op::Type(types) => compare::any(types.iter().map(|one| one.test(value))),
            Op::Present => presence(value),
            Op::Absent => !presence(value),
            Op::Count(count) => shape::length(value).map_or(Truth::Indeterminate, |length| {
                let mut digits = itoa::Buffer::new();
                count.test(Value::Number(digits.format(length)), scope)
            }),
            Op::Every(shape) => shape::every(shape, value, scope),
            Op::Some(shape) => shape::some(shape, value, scope),
            Op::None(shape) => !shape::some(shape, value, scope),
            Op::Not(shape) => !shape.test(value, scope),
            Op::AnyOf(shapes) => compare::any(shapes.iter().map(|s| s.test(value, scope))),
            Op::Json(shape) => shape::json(shape, value, scope),
        }
    }

    /// The operator's name in a policy.
    pub const fn name(&self) -> &'static str {
        match self {
            Op::Eq(_) => "eq",
            Op::Ne(_) => "ne",
            Op::In(_) | Op::InFact(_) => "in",
            Op::NotIn(_) | Op::NotInFact(_) => "not_in",
            Op::Lt(_) => "lt",
            Op::Lte(_) => "lte",
            Op::Gt(_) => "gt",
            Op::Gte(_) => "gte",
            Op::Glob(_) => "glob",
            Op::Matches(_) => "matches",
            Op::Prefix(_) => "prefix",
            Op::Suffix(_) => "suffix",
            Op::Contains(_) => "contains",
            Op::Cidr(_) => "cidr",
            Op::Url(_) => "url",
            Op::Type(_) => "type",
            Op::Present => "present",
            Op::Absent => "absent",
            Op::Count(_) => "count",
            Op::Every(_) => "every",
            Op::Some(_) => "some",
            Op::None(_) => "none",
            Op::Not(_) => "not",
            Op::AnyOf(_) => "any_of",
            Op::Json(_) => "json",
        }
    }

    /// Visits every fact that the operator refers to.
    pub fn references(&self, visit: &mut dyn FnMut(&FactRef)) {
        match self {
            Op::Eq(operand)
            | Op::Ne(operand)
            | Op::Lt(operand)
            | Op::Lte(operand)
            | Op::Gt(operand)
            | Op::Gte(operand) => operand.reference(visit),
            Op::In(members) | Op::NotIn(members) => {
                members.iter().for_each(|member| member.reference(visit));
            }
            Op::InFact(fact) | Op::NotInFact(fact) => visit(fact),
            Op::Url(url) => url.parts().for_each(|part| part.references(visit)),
            Op::Count(count) => count.references(visit),
            Op::Every(shape)
            | Op::Some(shape)
            | Op::None(shape)
            | Op::Not(shape)
            | Op::Json(shape) => shape.references(visit),
            Op::AnyOf(shapes) => shapes.iter().for_each(|shape| shape.references(visit)),
            Op::Glob(_)
            | Op::Matches(_)
            | Op::Prefix(_)
            | Op::Suffix(_)
            | Op::Contains(_)
            | Op::Cidr(_)
            | Op::Type(_)
            | Op::Present
            | Op::Absent => {}
        }
    }
}

impl JsonType {
    /// Every type, with its name in JSON Schema.
    pub const ALL: [(&'static str, JsonType); 7] = [
        ("null", JsonType::Null),
        ("boolean", JsonType::Boolean),
        ("object", JsonType::Object),
        ("array", JsonType::Array),
        ("number", JsonType::Number),
        ("integer", JsonType::Integer),
        ("string", JsonType::String),
    ];

    fn test(self, value: Value<'_>) -> Truth {
        let actual = match value {
            Value::Missing | Value::Unreadable => return Truth::Indeterminate,
            Value::Number(number) if self == JsonType::Integer => {
                return number::is_integer(number);
            }
            Value::Null => JsonType::Null,
            Value::Bool(_) => JsonType::Boolean,
            Value::Number(_) => JsonType::Number,
            Value::Text(_) | Value::Wire(_) => JsonType::String,
            Value::Texts(_) | Value::Json(Json::Array(_)) => JsonType::Array,
            Value::Json(Json::Object(_)) => JsonType::Object,
            // Scalars arrive as values of their own.
            Value::Json(scalar) => return self.test(scalar.into()),
        };
        (self == actual).into()
    }
}

fn presence(value: Value<'_>) -> Truth {
    match value {
        Value::Missing => Truth::False,
        Value::Unreadable => Truth::Indeterminate,
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Text(_)
        | Value::Wire(_)
        | Value::Texts(_)
        | Value::Json(_) => Truth::True,
    }
}

/// The names of all operators, in the order of the documentation.
pub(super) const OPERATORS: [&str; 25] = [
    "eq", "ne", "in", "not_in", "lt", "lte", "gt", "gte", "glob", "matches", "prefix", "suffix",
    "contains", "cidr", "url", "type", "present", "absent", "count", "every", "some", "none",
    "not", "any_of", "json",
];
