//! Which fields are told, how, and to whose rule that goes back.

use std::net::{IpAddr, Ipv4Addr};

use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderValue};

use super::*;
use crate::config::Config;
use crate::policy::{BodyFields, BodyPlan, Canonical, Facts, Principal, SourceFile};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const POLICIES: &str = r#"version: 1
policies:
  - { id: pr.open, who: any, do: "POST /{x...}", body: { /branch: { present: true }, /n: { lt: 5 }, /draft: { type: [boolean, "null"] }, /a~1b: { ne: 1 } } }
  - { id: pr.own, who: any, do: "POST /a/{x}", path: { x: $body/id }, body: { only: [/free], /branch: { present: true }, /id: { present: true } } }
  - { id: form, who: any, do: "POST /a/{x}", body: { content_type: [application/x-www-form-urlencoded], /branch: { present: true } } }
  - { id: watch, mode: shadow, who: any, do: "POST /{x...}", body: { /seen: { present: true } } }
  - { id: parts, effect: forbid, do: "POST /{x...}", body: { /list: { count: 3 }, "": { type: array } } }
"#;

/// The rules of a configuration, or its problems.
fn fields(audit: &str) -> Result<Fields, String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("policy.yaml"), "").unwrap();
    let text = format!(
        "version: 1\nlisteners: [{{ address: 127.0.0.1:8080 }}]\nroutes: [{{ upstream: api }}]\n\
         upstreams: {{ api: {{ addresses: http://127.0.0.1:9000 }} }}\npolicies: policy.yaml\naudit: {{ {audit} }}\n"
    );
    let env = |name: &str| match name {
        "KEY" => Some(KEY.to_owned()),
        "SHORT" => Some(KEY.chars().skip(1).collect()),
        _ => None,
    };
    match Config::from_text("c", &text, folder.path(), &env) {
        Ok(config) => Ok(config.audit.fields),
        Err(problems) => {
            let problems = problems.iter().map(ToString::to_string);
            Err(problems.collect::<Vec<_>>().join("\n"))
        }
    }
}

fn policies() -> PolicySet {
    let file = SourceFile {
        name: "p".into(),
        text: POLICIES.to_owned(),
    };
    PolicySet::load(&[file]).unwrap()
}

/// What a record tells of this body, sent to `/a/7`.
fn told(rules: &str, content_type: &str, body: &str) -> Vec<String> {
    let set = policies();
    let audit = format!("fields_key: {{ env: KEY }}, fields: [{rules}]");
    let redaction = Redaction::new(&fields(&audit).unwrap(), &set);
    let request = Canonical::new("POST", "api.example.com", "/a/7", None).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
    let principal = Principal::default();
    let candidates = set.consider(&Facts {
        request: &request,
        headers: &headers,
        principal: Some(&principal),
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        has_body: true,
        websocket: false,
        now: "2026-03-02T09:00:00Z".parse().unwrap(),
    });
    let fields = match candidates.body_plan() {
        BodyPlan::Json(projection) => BodyFields::json(body.as_bytes(), projection, 9),
        BodyPlan::Form(projection) => BodyFields::form(body.as_bytes(), projection),
        BodyPlan::Leave => panic!("it is judged"),
    };
    let fields = fields.unwrap();
    let told = redaction.told(&candidates, Body::Fields(&fields));
    told.iter()
        .map(|(name, text)| format!("{name}={text}"))
        .collect()
}

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
/// `printf %s agent/fix-1 | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef`
const BRANCH: &str =
    "body/branch=hmac-sha256:8fb0175559bfb1fcf04d6485066fb00ff7f5b2bcad9749dfebdc927c5907759c";
/// The same of `7`.
const SEVEN: &str =
    "body/id=hmac-sha256:9657f4db0378a439d0a338d5b736d0ce953e0df354ecdb12c80e9c55adeec454";

