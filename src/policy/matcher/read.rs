//! Matchers from YAML. Every problem is told, at its place, and what has one is not read.

use super::cidr::Cidr;
use super::contradiction;
use super::domain::Domain;
use super::glob::Glob;
use super::literals::{self, List};
use super::op::OPERATORS;
use super::pattern::Pattern;
use super::url::UrlMatcher;
use super::{JsonType, Kind, Matcher, Names, Op, Shape, affix};
use crate::policy::json::{Json, Pointer};
use crate::policy::normalise;
use crate::yaml::{At, Key, Problems, Yaml, nearest, unknown_key};

/// How deep matchers may stand in each other.
const MAX_NESTING: usize = 16;

/// The deepest JSON Pointer.
const MAX_TOKENS: usize = 64;

pub(super) struct Reader<'r> {
    pub(super) names: &'r mut dyn Names,
    pub(super) problems: &'r mut Problems,
    depth: usize,
}

/// Whether pointers may stand in a mapping beside operators.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Outside,
    InsideJson,
}

/// Reads a matcher for values of this kind.
pub(super) fn matcher(
    at: &At<'_>,
    kind: Kind,
    names: &mut dyn Names,
    problems: &mut Problems,
) -> Option<Matcher> {
    let mut reader = Reader {
        names,
        problems,
        depth: 0,
    };
    reader.matcher(at, &Domain::of(kind))
}

