//! JSONTestSuite's documents: what must be accepted is, what must be refused is, and what is read is what
//! serde_json reads.

use std::path::PathBuf;

use portcullis::policy::{BodyFields, Fault, Json, Projection};
use serde::de::{Deserialize, IgnoredAny};
use serde_json::Value as Other;

#[test]
#[expect(
    clippy::print_stderr,
    reason = "a test that passes over its cases says so"
)]
fn agrees_with_the_public_vectors() {
    let Some(folder) = vectors() else {
        eprintln!("no vectors here: passed over");
        return;
    };
    let mut seen = 0;
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".json") {
            continue;
        }
        seen += 1;
        let bytes = std::fs::read(&path).unwrap();
        let read = Json::parse(&bytes, 512);
        let free = Projection::default();
        let skipped = BodyFields::json(&bytes, &free, 512).map(|_| ());
        let duplicate = read == Err(Fault::JsonDuplicateKey);
        if !duplicate {
            assert_eq!(skipped.err(), read.clone().err(), "{name}");
        }
        match name.get(..2).unwrap() {
            "y_" if name.contains("duplicated_key") => assert!(duplicate, "{name}"),
            "y_" => assert!(read.is_ok(), "{name}: {read:?}"),
            "n_" => assert!(read.is_err() && !duplicate, "{name}: {read:?}"),
            _ => {}
        }
        if let Ok(json) = read {
            let mut other = serde_json::Deserializer::from_slice(&bytes);
            let ignored = IgnoredAny::deserialize(&mut other);
            assert!(ignored.is_ok() && other.end().is_ok(), "{name}");
            // serde_json keeps no number beyond f64 and nests 127 deep.
            if let Ok(other) = serde_json::from_slice::<Other>(&bytes) {
                assert!(same(&json, &other), "{name}: {json:?} {other:?}");
            }
        }
    }
    assert!(seen > 300, "{seen}");
}

/// Whether both read the same.
fn same(ours: &Json, other: &Other) -> bool {
    match (ours, other) {
        (Json::Null, Other::Null) => true,
        (Json::Bool(a), Other::Bool(b)) => a == b,
        (Json::Number(text), Other::Number(number)) => {
            serde_json::from_str::<serde_json::Number>(text).is_ok_and(|parsed| parsed == *number)
        }
        (Json::Text(a), Other::String(b)) => **a == **b,
        (Json::Array(a), Other::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Json::Object(a), Other::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(k, v)| b.get(&**k).is_some_and(|b| same(v, b)))
        }
        _ => false,
    }
}

fn vectors() -> Option<PathBuf> {
    let named = std::env::var_os("PORTCULLIS_VECTORS").map(PathBuf::from);
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors");
    let folder = named.unwrap_or_else(beside).join("json");
    folder.is_dir().then_some(folder)
}
