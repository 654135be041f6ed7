//! JSON Schema (2020-12), as much of it as our own schemas use. A keyword that isn't known here fails the test.

use std::cell::RefCell;
use std::collections::HashMap;

use regex_automata::meta::Regex;
use serde_json::{Map, Value};

/// What keeps a value from fitting; nothing if it fits.
pub(crate) fn misfits(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let Some(schema) = schema.as_object() else {
        return if *schema == Value::Bool(true) {
            Vec::new()
        } else {
            vec![format!("{at}: not allowed")]
        };
    };
    let mut found = Vec::new();
    let fits = |schema: &Value| misfits(root, schema, value, at).is_empty();
    for (keyword, rule) in schema {
        let fine = match keyword.as_str() {
            "$defs" | "$schema" | "default" | "description" | "title" | "format" | "then"
            | "else" => true,
            "$ref" => {
                let pointer = rule.as_str().unwrap().strip_prefix('#').unwrap();
                let target = root.pointer(pointer).unwrap();
                found.extend(misfits(root, target, value, at));
                true
            }
            "type" => match rule {
                Value::Array(all) => all.iter().any(|one| is(one, value)),
                one => is(one, value),
            },
            "const" => value == rule,
            "enum" => rule.as_array().unwrap().contains(value),
            "anyOf" => rule.as_array().unwrap().iter().any(fits),
            "oneOf" => rule.as_array().unwrap().iter().filter(|s| fits(s)).count() == 1,
            "not" => !fits(rule),
            "if" => schema
                .get(if fits(rule) { "then" } else { "else" })
                .is_none_or(fits),
            "minimum" => value.as_f64().is_none_or(|n| n >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|n| n <= rule.as_f64().unwrap()),
            "minLength" => value
                .as_str()
                .is_none_or(|t| t.chars().count() as u64 >= rule.as_u64().unwrap()),
            "pattern" => value.as_str().is_none_or(|text| matches(rule, text)),
            "maxLength" => value
                .as_str()
                .is_none_or(|t| t.chars().count() as u64 <= rule.as_u64().unwrap()),
            "minItems" => value
                .as_array()
                .is_none_or(|a| a.len() as u64 >= rule.as_u64().unwrap()),
            "maxItems" => value
                .as_array()
                .is_none_or(|a| a.len() as u64 <= rule.as_u64().unwrap()),
            "maxProperties" => value
                .as_object()
                .is_none_or(|o| o.len() as u64 <= rule.as_u64().unwrap()),
            "propertyNames" => value.as_object().is_none_or(|object| {
                let names = object.keys().map(|name| Value::from(name.as_str()));
                names
                    .into_iter()
                    .all(|name| misfits(root, rule, &name, at).is_empty())
            }),
            "minProperties" => value
                .as_object()
                .is_none_or(|o| o.len() as u64 >= rule.as_u64().unwrap()),
            "required" => value.as_object().is_none_or(|object| {
                rule.as_array()
                    .unwrap()
                    .iter()
                    .all(|name| object.contains_key(name.as_str().unwrap()))
            }),
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(misfits(root, rule, item, &format!("{at}[{index}]")));
                }
                true
            }
            "properties" => true,
            "patternProperties" => true,
            "additionalProperties" => true,
            other => panic!("a keyword that this test doesn't know: {other}"),
        };
        if !fine {
            found.push(format!("{at}: {keyword} {rule}, found {value}"));
        }
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        found.extend(member_misfits(
            root,
            schema,
            name,
            member,
            &format!("{at}.{name}"),
        ));
    }
    found
}

fn member_misfits(
    root: &Value,
    schema: &Map<String, Value>,
    name: &str,
    member: &Value,
    at: &str,
) -> Vec<String> {
    let mut rules: Vec<&Value> = Vec::new();
    rules.extend(schema.get("properties").and_then(|p| p.get(name)));
    let patterns = schema.get("patternProperties").and_then(Value::as_object);
    for (pattern, rule) in patterns.into_iter().flatten() {
        if matches(&pattern.clone().into(), name) {
            rules.push(rule);
        }
    }
    if rules.is_empty() {
        rules.extend(schema.get("additionalProperties"));
    }
    rules
        .iter()
        .flat_map(|rule| misfits(root, rule, member, at))
        .collect()
}

fn is(kind: &Value, value: &Value) -> bool {
    match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("no type of JSON Schema: {other}"),
    }
}

fn matches(pattern: &Value, text: &str) -> bool {
    thread_local! {
        static COMPILED: RefCell<HashMap<String, Regex>> = RefCell::default();
    }
    let pattern = pattern.as_str().unwrap();
    COMPILED.with_borrow_mut(|compiled| match compiled.get(pattern) {
        Some(regex) => regex.is_match(text),
        None => {
            let regex = Regex::new(pattern).unwrap();
            let found = regex.is_match(text);
            compiled.insert(pattern.to_owned(), regex);
            found
        }
    })
}