impl Reader<'_> {
    fn matcher(&mut self, at: &At<'_>, domain: &Domain) -> Option<Matcher> {
        self.shape(at, domain, Place::Outside)?.itself
    }

    fn shape(&mut self, at: &At<'_>, domain: &Domain, place: Place) -> Option<Shape> {
        if self.depth >= MAX_NESTING {
            at.problem(
                self.problems,
                format!("more than {MAX_NESTING} matchers inside each other"),
            );
            return None;
        }
        self.depth += 1;
        let shape = self.one_shape(at, domain, place);
        self.depth -= 1;
        let shape = shape?;
        if let Some(why) = contradiction::find(&shape, domain) {
            at.problem(self.problems, why);
            return None;
        }
        Some(shape)
    }

    fn one_shape(&mut self, at: &At<'_>, domain: &Domain, place: Place) -> Option<Shape> {
        let op = match &at.node.value {
            Yaml::Map(_) => return self.mapping(at, domain, place),
            Yaml::List(_) => match self.list(at, domain, true)? {
                List::Items(items) => Op::In(items.into()),
                List::Fact(fact) => Op::InFact(fact),
            },
            Yaml::Null | Yaml::Bool(_) | Yaml::Number(_) | Yaml::Text(_) => {
                Op::Eq(self.bare(at, domain)?)
            }
        };
        Some(Shape {
            itself: Some(Matcher { ops: vec![op] }),
            ..Shape::default()
        })
    }

    fn mapping(&mut self, at: &At<'_>, domain: &Domain, place: Place) -> Option<Shape> {
        let (mut shape, mut ops) = (Shape::default(), Vec::new());
        let (mut empty, mut complete) = (true, true);
        let entries: Vec<_> = at.entries(self.problems)?.collect();
        for (key, inner) in &entries {
            empty = false;
            let name = key.text.as_str();
            let read = match (place, name) {
                (Place::InsideJson, "only") => self.only(inner).map(|only| shape.only = Some(only)),
                (Place::InsideJson, "exactly") => literals::literal(inner, self.problems)
                    .map(|exactly| shape.exactly = Some(exactly)),
                (Place::InsideJson, pointer) if pointer.starts_with('/') => {
                    self.field(key, inner).map(|field| shape.fields.push(field))
                }
                (_, name) if OPERATORS.contains(&name) => {
                    self.op(name, inner, domain, place).map(|op| ops.push(op))
                }
                (_, unknown) => {
                    let told = self.unknown(unknown, place);
                    self.problems.add(Some(key.mark), inner.key(), told);
                    None
                }
            };
            complete &= read.is_some();
        }
        if empty {
            at.problem(
                self.problems,
                "an empty mapping says nothing; write an operator, such as `eq` or `present`",
            );
        }
        if empty || !complete {
            return None;
        }
        if !ops.is_empty() {
            // nearly always one, and there may be a hundred thousand matchers
            ops.shrink_to_fit();
            shape.itself = Some(Matcher { ops });
        }
        if let Some(mut only) = shape.only.take() {
            judged(&shape, &mut |pointer| only.push(pointer.clone()));
            only.sort();
            only.dedup();
            shape.only = Some(only);
        }
        Some(shape)
    }

    fn unknown(&self, key: &str, place: Place) -> String {
        match place {
            Place::Outside if key.starts_with('/') => {
                "a pointer stands directly in `body`, or inside `every`, `some`, `none` and `json`"
                    .to_owned()
            }
            Place::Outside if nearest(key, &OPERATORS).is_none() => {
                format!("unknown operator `{key}`; known: {}", OPERATORS.join(", "))
            }
            Place::Outside => unknown_key(key, &OPERATORS),
            Place::InsideJson => {
                let known: Vec<&str> = OPERATORS.into_iter().chain(["only", "exactly"]).collect();
                match nearest(key, &known) {
                    Some(_) => unknown_key(key, &known),
                    None => format!(
                        "unknown key `{key}`; known here: pointers such as `/{key}`, {}",
                        known.join(", ")
                    ),
                }
            }
        }
    }

    fn field(&mut self, key: &Key, inner: &At<'_>) -> Option<(Pointer, Matcher)> {
        let pointer = pointer(&key.text);
        if let Err(wrong) = &pointer {
            self.problems.add(Some(key.mark), inner.key(), wrong);
        }
        let matcher = self.matcher(inner, &Domain::JSON);
        pointer.ok().zip(matcher)
    }

    fn only(&mut self, at: &At<'_>) -> Option<Vec<Pointer>> {
        // An empty list is fine: nothing but what is judged beside it.
        if matches!(&at.node.value, Yaml::List(items) if items.is_empty()) {
            return Some(Vec::new());
        }
        self.items(at)?;
        self.texts(at, |text| match pointer(text)? {
            whole if whole.tokens().is_empty() => {
                Err("the empty pointer admits everything; drop `only`".to_owned())
            }
            pointer => Ok(pointer),
        })
    }

    fn op(&mut self, name: &str, at: &At<'_>, domain: &Domain, place: Place) -> Option<Op> {
        if domain.address && !FOR_ADDRESSES.contains(&name) {
            let fit = FOR_ADDRESSES.join(", ");
            at.problem(
                self.problems,
                format!("`{name}` doesn't fit an address; these do: {fit}"),
            );
            return None;
        }
        let fitting = |text: &str| fits_part(text, domain);
        let fitting_end = |text: &str| {
            if domain.requested {
                normalise::check_host_end(text)?;
            }
            fits_part(text, domain)
        };
        Some(match name {
            "eq" => Op::Eq(self.operand(at, domain)?),
            "ne" => Op::Ne(self.operand(at, domain)?),
            "in" => match self.list(at, domain, false)? {
                List::Items(items) => Op::In(items.into()),
                List::Fact(fact) => Op::InFact(fact),
            },
            "not_in" => match self.list(at, domain, false)? {
                List::Items(items) => Op::NotIn(items.into()),
                List::Fact(fact) => Op::NotInFact(fact),
            },
            "lt" => Op::Lt(self.bound(at, domain)?),
            "lte" => Op::Lte(self.bound(at, domain)?),
            "gt" => Op::Gt(self.bound(at, domain)?),
            "gte" => Op::Gte(self.bound(at, domain)?),
            "glob" => Op::Glob(self.texts(at, |text| {
                fitting_end(text)?;
                Glob::new(text, domain.separator)
            })?),
            "matches" => Op::Matches(self.texts(at, Pattern::new)?),
            "prefix" => Op::Prefix(self.texts(at, |text| {
                affix::check_prefix(text)?;
                fitting(text)
            })?),
            "suffix" => Op::Suffix(self.texts(at, fitting_end)?),
            "contains" => Op::Contains(self.parts(at, domain)?),
            "cidr" => Op::Cidr(self.texts(at, Cidr::parse)?),
            "url" => Op::Url(Box::new(self.url(at)?)),
            "type" => Op::Type(self.each(at, |reader, item| {
                // `type: null` in YAML is no text.
                if matches!(item.node.value, Yaml::Null) {
                    return Some(JsonType::Null);
                }
                reader.texts(item, json_type)?.pop()
            })?),
            "present" => match at.bool(self.problems)? {
                true => Op::Present,
                false => Op::Absent,
            },
            "absent" => match at.bool(self.problems)? {
                true => Op::Absent,
                false => Op::Present,
            },
            "count" => Op::Count(Box::new(self.matcher(at, &Domain::COUNT)?)),
            "every" => Op::Every(self.inside(at)?),
            "some" => Op::Some(self.inside(at)?),
            "none" => Op::None(self.inside(at)?),
            "json" => Op::Json(self.inside(at)?),
            "not" => Op::Not(Box::new(self.shape(at, domain, place)?)),
            _any_of => {
                let items = self.items(at)?;
                let shapes: Vec<_> = items
                    .iter()
                    .map(|item| self.shape(item, domain, place))
                    .collect();
                Op::AnyOf(shapes.into_iter().collect::<Option<_>>()?)
            }
        })
    }

    fn inside(&mut self, at: &At<'_>) -> Option<Box<Shape>> {
        self.shape(at, &Domain::ELEMENT, Place::InsideJson)
            .map(Box::new)
    }

    /// What `contains` looks for: scalars.
    fn parts(&mut self, at: &At<'_>, domain: &Domain) -> Option<Vec<Json>> {
        self.each(at, |reader, item| {
            if matches!(item.node.value, Yaml::List(_) | Yaml::Map(_)) {
                let found = item.node.value.kind();
                item.problem(
                    reader.problems,
                    format!("expected a scalar, found {found}; say `some` for what is more"),
                );
                return None;
            }
            let literal = literals::literal(item, reader.problems)?;
            let wrong = literal
                .as_text()
                .and_then(|text| fits_part(text, domain).err());
            match wrong {
                Some(wrong) => {
                    item.problem(reader.problems, wrong);
                    None
                }
                None => Some(literal),
            }
        })
    }

    fn url(&mut self, at: &At<'_>) -> Option<UrlMatcher> {
        const PARTS: [(&str, Domain); 4] = [
            ("scheme", Domain::SCHEME),
            ("host", Domain::HOST),
            ("port", Domain::PORT),
            ("path", Domain::URL_PATH),
        ];
        let fields = at.fields(&PARTS.map(|(name, _)| name), self.problems)?;
        let complete = at
            .entries(self.problems)?
            .all(|(key, _)| PARTS.iter().any(|(name, _)| *name == key.text));
        let [scheme, host, port, path] = PARTS.map(|(name, domain)| {
            let inner = fields.optional(name);
            inner.map(|inner| self.matcher(&inner, &domain))
        });
        // Where a part is there but has a problem, the whole has.
        let url = UrlMatcher {
            scheme: scheme.map_or(Some(None), |read| read.map(Some))?,
            host: host.map_or(Some(None), |read| read.map(Some))?,
            port: port.map_or(Some(None), |read| read.map(Some))?,
            path: path.map_or(Some(None), |read| read.map(Some))?,
        };
        if !complete {
            return None;
        }
        if url.parts().next().is_none() {
            at.problem(
                self.problems,
                "an empty mapping says nothing; write scheme, host, port or path",
            );
            return None;
        }
        Some(url)
    }
}

