//! Lines of an audit log against the schema that `portcullis schema audit` prints, read strictly: what the schema lets
//! come later must not come now, so that a new field is told in the schema first.

use std::collections::HashSet;
use std::sync::LazyLock;

use portcullis::schema::audit;
use serde_json::{Map, Value};

use self::json_schema::misfits;

#[path = "json_schema.rs"]
mod json_schema;

/// What keeps a line from fitting; nothing if it fits.
pub(crate) fn misfits_of(line: &Value) -> Vec<String> {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| closed(audit()));
    let of = |name: &str| line[name].as_str().unwrap_or_default();
    let name = match of("kind") {
        "event" => format!("event_{}", of("event")),
        kind => kind.to_owned(),
    };
    match SCHEMA["$defs"].get(&name) {
        Some(definition) => misfits(&SCHEMA, definition, line, &name),
        None => vec![format!("no kind of line: {name}")],
    }
}

/// Panics at the first line that doesn't fit. Half a line, and what tests put there that is no record, is passed over; so
/// is a line that differs from one before in digits alone, of which a flood leaves tens of thousands.
pub(crate) fn check(text: &str) {
    let mut known = HashSet::new();
    let whole = |line: &&str| line.ends_with('\n');
    for line in text.split_inclusive('\n').filter(whole) {
        if !known.insert(shape(line)) {
            continue;
        }
        let Ok(value) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let misfits = misfits_of(&value);
        assert!(misfits.is_empty(), "{}\n{line}", misfits.join("\n"));
    }
}

/// A line with a 0 for each hex digit within text, and for each number.
fn shape(line: &str) -> Vec<u8> {
    let mut shape = Vec::with_capacity(line.len());
    let mut within = false;
    for byte in line.bytes() {
        within ^= byte == b'"';
        match byte {
            b'0'..=b'9' if !within && shape.last() == Some(&b'0') => {}
            b'0'..=b'9' => shape.push(b'0'),
            b'a'..=b'f' if within => shape.push(b'0'),
            byte => shape.push(byte),
        }
    }
    shape
}

/// The schema with every object closed.
fn closed(schema: Value) -> Value {
    match schema {
        Value::Object(members) => {
            let members = members
                .into_iter()
                .map(|(name, value)| (name, closed(value)));
            let mut members: Map<String, Value> = members.collect();
            let names = members.get("properties").is_some_and(Value::is_object);
            if names && members.get("type").is_some_and(|t| t == "object") {
                members
                    .entry("additionalProperties")
                    .or_insert(false.into());
            }
            Value::Object(members)
        }
        Value::Array(items) => items.into_iter().map(closed).collect(),
        other => other,
    }
}
