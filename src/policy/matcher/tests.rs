//! Matchers as tables: YAML text, value, verdict; and YAML text, problem.

use std::cell::{Cell, RefCell};

use super::*;
use crate::yaml;

mod impossible;
mod inside;
mod problems;
mod scalars;
mod texts;

/// Claims, query parameters and faults of a made-up request.
struct World {
    claims: Json,
    note: RefCell<Option<Fault>>,
    /// How many comparisons with elements may be made.
    left: Cell<u32>,
}

impl World {
    fn new() -> World {
        let claims = r#"{
            "name": "ann", "n": 5, "flag": true, "null": null, "repos": ["a", "b"], "mixed": ["a", 1],
            "holey": ["a", null], "nobody": [], "object": {"a": 1}, "big": 9007199254740993
        }"#;
        World {
            claims: Json::parse(claims.as_bytes(), 64).unwrap(),
            note: RefCell::new(None),
            left: Cell::new(u32::MAX),
        }
    }
}

impl Scope for World {
    fn fact(&self, fact: &FactRef) -> Value<'_> {
        if let FactRef::Claim(pointer) = fact {
            return self.claims.at(pointer).map_or(Value::Missing, Value::from);
        }
        assert_eq!(*fact, FactRef::Query("seven".into()));
        Value::Wire("7")
    }

    fn note(&self, fault: Fault) {
        self.note.borrow_mut().get_or_insert(fault);
    }

    fn spend(&self) -> bool {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.unwrap_or_default());
        left.is_some()
    }
}

struct Sections;

impl Names for Sections {
    fn resolve(&mut self, reference: &str) -> Result<FactRef, String> {
        match reference.split_once('/') {
            Some(("claims", rest)) => {
                Ok(FactRef::Claim(Pointer::parse(&format!("/{rest}")).unwrap()))
            }
            Some(("query", name)) => Ok(FactRef::Query(name.into())),
            _ => Err(format!("no fact `{reference}`")),
        }
    }
}

/// Reads `m: <text>` as a matcher; its problems as `line:column key: message`.
fn read(text: &str, kind: Kind) -> Result<Matcher, Vec<String>> {
    let mut problems = Problems::new("f");
    let text = format!("m: {text}\n");
    let matcher = yaml::parse(&text, &mut problems).and_then(|root| {
        let at = At::root(&root);
        let fields = at.fields(&["m"], &mut problems)?;
        let inner = fields.required("m", &mut problems)?;
        Matcher::read(&inner, kind, &mut Sections, &mut problems)
    });
    let told: Vec<String> = problems
        .into_vec()
        .iter()
        .map(|problem| problem.to_string().trim_start_matches("f:").to_owned())
        .collect();
    match matcher {
        Some(matcher) => {
            assert!(told.is_empty(), "{text}: read, but {told:?}");
            Ok(matcher)
        }
        None => {
            assert!(!told.is_empty(), "{text}: not read, and no word why");
            Err(told)
        }
    }
}

/// Tests a value, written as JSON, or as `missing`, `unreadable`, `wire …`, `texts …` or `number …`.
fn test(matcher: &Matcher, value: &str, world: &World) -> Truth {
    let (kind, rest) = value.split_once(' ').unwrap_or((value, ""));
    let texts: Vec<Box<str>>;
    let json;
    let value = match kind {
        "missing" => Value::Missing,
        "unreadable" => Value::Unreadable,
        "wire" => Value::Wire(rest),
        "text" => Value::Text(rest),
        "number" => Value::Number(rest),
        "texts" => {
            texts = rest.split_whitespace().map(Into::into).collect();
            Value::Texts(&texts)
        }
        _ => {
            json = Json::parse(value.as_bytes(), 64).unwrap_or_else(|_| panic!("{value}"));
            Value::from(&json)
        }
    };
    matcher.test(value, world)
}

/// A matcher and its verdict on each value.
fn check(kind: Kind, matcher: &str, cases: &[(&str, Truth)]) {
    let read = read(matcher, kind).unwrap_or_else(|told| panic!("{matcher}: {told:?}"));
    for (value, expected) in cases {
        let found = test(&read, value, &World::new());
        assert_eq!(found, *expected, "{matcher} on {value}");
    }
}

/// Matchers and all that is told of each.
fn refused(cases: &[(Kind, &str, &str)]) {
    for (kind, matcher, expected) in cases {
        match read(matcher, *kind) {
            Ok(read) => panic!("{matcher}: read as {read:?}"),
            Err(told) => assert_eq!(told.join(" | "), *expected, "{matcher}"),
        }
    }
}
