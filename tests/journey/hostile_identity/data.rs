//! The cases of `tests/hostile/*.yaml`, read strictly: a key that isn't known is a mistake in the case.

use std::collections::BTreeMap;
use std::path::Path;

use portcullis::yaml::{Node, Problems, Yaml};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A file of cases.
pub struct Suite {
    pub file: String,
    pub cases: Vec<Case>,
}

/// One lesson: a token or a certificate, and what comes of it.
pub struct Case {
    pub lesson: String,
    pub token: Token,
    pub leaf: Option<Leaf>,
    pub steps: Vec<Step>,
}

/// How a token differs from a good one of `agent/7`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Token {
    /// The whole header, as bytes in Latin-1.
    pub header: String,
    /// The whole payload, likewise.
    pub claims: Option<String>,
    /// Claims in place of the good ones, as JSON text; null takes one away.
    pub with: BTreeMap<String, Option<String>>,
    /// More text before the closing brace of the payload.
    pub more: String,
    /// What signs.
    pub key: String,
    /// What is done to the signature.
    pub signature: Option<String>,
    /// The token's exact length, which `{pad}` in the claims makes up.
    pub length: Option<usize>,
}

impl Default for Token {
    fn default() -> Token {
        Token {
            header: r#"{"alg":"ES256","kid":"k1","typ":"at+jwt"}"#.into(),
            claims: None,
            with: BTreeMap::new(),
            more: String::new(),
            key: "es256".into(),
            signature: None,
            length: None,
        }
    }
}

/// A client certificate.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Leaf {
    /// `dns:…`, `uri:…`, `email:…`; `{long:n}` stands for n letters.
    pub names: Vec<String>,
    /// Who signs it: an authority's name, or `itself`.
    pub by: String,
    /// The authorities that are sent with it.
    pub above: Vec<String>,
    /// `digital_signature`, `key_agreement`, `cert_sign`, `crl_sign`.
    pub usage: Vec<String>,
    /// `client`, `server`, `any`.
    pub extended: Vec<String>,
    pub from: i32,
    pub until: i32,
    pub serial: u64,
    /// Whether it is an authority's.
    pub ca: bool,
    /// Extensions: object identifier and content in hex.
    pub raw: Vec<String>,
    /// Whether the handshake is signed with another key than the certificate's.
    pub stolen: bool,
}

impl Default for Leaf {
    fn default() -> Leaf {
        Leaf {
            names: vec!["uri:spiffe://corp/agent/7".into()],
            by: "clients".into(),
            above: Vec::new(),
            usage: vec!["digital_signature".into()],
            extended: vec!["client".into()],
            from: 2020,
            until: 2090,
            serial: 7,
            ca: false,
            raw: Vec::new(),
            stolen: false,
        }
    }
}

/// One request, and its end.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The listener.
    #[serde(default)]
    pub via: Option<String>,
    /// Which of the world's certificates comes with it.
    #[serde(default)]
    pub certificate: Option<String>,
    /// `1.2` or `1.3`; both by default.
    #[serde(default)]
    pub tls: Option<String>,
    /// The name that the handshake asks for.
    #[serde(default = "host")]
    pub name: String,
    #[serde(default = "host")]
    pub host: String,
    #[serde(default = "request")]
    pub request: String,
    /// Header lines as bytes in Latin-1, instead of the file's.
    #[serde(default)]
    pub send: Option<Vec<String>>,
    #[serde(default)]
    pub body: String,
    #[serde(default = "once")]
    pub times: usize,
    pub expect: Expect,
}

fn host() -> String {
    "api.example.com".into()
}

fn request() -> String {
    "GET /c/{case}".into()
}

fn once() -> usize {
    1
}

/// How a request ends: exactly one of `permit`, `deny` and `closed`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Members of the record's principal; null: isn't there.
    #[serde(default)]
    pub permit: Option<Map<String, Value>>,
    /// The reason, with its detail.
    #[serde(default)]
    pub deny: Option<String>,
    #[serde(default)]
    pub detail: Option<String>,
    /// No answer of ours: a status of the HTTP layer, a TLS alert's name, or `end`.
    #[serde(default)]
    pub closed: Option<String>,
}

const TOKEN: &[&str] = &[
    "header",
    "claims",
    "with",
    "more",
    "key",
    "signature",
    "length",
];

impl Suite {
    /// Reads a file of `tests/hostile`.
    pub fn read(name: &str) -> Suite {
        let file = format!("tests/hostile/{name}");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&file);
        let text = std::fs::read_to_string(path).unwrap();
        let mut problems = Problems::new(&*file);
        let root = portcullis::yaml::parse(&text, &mut problems);
        assert!(problems.is_empty(), "{problems:#?}");
        let mut root = mapping(json(&root.unwrap()));
        assert_eq!(root["version"], 1, "{file}");
        assert!(root["about"].is_string(), "{file}");
        let send: Vec<String> = from(root["send"].take(), &file);
        let via: String = from(root["via"].take(), &file);
        let cases: Vec<Value> = from(root["cases"].take(), &file);
        let case = |value| Case::read(mapping(value), &send, &via);
        Suite {
            cases: cases.into_iter().map(case).collect(),
            file,
        }
    }
}

impl Case {
    fn read(mut members: Map<String, Value>, send: &[String], via: &str) -> Case {
        let lesson = members.remove("lesson").expect("a lesson");
        let lesson = lesson.as_str().unwrap().to_owned();
        let leaf = members.remove("leaf").map(|leaf| from(leaf, &lesson));
        let (token, step): (Map<_, _>, Map<_, _>) = members
            .into_iter()
            .partition(|(name, _)| TOKEN.contains(&name.as_str()));
        let mut steps: Vec<Step> = match step.get("steps") {
            Some(steps) => {
                assert_eq!(step.len(), 1, "{lesson}: nothing beside `steps`");
                from(steps.clone(), &lesson)
            }
            None => vec![from(Value::Object(step), &lesson)],
        };
        for step in &mut steps {
            step.send.get_or_insert_with(|| send.to_vec());
            step.via.get_or_insert_with(|| via.to_owned());
            let ends = &step.expect;
            let ends = [
                ends.permit.is_some(),
                ends.deny.is_some(),
                ends.closed.is_some(),
            ];
            let count = ends.iter().filter(|end| **end).count();
            assert_eq!(count, 1, "{lesson}: one end");
        }
        Case {
            token: from(Value::Object(token), &lesson),
            leaf,
            steps,
            lesson,
        }
    }

    /// Whether every request of it is permitted.
    pub fn is_control(&self) -> bool {
        self.steps.iter().all(|step| step.expect.permit.is_some())
    }
}

fn mapping(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        other => panic!("expected a mapping: {other}"),
    }
}

fn from<T: DeserializeOwned>(value: Value, at: &str) -> T {
    serde_json::from_value(value).unwrap_or_else(|error| panic!("{at}: {error}"))
}

fn json(node: &Node) -> Value {
    match &node.value {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => Value::Bool(*value),
        Yaml::Number(text) => serde_json::from_str(text).unwrap(),
        Yaml::Text(text) => Value::String(text.clone()),
        Yaml::List(items) => Value::Array(items.iter().map(json).collect()),
        Yaml::Map(entries) => Value::Object(
            entries
                .iter()
                .map(|(key, node)| (key.text.clone(), json(node)))
                .collect(),
        ),
    }
}
