//! JSONTestSuite's documents: what must be accepted is, what must be refused is, and what is read is what
//! serde_json reads. Each stands as a whole body, as a judged value within one, and, where it is a string, as a
//! key.

use http::HeaderMap;
use portcullis::policy::json::Pointer;
use portcullis::policy::{
    Body, BodyFields, BodyPlan, Canonical, Facts, Fault, Json, PolicySet, Projection, SourceFile,
    Value, Verdict,
};
use serde::de::{Deserialize, IgnoredAny};
use serde_json::Value as Other;

use crate::{Figures, folder};

struct Document {
    name: String,
    bytes: Vec<u8>,
}

impl Document {
    /// What the suite says: `Some(true)` for what must be accepted, `None` for either.
    fn expected(&self) -> Option<bool> {
        match self.name.get(..2) {
            Some("y_") => Some(true),
            Some("n_") => Some(false),
            _ => None,
        }
    }

    /// RFC 8259 lets a key stand twice and the suite accepts it; DESIGN 4 refuses it inside a judged value.
    fn has_a_key_twice(&self) -> bool {
        self.name.contains("duplicated_key")
    }

    /// The string that is all that the document has, or all that its one array has.
    fn string(&self) -> Option<&[u8]> {
        let bytes = self.bytes.trim_ascii();
        let inner = bytes.strip_prefix(b"[").and_then(|b| b.strip_suffix(b"]"));
        let inner = inner.unwrap_or(bytes).trim_ascii();
        (self.name.contains("_string_") && inner.starts_with(b"\"")).then_some(inner)
    }
}