#[test]
fn what_no_rule_names_is_not_told() {
    let body = r#"{"branch":"agent/fix-1","n":1.50,"draft":null,"a/b":true,"id":"7","seen":"s","free":"f","list":[1]}"#;
    let cases: &[(&str, &[&str])] = &[
        ("", &[]),
        ("{ fields: body/other, as: shown }", &[]),
        (
            "{ fields: body/branch, as: shown }",
            &["body/branch=agent/fix-1"],
        ),
        ("{ fields: body/branch, as: hmac }", &[BRANCH]),
        // Numbers as they stood; a field's name is the pointer's.
        (
            "{ fields: [body/n, body/draft, body/a~1b], as: shown }",
            &["body/n=1.50", "body/draft=null", "body/a~1b=true"],
        ),
        // The rule that tells less counts, in whatever order, and whoever judged the field.
        (
            "{ fields: body/branch, as: shown }, { fields: body/**, policies: pr.own, as: hmac }",
            &[BRANCH, SEVEN],
        ),
        (
            "{ fields: body/*, policies: [pr.own], as: hmac }, { fields: body/branch, as: shown }",
            &[BRANCH, SEVEN],
        ),
        // One of the policies must have judged it.
        (
            "{ fields: body/branch, policies: pr.own, as: shown }",
            &["body/branch=agent/fix-1"],
        ),
        (
            "{ fields: body/id, policies: [none, pr.open], as: shown }",
            &[],
        ),
        (
            "{ fields: body/id, policies: pr.*, as: shown }",
            &["body/id=7"],
        ),
        ("{ fields: body/branch, policies: form, as: shown }", &[]),
        // What only shadow policies look at, what nobody judges, and containers.
        (
            "{ fields: [body/seen, body/free, body/list, body], as: shown }",
            &[],
        ),
    ];
    for (rules, want) in cases {
        assert_eq!(told(rules, JSON, body), *want, "{rules}");
    }
    let form = "branch=agent/fix-1";
    assert_eq!(
        told(
            "{ fields: body/branch, policies: form, as: hmac }",
            FORM,
            form
        ),
        [BRANCH]
    );
    assert_eq!(
        told(
            "{ fields: body/branch, policies: pr.open, as: shown }",
            FORM,
            form
        ),
        [""; 0]
    );
}