/// The operators that the client's address takes.
const FOR_ADDRESSES: [&str; 9] = [
    "eq", "ne", "in", "not_in", "cidr", "present", "absent", "not", "any_of",
];

fn fits_part(text: &str, domain: &Domain) -> Result<Box<str>, String> {
    if text.is_empty() {
        return Err("an empty text is part of every text; write at least one character".to_owned());
    }
    literals::fits(text, domain, false)?;
    Ok(text.into())
}

fn json_type(name: &str) -> Result<JsonType, String> {
    let names = JsonType::ALL.map(|(name, _)| name);
    JsonType::ALL
        .into_iter()
        .find(|(known, _)| *known == name)
        .map(|(_, one)| one)
        .ok_or_else(|| format!("unknown type `{name}`; known: {}", names.join(", ")))
}

fn pointer(text: &str) -> Result<Pointer, String> {
    let pointer = Pointer::parse(text)
        .ok_or_else(|| format!("`{text}` is no JSON Pointer; write one like `/a/b`"))?;
    if pointer.tokens().len() > MAX_TOKENS {
        return Err(format!("a pointer of more than {MAX_TOKENS} parts"));
    }
    Ok(pointer)
}

/// Visits the pointers that a shape judges, those of its alternatives too.
fn judged(shape: &Shape, visit: &mut dyn FnMut(&Pointer)) {
    for (pointer, _) in &shape.fields {
        visit(pointer);
    }
    for op in shape.itself.iter().flat_map(|matcher| &matcher.ops) {
        if let Op::Not(inner) = op {
            judged(inner, visit);
        } else if let Op::AnyOf(shapes) = op {
            shapes.iter().for_each(|inner| judged(inner, visit));
        }
    }
}
