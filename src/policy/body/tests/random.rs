//! Random documents, whole and broken, with serde_json as the other reader.

use proptest::prelude::*;
use serde_json::Value as Other;

use super::*;
use crate::policy::json::array_index;
use crate::policy::json::tests::random::{document, mutated, same, written};

/// Pointers into documents of [`document`], some of which lead somewhere.
fn some_pointers() -> impl Strategy<Value = Vec<Pointer>> {
    let token = prop_oneof!["[a-d0-2]", Just("~0".to_string()), Just("~1".to_string())];
    let pointer = proptest::collection::vec(token, 0..4).prop_map(|tokens| {
        let text: String = tokens.iter().map(|token| format!("/{token}")).collect();
        Pointer::parse(&text).unwrap()
    });
    proptest::collection::vec(pointer, 0..8)
}

/// Whether the list admits all of the document: DESIGN's words, word for word.
fn admitted(value: &Other, here: &[String], only: &[Pointer]) -> bool {
    let tokens = |pointer: &Pointer| {
        pointer
            .tokens()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    if only
        .iter()
        .any(|pointer| here.starts_with(&tokens(pointer)))
    {
        return true;
    }
    let on_the_way = |to: &[String]| only.iter().any(|pointer| tokens(pointer).starts_with(to));
    if !here.is_empty() && !on_the_way(here) {
        return false;
    }
    let below = |token: String| [here, &[token]].concat();
    match value {
        Other::Object(members) => members
            .iter()
            .all(|(key, value)| admitted(value, &below(key.clone()), only)),
        Other::Array(items) if items.is_empty() => only.iter().map(tokens).any(|pointer| {
            pointer.starts_with(here)
                && pointer
                    .get(here.len())
                    .is_some_and(|token| array_index(token).is_some())
        }),
        Other::Array(items) => {
            let mut items = items.iter().enumerate();
            items.all(|(index, value)| admitted(value, &below(index.to_string()), only))
        }
        Other::Null | Other::Bool(_) | Other::Number(_) | Other::String(_) => false,
    }
}

fn agree(
    read: &BodyFields<'_>,
    document: &Other,
    fields: &[Pointer],
    only: &[Pointer],
) -> Result<(), TestCaseError> {
    for (pointer, id) in fields.iter().zip(0..) {
        let field = read.field(id);
        match document.pointer(&pointer.to_string()) {
            None => prop_assert!(matches!(field, Value::Missing)),
            Some(other) => {
                let json = match field {
                    Value::Null => Json::Null,
                    Value::Bool(value) => Json::Bool(value),
                    Value::Number(text) => Json::Number(text.into()),
                    Value::Text(text) => Json::Text(text.into()),
                    Value::Json(json) => json.clone(),
                    Value::Missing | Value::Unreadable | Value::Wire(_) | Value::Texts(_) => {
                        return Err(TestCaseError::fail(format!("{pointer}: {field:?}")));
                    }
                };
                prop_assert!(same(&json, other), "{}: {:?}", pointer, json);
            }
        }
    }
    match read.unexpected(0) {
        None => prop_assert!(admitted(document, &[], only)),
        Some(place) => {
            prop_assert!(!admitted(document, &[], only));
            prop_assert!(document.pointer(place).is_some(), "{}", place);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn reads_the_fields_that_serde_json_reads(
        document in document(),
        choices in any::<u64>(),
        fields in some_pointers(),
        only in some_pointers(),
    ) {
        let numbered: Vec<_> = fields.iter().cloned().zip(0..).collect();
        let projection = Projection::new(&numbered, &[(0, only.clone())]);
        let text = written(&document, choices);
        match BodyFields::json(text.as_bytes(), &projection, 128) {
            Ok(read) => agree(&read, &document, &fields, &only)?,
            // The strings that make keys now and then differ in case.
            Err(fault) => prop_assert_eq!(fault, Fault::JsonKeyCase),
        }
    }

    #[test]
    fn accepts_no_body_that_serde_json_refuses(
        document in document(),
        choices in any::<u64>(),
        fields in some_pointers(),
        only in some_pointers(),
        mutations in proptest::collection::vec((any::<usize>(), any::<u8>(), 0..3_u8), 1..4),
    ) {
        let numbered: Vec<_> = fields.iter().cloned().zip(0..).collect();
        let projection = Projection::new(&numbered, &[(0, only)]);
        let bytes = mutated(written(&document, choices).into_bytes(), &mutations);
        let read = BodyFields::json(&bytes, &projection, 128);
        let free = BodyFields::json(&bytes, &Projection::default(), 128);
        match &read {
            Ok(_) => {
                prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok());
                prop_assert!(free.is_ok());
            }
            Err(Fault::JsonDuplicateKey | Fault::JsonKeyCase) => {}
            Err(fault) => prop_assert_eq!(free.err(), Some(*fault)),
        }
        if let (Ok(read), Ok(other)) = (read, serde_json::from_slice::<Other>(&bytes)) {
            for (pointer, id) in fields.iter().zip(0..) {
                let found = other.pointer(&pointer.to_string()).is_some();
                prop_assert_eq!(found, !matches!(read.field(id), Value::Missing));
            }
        }
    }
}