#[test]
fn a_long_value_is_cut_and_its_hmac_is_of_the_whole() {
    let body = |end: &str| format!(r#"{{"branch":"x{}{end}"}}"#, "é".repeat(80));
    let shown = |end| told("{ fields: body/branch, as: shown }", JSON, &body(end));
    assert_eq!(shown("a"), [format!("body/branch=x{}", "é".repeat(63))]);
    assert_eq!(shown("a"), shown("b"));
    let hashed = |end| told("{ fields: body/branch, as: hmac }", JSON, &body(end));
    assert_ne!(hashed("a"), hashed("b"));
    assert_eq!(hashed("a"), hashed("a"));
}

#[test]
fn sixteen_fields_are_told_at_most() {
    let names: Vec<String> = (0..18).map(|n| format!("/f{n:02}: {{ ne: 0 }}")).collect();
    let policies = format!(
        "version: 1\npolicies: [{{ id: a, who: any, do: POST /a, body: {{ {} }} }}]\n",
        names.join(", ")
    );
    let set = PolicySet::load(&[SourceFile {
        name: "p".into(),
        text: policies,
    }])
    .unwrap();
    let redaction = Redaction::new(
        &fields("fields: [{ fields: body/**, as: shown }]").unwrap(),
        &set,
    );
    let request = Canonical::new("POST", "api.example.com", "/a", None).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    let principal = Principal::default();
    let candidates = set.consider(&Facts {
        request: &request,
        headers: &headers,
        principal: Some(&principal),
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        has_body: true,
        websocket: false,
        now: "2026-03-02T09:00:00Z".parse().unwrap(),
    });
    let members: Vec<String> = (0..18).map(|n| format!(r#""f{n:02}":1"#)).collect();
    let body = format!("{{{}}}", members.join(","));
    let BodyPlan::Json(projection) = candidates.body_plan() else {
        panic!("it judges JSON");
    };
    let fields = BodyFields::json(body.as_bytes(), projection, 9).unwrap();
    let told = redaction.told(&candidates, Body::Fields(&fields));
    assert_eq!(told.len(), 16);
}

#[test]
fn rules_that_cannot_be_meant_are_refused() {
    for (audit, want) in [
        (
            "fields: [{ fields: body/a, as: hmac }]",
            "c:6:18 audit.fields: `as: hmac` takes a key; expected `fields_key` beside it",
        ),
        (
            "fields_key: { env: SHORT }",
            "c:6:22 audit.fields_key: expected at least 32 bytes, found 31",
        ),
        (
            "fields_key: { env: NONE }",
            "c:6:29 audit.fields_key.env: the environment variable isn't set, or isn't UTF-8",
        ),
        (
            "fields_key: { env: KEY, file: key }",
            "c:6:29 audit.fields_key.env: `env` beside `file`; expected only one of them",
        ),
        (
            "fields: [{ fields: body/a }]",
            "c:6:19 audit.fields[0]: the key `as` is missing",
        ),
        (
            "fields: [{ as: shown }]",
            "c:6:19 audit.fields[0]: the key `fields` is missing",
        ),
        (
            "fields: [{ fields: body/a, as: clear }]",
            "c:6:41 audit.fields[0].as: expected shown or hmac",
        ),
        (
            "fields: [{ fields: [], as: shown }]",
            "c:6:29 audit.fields[0].fields: the list is empty; name at least one",
        ),
        (
            "fields: [{ fields: body/a, policies: [], as: shown }]",
            "c:6:47 audit.fields[0].policies: the list is empty; name at least one",
        ),
        (
            "fields: [{ fields: [/a], as: shown }]",
            "c:6:30 audit.fields[0].fields[0]: expected a field of a body by the name that policies give it: `body/branch`, or a glob such as `body/**`",
        ),
        (
            "fields: [{ fields: \"**\", as: shown }]",
            "c:6:29 audit.fields[0].fields: expected a field of a body by the name that policies give it: `body/branch`, or a glob such as `body/**`",
        ),
        (
            "fields: [{ fields: body/a~2, as: shown }]",
            "c:6:29 audit.fields[0].fields: expected a JSON Pointer (RFC 6901) after `body`: `~` wants 0 or 1 after it",
        ),
        (
            "fields: [{ fields: body/***, as: shown }]",
            "c:6:29 audit.fields[0].fields: `***` has no meaning; `*` stops at a separator, `**` doesn't",
        ),
        (
            "fields: [{ fields: body/a, as: shown, only: x }]",
            "unknown key `only`",
        ),
        (
            "fields: { fields: body/a, as: shown }",
            "c:6:18 audit.fields: expected a list, found a mapping",
        ),
    ] {
        let found = fields(audit).unwrap_err();
        assert!(found.contains(want), "{audit}: {found}\n not {want}");
    }
}

#[test]
fn a_rule_that_no_policy_fits_is_told() {
    let rules = "fields: [{ fields: [body/branch, body/brunch], as: shown }, { fields: body/id, policies: pr.open, as: shown }, \
                 { fields: [body/se*], as: shown }, { fields: body/list, as: shown }]";
    let found = unjudged(&fields(rules).unwrap(), &policies());
    let found: Vec<&str> = found.iter().map(|problem| &*problem.key).collect();
    assert_eq!(
        found,
        [
            "audit.fields[0].fields[1]",
            "audit.fields[1].fields",
            "audit.fields[2].fields[0]"
        ]
    );
}

#[test]
fn the_key_is_never_shown() {
    let fields =
        fields("fields_key: { env: KEY }, fields: [{ fields: body/branch, as: hmac }]").unwrap();
    let redaction = Redaction::new(&fields, &policies());
    let text = format!("{fields:?} {redaction:?}");
    assert!(!text.contains("01234567"), "{text}");
}
