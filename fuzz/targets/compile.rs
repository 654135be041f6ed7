//! Bytes as a policy file: problems, each with its place, or a policy set, within bounds of time and memory. The
//! digest of what loads depends neither on its formatting nor on the order of policies and keys, but on every value;
//! and what loads decides without a panic.
//!
//! The input is the file; or, after a first byte 0xFF, choices that spell one ([`draw`]).

#![no_main]

#[path = "compile/draw.rs"]
mod draw;

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use portcullis::policy::{
    Body, BodyFields, BodyPlan, Canonical, Certificate, Facts, Json, PolicySet, Principal,
    SourceFile, lint,
};
use portcullis::yaml::{self, Node, Problem, Problems, Yaml};

fuzz_target!(|data: &[u8]| {
    let drawn = data.strip_prefix(b"\xFF").map(draw::file);
    let Some(text) = drawn.as_deref().or_else(|| std::str::from_utf8(data).ok()) else {
        return;
    };
    let set = match load(text) {
        Ok(set) => set,
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            problems.iter().for_each(|problem| stands_in(problem, text));
            return;
        }
    };
    assert_eq!(
        load(text).expect("it loaded").digest(),
        set.digest(),
        "once more"
    );
    let mut problems = Problems::new("fuzz.yaml");
    let root = yaml::parse(text, &mut problems).expect("it loaded");
    let mut rewritten = String::new();
    write(&root, &mut rewritten);
    let again = load(&rewritten).unwrap_or_else(|problems| panic!("{problems:#?}\n{rewritten}"));
    assert_eq!(again.digest(), set.digest(), "in another form: {rewritten}");
    assert_eq!(again.len(), set.len());
    for problem in lint::lint(&[file(text)]) {
        stands_in(&problem, text);
    }
    judge(&set);
});

fn file(text: &str) -> SourceFile {
    SourceFile {
        name: "fuzz.yaml".into(),
        text: text.to_owned(),
    }
}

fn load(text: &str) -> Result<PolicySet, Vec<Problem>> {
    PolicySet::load(&[file(text)])
}

/// Whether the place of a problem is one of the text's.
fn stands_in(problem: &Problem, text: &str) {
    assert!(!problem.message.is_empty());
    // A problem is for people to read; it must not be as long as what is wrong.
    assert!(
        problem.to_string().len() <= 2_000 + 8 * text.len(),
        "{problem}"
    );
    if let Some(mark) = problem.mark {
        // YAML ends a line at CR, LF or both; the end of the file is a place, too.
        let lines = text.split(['\n', '\r']).count() + 1;
        assert!(mark.line >= 1 && mark.line as usize <= lines, "{problem}");
        assert!(
            mark.column >= 1 && mark.column as usize <= text.len() + 2,
            "{problem}"
        );
    }
}

/// The same values in flow style, every text quoted, each mapping's keys and the policies the other way round.
fn write(node: &Node, out: &mut String) {
    match &node.value {
        Yaml::Null => out.push('~'),
        Yaml::Bool(value) => out.push_str(if *value { "True" } else { "False" }),
        Yaml::Number(text) => out.push_str(text),
        Yaml::Text(text) => quoted(text, out),
        Yaml::List(items) => {
            out.push('[');
            for item in items {
                write(item, out);
                out.push(',');
            }
            out.push(']');
        }
        Yaml::Map(entries) => {
            out.push('{');
            for (key, value) in entries.iter().rev() {
                quoted(&key.text, out);
                out.push_str(": ");
                match &value.value {
                    Yaml::List(policies) if key.text == "policies" => {
                        let mut policies = policies.clone();
                        policies.reverse();
                        let mark = value.mark;
                        let value = Yaml::List(policies);
                        write(&Node { mark, value }, out);
                    }
                    _ => write(value, out),
                }
                out.push_str(", ");
            }
            out.push('}');
        }
    }
}

fn quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            c => {
                let _ = write!(out, "\\U{:08x}", u32::from(c));
            }
        }
    }
    out.push('"');
}

/// Judges a few requests, of somebody and of nobody.
fn judge(set: &PolicySet) {
    let claims = br#"{"t":"a","n":42,"l":["a","b"],"end":1772355600,"o":{"u":"a"},"z":null}"#;
    let somebody = Principal {
        provider: Some("corp".into()),
        agent: Some("ag/a".into()),
        user: Some("ann".into()),
        groups: vec!["a".into(), "b".into()],
        claims: Json::parse(claims, 8).expect("claims"),
        cert: Some(Certificate {
            dns: vec!["a.test".into()],
            fingerprint: "ab".into(),
            ..Certificate::default()
        }),
        ..Principal::default()
    };
    let json = HeaderMap::from_iter([
        (
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        ),
        (
            HeaderName::from_static("x-a"),
            HeaderValue::from_static("a"),
        ),
    ]);
    let form = HeaderMap::from_iter([(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-www-form-urlencoded"),
    )]);
    let bodies: [(&HeaderMap, &[u8]); 4] = [
        (&json, b""),
        (
            &json,
            br#"{"a":1,"b":"a","c":{"d":["x",{"y":1}]},"s":"{\"k\":1}"}"#,
        ),
        (&json, br#"{"a":"#),
        (&form, b"a=1&b=a"),
    ];
    for (method, path, query) in [
        ("GET", "/a/b", Some("q=a&r=42")),
        ("POST", "/A/b%2Fc;d", Some("q=%zz")),
        ("PUT", "/a/a/a/a", None),
    ] {
        let request = Canonical::new(method, "h.test", path, query).expect("a request");
        for principal in [None, Some(&somebody)] {
            for (headers, body) in bodies {
                let facts = Facts {
                    request: &request,
                    headers,
                    principal,
                    client: "10.1.2.3".parse().expect("an address"),
                    has_body: !body.is_empty(),
                    websocket: false,
                    now: "2026-03-01T09:00:00Z".parse().expect("a moment"),
                };
                decide(set, &facts, body);
            }
        }
    }
}

fn decide(set: &PolicySet, facts: &Facts<'_>, bytes: &[u8]) {
    let considered = set.consider(facts);
    let fields = match considered.body_plan() {
        BodyPlan::Leave => None,
        BodyPlan::Json(projection) => Some(BodyFields::json(bytes, projection, 64)),
        BodyPlan::Form(projection) => Some(BodyFields::form(bytes, projection)),
    };
    let body = match &fields {
        None if facts.has_body => Body::Unread,
        _ if !facts.has_body => Body::Absent,
        None => Body::Absent,
        Some(Ok(fields)) => Body::Fields(fields),
        Some(Err(fault)) => Body::Fault(*fault),
    };
    let _ = considered.decide(body);
}