fn documents() -> Option<Vec<Document>> {
    let entries = folder("json")?.read_dir().unwrap();
    let files = entries.map(|entry| entry.unwrap().path());
    let named = files.filter(|path| path.extension().is_some_and(|kind| kind == "json"));
    let mut all: Vec<Document> = named
        .map(|path| Document {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            bytes: std::fs::read(&path).unwrap(),
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Some(all)
}

#[test]
fn a_document_as_a_tree() {
    let Some(documents) = documents() else {
        return;
    };
    let mut figures = Figures::default();
    for document in &documents {
        let Document { name, bytes } = document;
        let read = Json::parse(bytes, 512);
        let free = Projection::default();
        let skipped = BodyFields::json(bytes, &free, 512).map(|_| ());
        if read != Err(Fault::JsonDuplicateKey) {
            assert_eq!(skipped.err(), read.clone().err(), "{name}");
        }
        expect(document, read.as_ref().err().copied());
        figures.count(read.is_ok());
        if let Ok(json) = read {
            let mut other = serde_json::Deserializer::from_slice(bytes);
            let ignored = IgnoredAny::deserialize(&mut other);
            assert!(ignored.is_ok() && other.end().is_ok(), "{name}");
            // serde_json keeps no number beyond f64 and nests 127 deep.
            if let Ok(other) = serde_json::from_slice::<Other>(bytes) {
                assert!(same(&json, &other), "{name}: {json:?} {other:?}");
            }
        }
    }
    figures.tell("JSONTestSuite, as a tree", 100, 185);
}

#[test]
fn a_document_as_a_judged_body() {
    let Some(documents) = documents() else {
        return;
    };
    let policies = policies();
    let mut figures = Figures::default();
    for document in &documents {
        let wrapped = [b"{\"a\":", &document.bytes[..], b"}"].concat();
        for (form, pointer, body) in [("whole", "", &document.bytes), ("value", "/a", &wrapped)] {
            let name = format!("{} as {form}", document.name);
            let pointer = Pointer::parse(pointer).unwrap();
            let judged = Projection::new(&[(pointer.clone(), 1)], &[]);
            let fields = BodyFields::json(body, &judged, 512);
            expect(document, fields.as_ref().err().copied());
            figures.count(fields.is_ok());
            let other = serde_json::from_slice::<Other>(body).ok();
            let value = fields.as_ref().ok().map(|fields| fields.field(1));
            let other = other.as_ref().map(|all| match form {
                "whole" => all,
                _ => &all["a"],
            });
            if let (Some(value), Some(other)) = (value, other) {
                assert!(same_value(value, other), "{name}: {value:?} {other:?}");
            }
            if form == "value" {
                judged_by_policies(&policies, &name, body, value, other);
            }
        }
    }
    figures.tell("JSONTestSuite, as a judged body", 200, 370);
}

/// A key takes a string's every trick: what isn't judged is read for its name, and what is judged is found by it.
#[test]
fn a_string_as_a_key() {
    let Some(documents) = documents() else {
        return;
    };
    let mut figures = Figures::default();
    let whole = Projection::new(&[(Pointer::parse("").unwrap(), 1)], &[]);
    for document in &documents {
        let name = &document.name;
        let Some(string) = document.string() else {
            figures.pass_over("are no string");
            continue;
        };
        let body = [b"{\"judged\":1,", string, b":2}"].concat();
        let fields = BodyFields::json(&body, &whole, 512);
        expect(document, fields.as_ref().err().copied());
        figures.count(fields.is_ok());
        let other = serde_json::from_slice::<Other>(&body).ok();
        if let (Ok(fields), Some(other)) = (&fields, &other) {
            assert!(same_value(fields.field(1), other), "{name}");
        }
        // The key as serde_json reads it leads to the value, as a pointer; a closed list without it is strayed from.
        if let (Ok(_), Ok(key)) = (&fields, serde_json::from_slice::<String>(string)) {
            let pointer = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
            // `-` names no element, so it is no pointer here.
            let Some(pointer) = Pointer::parse(&pointer) else {
                continue;
            };
            let only = vec![Pointer::parse("/judged").unwrap()];
            let judged = Projection::new(&[(pointer, 1)], &[(7, only)]);
            let fields = BodyFields::json(&body, &judged, 512);
            // Readers in C end a key there.
            if key.contains('\0') {
                assert_eq!(fields.err(), Some(Fault::JsonKeyCase), "{name}");
                continue;
            }
            let fields = fields.unwrap();
            assert!(matches!(fields.field(1), Value::Number("2")), "{name}");
            assert!(fields.unexpected(7).is_some(), "{name}");
        }
    }
    figures.tell("JSONTestSuite, strings as keys", 30, 30);
}

/// Asserts that what became of a document is what the suite and DESIGN want.
fn expect(document: &Document, fault: Option<Fault>) {
    let name = &document.name;
    match (document.expected(), fault) {
        (Some(true), Some(Fault::JsonDuplicateKey)) if document.has_a_key_twice() => {}
        (Some(true), fault) => {
            assert!(!document.has_a_key_twice(), "{name}: {fault:?}");
            assert_eq!(fault, None, "{name}");
        }
        // A key twice would be the wrong reason.
        (Some(false), fault) => assert!(
            fault.is_some_and(|fault| fault != Fault::JsonDuplicateKey),
            "{name}: {fault:?}"
        ),
        (None, _) => {}
    }
}

/// JSON Schema's names of types, each with a path of its own, and one path for what is there at all.
const PATHS: [&str; 7] = [
    "present", "null", "boolean", "number", "string", "array", "object",
];

fn policies() -> PolicySet {
    let mut text = String::from("version: 1\npolicies:\n");
    for path in PATHS {
        let condition = match path {
            "present" => "{ present: true }".to_owned(),
            kind => format!("{{ type: {kind:?} }}"),
        };
        text += &format!(
            "  - {{ id: is.{path}, who: anonymous, do: POST /{path}, body: {{ /a: {condition} }} }}\n"
        );
    }
    let file = SourceFile {
        name: "types.yaml".into(),
        text,
    };
    PolicySet::load(&[file]).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// Asserts that a body is permitted where its field is there and of the type, and nowhere else.
fn judged_by_policies(
    policies: &PolicySet,
    name: &str,
    body: &[u8],
    value: Option<Value<'_>>,
    other: Option<&Other>,
) {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().unwrap());
    for path in PATHS {
        let request = Canonical::new("POST", "a", &format!("/{path}"), None).unwrap();
        let facts = Facts {
            request: &request,
            headers: &headers,
            principal: None,
            client: [127, 0, 0, 1].into(),
            has_body: true,
            websocket: false,
            now: "2026-11-21T09:00:00Z".parse().unwrap(),
        };
        let considered = policies.consider(&facts);
        let BodyPlan::Json(projection) = considered.body_plan() else {
            panic!("{name}: {path} judges its body");
        };
        let fields = BodyFields::json(body, projection, 512);
        let decision = match &fields {
            Ok(fields) => considered.decide(Body::Fields(fields)),
            Err(fault) => considered.decide(Body::Fault(*fault)),
        };
        let permitted = matches!(decision.verdict, Verdict::Permit(_));
        let wanted = match (value, other) {
            (None, _) => false,
            (Some(_), _) if path == "present" => true,
            (Some(_), Some(other)) => kind(other) == path,
            // serde_json can't hold it: a number beyond f64, or nested too deeply.
            (Some(value), None) => match value {
                Value::Number(_) => path == "number",
                _ => continue,
            },
        };
        assert_eq!(permitted, wanted, "{name} at {path}");
    }
}

fn kind(other: &Other) -> &'static str {
    match other {
        Other::Null => "null",
        Other::Bool(_) => "boolean",
        Other::Number(_) => "number",
        Other::String(_) => "string",
        Other::Array(_) => "array",
        Other::Object(_) => "object",
    }
}

/// Whether both read the same.
fn same_value(ours: Value<'_>, other: &Other) -> bool {
    match (ours, other) {
        (Value::Null, Other::Null) => true,
        (Value::Bool(a), Other::Bool(b)) => a == *b,
        (Value::Number(text), Other::Number(number)) => {
            serde_json::from_str::<serde_json::Number>(text).is_ok_and(|parsed| parsed == *number)
        }
        (Value::Text(a), Other::String(b)) => a == b,
        (Value::Json(json), other) => same(json, other),
        _ => false,
    }
}

fn same(ours: &Json, other: &Other) -> bool {
    match (ours, other) {
        (Json::Array(a), Other::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Json::Object(a), Other::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(k, v)| b.get(&**k).is_some_and(|b| same(v, b)))
        }
        (Json::Array(_) | Json::Object(_), _) => false,
        (scalar, other) => same_value(scalar.into(), other),
    }
}
