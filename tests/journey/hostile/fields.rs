//! Whether what the record says was judged in a JSON body is what another parser finds in the bytes that the upstream
//! got: `serde_json` for the values, and each key on the way there once.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::upstream::Request;

/// Compares every field on record. How many there are is for the policies to say.
pub fn agree(record: &Value, request: &Request) -> Result<(), String> {
    let media = request.values("content-type").concat();
    let json = media.to_ascii_lowercase().contains("json");
    let Some(judged) = record["request"]["judged"].as_object().filter(|_| json) else {
        return Ok(());
    };
    for (label, recorded) in judged {
        let recorded = recorded.as_str().unwrap_or_default();
        let pointer = label.strip_prefix("body").unwrap_or(label);
        let found = serde_json::from_slice::<&RawValue>(&request.body)
            .map_err(|e| format!("{label} is on record, but the upstream gets no JSON: {e}"))
            .and_then(|root| at(root, pointer))
            .and_then(text)?;
        // A record cuts what is longer than 128 bytes, at a whole character.
        let same = found == recorded || (found.starts_with(recorded) && recorded.len() > 124);
        if !same {
            return Err(format!(
                "{label} is {recorded:?} on record, {found:?} to the upstream"
            ));
        }
    }
    Ok(())
}

/// The value at a JSON Pointer, as written.
fn at<'b>(root: &'b RawValue, pointer: &str) -> Result<&'b RawValue, String> {
    let tokens = pointer.split('/').skip(1);
    tokens
        .map(|token| token.replace("~1", "/").replace("~0", "~"))
        .try_fold(root, |value, token| {
            if value.get().starts_with('[') {
                let items: Vec<&RawValue> = serde_json::from_str(value.get()).unwrap();
                let index: usize = token.parse().map_err(|_| format!("no index: {token}"))?;
                return items.get(index).copied().ok_or(format!("no {token}"));
            }
            let Members(members) = serde_json::from_str(value.get()).map_err(|e| e.to_string())?;
            let mut named = members.into_iter().filter(|(key, _)| *key == token);
            match (named.next(), named.next()) {
                (Some((_, value)), None) => Ok(value),
                (found, _) => Err(format!(
                    "{token} stands there {}",
                    match found {
                        Some(_) => "twice",
                        None => "not at all",
                    }
                )),
            }
        })
}

/// A scalar as records tell it: a text without its escapes, all else as written.
fn text(value: &RawValue) -> Result<String, String> {
    match value.get() {
        text if text.starts_with('"') => serde_json::from_str(text).map_err(|e| e.to_string()),
        other => Ok(other.to_owned()),
    }
}

/// An object with every key, also one that comes twice.
struct Members<'b>(Vec<(String, &'b RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}
