//! JSON Schemas (2020-12) of the files that people write, for editors, and of the log that programs read: `portcullis
//! schema`.
//!
//! The schema of the configuration is made from the table that configurations are read by. Those of policies
//! and cases describe DESIGN's tables, that of the audit log `audit/record.rs`. A schema tells shapes, not the whole truth: what the loaders check
//! beyond (references, files, patterns) is deliberately absent.

use serde_json::{Map, Value, json};

use crate::config::raw::{CONFIG, Key, Kind, SECTIONS, Section};
use crate::config::read::default_of;
use crate::yaml::{Node, Yaml};

mod audit;
mod cases;
mod policy;

#[cfg(test)]
#[path = "../tests/support/audit_schema.rs"]
pub(crate) mod audit_lines;

pub use audit::audit;
pub use cases::cases;
pub use policy::policy;

/// The schema of a configuration file.
pub fn config() -> Value {
    let defs: Map<String, Value> = SECTIONS
        .iter()
        .filter(|section| section.name != CONFIG.name)
        .map(|section| (section.name.to_owned(), of_section(section)))
        .collect();
    let mut root = of_section(&CONFIG);
    set(&mut root, "$schema", DIALECT);
    set(&mut root, "title", "Portcullis configuration");
    set(&mut root, "$defs", defs);
    root
}

/// The version of JSON Schema.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

fn of_section(section: &Section) -> Value {
    let properties: Map<String, Value> = section
        .keys
        .iter()
        .map(|key| (key.name.to_owned(), of_key(section, key)))
        .collect();
    let required: Vec<&str> = section
        .keys
        .iter()
        .filter(|key| key.required)
        .map(|key| key.name)
        .collect();
    let mut schema = json!({
        "type": "object",
        "description": section.about,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    if !section.one_of.is_empty() {
        let one_of = section
            .one_of
            .iter()
            .map(|key| json!({ "required": [key] }));
        set(&mut schema, "oneOf", one_of.collect::<Value>());
    }
    schema
}

fn of_key(section: &Section, key: &Key) -> Value {
    let mut schema = of_kind(&key.kind);
    set(&mut schema, "description", key.about);
    if let Some(default) = default_of(section, key) {
        set(&mut schema, "default", to_json(default));
    }
    schema
}

fn of_kind(kind: &Kind) -> Value {
    match kind {
        Kind::Text | Kind::File => json!({ "type": "string" }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Duration(_, _, word) => {
            or_word(json!({ "type": "string", "pattern": DURATION }), *word)
        }
        Kind::Size(_, _, word) => {
            let text = json!({ "type": "string", "pattern": "^(0|[1-9][0-9]*)(B|KiB|MiB|GiB)$" });
            let bytes = json!({ "type": "integer", "minimum": 0 });
            or_word(json!({ "anyOf": [text, bytes] }), *word)
        }
        Kind::Count(least, most, word) => {
            let count = json!({ "type": "integer", "minimum": least, "maximum": most });
            or_word(count, *word)
        }
        Kind::Word(words) => json!({ "enum": words }),
        Kind::List(item) => json!({ "type": "array", "items": of_kind(item) }),
        Kind::OneOrMany(item) => one_or_many(&of_kind(item)),
        Kind::Map(value) => json!({ "type": "object", "additionalProperties": of_kind(value) }),
        Kind::Section(section) => json!({ "$ref": format!("#/$defs/{}", section.name) }),
        Kind::Either(one, other) => json!({ "anyOf": [of_kind(one), of_kind(other)] }),
        Kind::JwkSet => json!({
            "type": "object",
            "properties": { "keys": { "type": "array", "items": { "type": "object", "required": ["kty"] } } },
            "required": ["keys"],
        }),
    }
}

/// A duration as `config/units.rs` reads it.
const DURATION: &str = "^(0|[1-9][0-9]*)(ms|s|m|h)$";

fn or_word(schema: Value, word: Option<&str>) -> Value {
    match word {
        Some(word) => json!({ "anyOf": [{ "const": word }, schema] }),
        None => schema,
    }
}

fn one_or_many(item: &Value) -> Value {
    json!({ "anyOf": [item, { "type": "array", "items": item }] })
}

/// Puts a member into an object.
fn set(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value.into());
    }
}

/// A closed mapping.
fn closed(about: &str, properties: Value, required: &[&str]) -> Value {
    json!({
        "type": "object",
        "description": about,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// A schema with its sentence.
fn about(mut schema: Value, text: &str) -> Value {
    set(&mut schema, "description", text);
    schema
}

fn to_json(node: &Node) -> Value {
    match &node.value {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => Value::Bool(*value),
        Yaml::Number(text) => serde_json::from_str(text).unwrap_or(Value::Null),
        Yaml::Text(text) => Value::String(text.clone()),
        Yaml::List(items) => items.iter().map(to_json).collect(),
        Yaml::Map(entries) => {
            let entries = entries
                .iter()
                .map(|(key, node)| (key.text.clone(), to_json(node)));
            Value::Object(entries.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `$ref` leads somewhere, every pattern compiles, every `required` key is among the properties.
    fn check(schema: &Value, root: &Value, at: &str) {
        match schema {
            Value::Object(members) => {
                if let Some(Value::String(target)) = members.get("$ref") {
                    let pointer = target.strip_prefix('#').unwrap();
                    assert!(root.pointer(pointer).is_some(), "{at}: {target}");
                }
                if let Some(Value::String(pattern)) = members.get("pattern") {
                    regex_automata::meta::Regex::new(pattern).unwrap();
                }
                if let (Some(Value::Array(required)), Some(Value::Object(properties))) =
                    (members.get("required"), members.get("properties"))
                {
                    for key in required {
                        assert!(
                            properties.contains_key(key.as_str().unwrap()),
                            "{at}: {key}"
                        );
                    }
                }
                for (name, member) in members {
                    check(member, root, &format!("{at}/{name}"));
                }
            }
            Value::Array(items) => items.iter().for_each(|item| check(item, root, at)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn schemas_hold_together() {
        for (name, schema) in [
            ("config", config()),
            ("policy", policy()),
            ("cases", cases()),
            ("audit", audit()),
        ] {
            check(&schema, &schema, name);
            assert_eq!(schema["$schema"], DIALECT);
            assert_eq!(
                schema["properties"]["version"]["maximum"]
                    .as_u64()
                    .unwrap_or(1),
                1
            );
        }
    }

    #[test]
    fn every_property_of_the_configuration_is_described() {
        let schema = config();
        for section in SECTIONS {
            let of = match section.name {
                "config" => &schema,
                name => &schema["$defs"][name],
            };
            let properties = of["properties"].as_object().unwrap();
            assert_eq!(properties.len(), section.keys.len(), "{}", section.name);
            for (name, property) in properties {
                let text = property["description"].as_str().unwrap();
                assert!(text.ends_with('.'), "{}.{name}: {text}", section.name);
            }
        }
    }

    #[test]
    fn defaults_and_ranges_are_told() {
        let schema = config();
        let limits = &schema["$defs"]["limits"]["properties"];
        assert_eq!(limits["headers"]["default"], 100);
        assert_eq!(limits["headers"]["minimum"], 10);
        assert_eq!(limits["judged_body"]["default"], "1MiB");
        assert_eq!(schema["$defs"]["keys"]["oneOf"][4]["required"][0], "secret");
    }
}
