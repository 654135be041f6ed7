//! Events checked against what OCSF 1.8.0 says of the class and its objects, as far as we use them.

use std::ops::ControlFlow;

use super::*;
use crate::audit::filter::Filter;
use crate::audit::query::{Query, Tally};

enum Is {
    Int,
    Text,
    Bool,
    /// A number out of a closed list.
    Enum(&'static [u64]),
    /// An object of the table.
    Object(&'static str),
    /// A list of them.
    Objects(&'static str),
    Texts,
    Ip,
    Port,
    Free,
}

struct Shape {
    name: &'static str,
    attributes: &'static [(&'static str, Is)],
    required: &'static [&'static str],
    /// At least one of these, where there are any.
    one_of: &'static [&'static str],
}

const SHAPES: &[Shape] = &[
    Shape {
        name: "api_activity",
        attributes: &[
            ("activity_id", Is::Enum(&[0, 1, 2, 3, 4, 99])),
            ("activity_name", Is::Text),
            ("category_uid", Is::Enum(&[6])),
            ("category_name", Is::Text),
            ("class_uid", Is::Enum(&[6003])),
            ("class_name", Is::Text),
            (
                "type_uid",
                Is::Enum(&[600_300, 600_301, 600_302, 600_303, 600_304, 600_399]),
            ),
            ("time", Is::Int),
            ("severity_id", Is::Enum(&[0, 1, 2, 3, 4, 5, 6, 99])),
            ("severity", Is::Text),
            ("status_id", Is::Enum(&[0, 1, 2, 99])),
            ("status", Is::Text),
            ("status_code", Is::Text),
            ("status_detail", Is::Text),
            ("message", Is::Text),
            ("metadata", Is::Object("metadata")),
            ("actor", Is::Object("actor")),
            ("api", Is::Object("api")),
            ("src_endpoint", Is::Object("network_endpoint")),
            ("dst_endpoint", Is::Object("network_endpoint")),
            ("http_request", Is::Object("http_request")),
            ("http_response", Is::Object("http_response")),
            ("unmapped", Is::Free),
            // the security control profile
            ("action_id", Is::Enum(&[0, 1, 2, 3, 4, 99])),
            ("action", Is::Text),
            ("disposition_id", Is::Enum(&[0, 1, 2, 17, 26, 27, 99])),
            ("disposition", Is::Text),
            ("policy", Is::Object("policy")),
            ("authorizations", Is::Objects("authorization")),
            ("is_alert", Is::Bool),
        ],
        required: &[
            "activity_id",
            "category_uid",
            "class_uid",
            "type_uid",
            "time",
            "severity_id",
            "metadata",
            "actor",
            "api",
            "src_endpoint",
        ],
        one_of: &[],
    },
    Shape {
        name: "metadata",
        attributes: &[
            ("version", Is::Text),
            ("product", Is::Object("product")),
            ("profiles", Is::Texts),
            ("uid", Is::Text),
            ("correlation_uid", Is::Text),
            ("log_name", Is::Text),
            ("original_time", Is::Text),
        ],
        required: &["version", "product"],
        one_of: &[],
    },
    Shape {
        name: "product",
        attributes: &[
            ("name", Is::Text),
            ("vendor_name", Is::Text),
            ("version", Is::Text),
        ],
        required: &[],
        one_of: &["name", "uid"],
    },
    Shape {
        name: "actor",
        attributes: &[
            ("app_uid", Is::Text),
            ("user", Is::Object("user")),
            ("session", Is::Object("session")),
            ("idp", Is::Object("idp")),
        ],
        required: &[],
        one_of: &[
            "process",
            "user",
            "invoked_by",
            "session",
            "app_name",
            "app_uid",
        ],
    },
    Shape {
        name: "user",
        attributes: &[
            ("uid", Is::Text),
            ("name", Is::Text),
            ("groups", Is::Objects("group")),
        ],
        required: &[],
        one_of: &["account", "name", "uid"],
    },
    Shape {
        name: "group",
        attributes: &[("name", Is::Text)],
        required: &[],
        one_of: &["name", "uid"],
    },
    Shape {
        name: "session",
        attributes: &[("uid", Is::Text)],
        required: &[],
        one_of: &[],
    },
    Shape {
        name: "idp",
        attributes: &[("name", Is::Text)],
        required: &[],
        one_of: &["name", "uid"],
    },
    Shape {
        name: "api",
        attributes: &[
            ("operation", Is::Text),
            ("request", Is::Object("request")),
            ("response", Is::Object("response")),
            ("service", Is::Object("service")),
        ],
        required: &["operation"],
        one_of: &[],
    },
    Shape {
        name: "request",
        attributes: &[("uid", Is::Text)],
        required: &["uid"],
        one_of: &[],
    },
    Shape {
        name: "response",
        attributes: &[
            ("code", Is::Int),
            ("error", Is::Text),
            ("error_message", Is::Text),
        ],
        required: &[],
        one_of: &[],
    },
    Shape {
        name: "service",
        attributes: &[("name", Is::Text)],
        required: &[],
        one_of: &["name", "uid"],
    },
    Shape {
        name: "network_endpoint",
        attributes: &[
            ("ip", Is::Ip),
            ("port", Is::Port),
            ("hostname", Is::Text),
            ("svc_name", Is::Text),
            ("name", Is::Text),
        ],
        required: &[],
        one_of: &["ip", "uid", "name", "hostname", "svc_name", "instance_uid"],
    },
    Shape {
        name: "http_request",
        attributes: &[
            ("http_method", Is::Text),
            ("url", Is::Object("url")),
            ("body_length", Is::Int),
        ],
        required: &[],
        one_of: &[],
    },
    Shape {
        name: "url",
        attributes: &[("hostname", Is::Text), ("path", Is::Text)],
        required: &[],
        one_of: &["url_string", "path"],
    },
    Shape {
        name: "http_response",
        attributes: &[
            ("code", Is::Int),
            ("body_length", Is::Int),
            ("latency", Is::Int),
        ],
        required: &["code"],
        one_of: &[],
    },
    Shape {
        name: "policy",
        attributes: &[("uid", Is::Text), ("version", Is::Text)],
        required: &[],
        one_of: &["name", "type", "uid"],
    },
    Shape {
        name: "authorization",
        attributes: &[("decision", Is::Text), ("policy", Is::Object("policy"))],
        required: &[],
        one_of: &[],
    },
];

/// Where a value isn't what the table says.
fn misfits(name: &str, value: &Value, at: &str) -> Vec<String> {
    let shape = SHAPES.iter().find(|shape| shape.name == name).unwrap();
    let Some(fields) = value.as_object() else {
        return vec![format!("{at}: no object")];
    };
    let mut found = Vec::new();
    for (key, value) in fields {
        let at = format!("{at}.{key}");
        let Some((_, is)) = shape.attributes.iter().find(|(name, _)| name == key) else {
            found.push(format!("{at}: unknown"));
            continue;
        };
        let fits = match is {
            Is::Int => value.is_i64(),
            Is::Text => value.is_string(),
            Is::Bool => value.is_boolean(),
            Is::Enum(allowed) => value.as_u64().is_some_and(|n| allowed.contains(&n)),
            Is::Texts => value
                .as_array()
                .is_some_and(|all| all.iter().all(Value::is_string)),
            Is::Ip => value
                .as_str()
                .is_some_and(|ip| ip.parse::<std::net::IpAddr>().is_ok()),
            Is::Port => value.as_u64().is_some_and(|port| port <= 65_535),
            Is::Free => value.is_object(),
            Is::Object(name) => {
                found.extend(misfits(name, value, &at));
                true
            }
            Is::Objects(name) => {
                let all = value.as_array();
                for value in all.into_iter().flatten() {
                    found.extend(misfits(name, value, &at));
                }
                all.is_some_and(|all| !all.is_empty())
            }
        };
        if !fits {
            found.push(format!("{at}: {value}"));
        }
    }
    let missing = shape
        .required
        .iter()
        .filter(|key| !fields.contains_key(**key));
    found.extend(missing.map(|key| format!("{at}.{key}: missing")));
    if !shape.one_of.is_empty() && !shape.one_of.iter().any(|key| fields.contains_key(*key)) {
        found.push(format!("{at}: none of {:?}", shape.one_of));
    }
    found
}

const ID: &str = "018f0000-0000-7000-8000-000000000001";

fn decision(more: &str) -> String {
    format!(
        r#"{{"v":1,"kind":"decision","node":"n1","seq":7,"prev":"00","id":"{ID}","at":"2026-11-21T09:00:00.123456Z","policy_set":"ab",{more}}}"#
    )
}

fn outcome(more: &str) -> String {
    format!(
        r#"{{"v":1,"kind":"outcome","node":"n1","seq":8,"prev":"00","id":"{ID}","at":"2026-11-21T09:00:01.000000Z",{more}}}"#
    )
}

fn full() -> (String, String) {
    let decision = decision(concat!(
        r#""decision":"permit","policies":["p.one"],"shadow":[{"policy":"s","permits":false}],"#,
        r#""principal":{"provider":"corp","agent":"spiffe://corp/7","user":"ann","workload":"w","session":"s1","task":"t1","#,
        r#""groups":["staff"],"token_id":"j","cert_fingerprint":"cd","spiffe_id":"spiffe://corp/7"},"#,
        r#""client":"10.0.0.1:4711","route":"api","upstream":"backend","grant":"g-1","#,
        r#""request":{"method":"PATCH","host":"api.example","path":"/accounts/42","template":"/accounts/{account}","query":["a"],"#,
        r#""body_sha256":"ab","judged":{"body/a":"x"},"fields":["body/a"]},"#,
        r#""trace_id":"0af7651916cd43dd8448eb211c80319c","stages_us":{"decide":4},"later":{"a":[1]}"#,
    ));
    let outcome = outcome(
        r#""end":"complete","status":204,"bytes":11,"request_bytes":7,"sha256":"cd","upstream":"[2001:db8::1]:8080","head_us":1500,"total_us":2000"#,
    );
    (decision, outcome)
}

fn read(decision: &str, outcome: Option<&str>) -> Value {
    let text = event(decision, outcome).unwrap();
    let event: Value = serde_json::from_str(&text).unwrap();
    let found = misfits("api_activity", &event, "");
    assert!(found.is_empty(), "{}\n{text}", found.join("\n"));
    let uid = event["class_uid"].as_u64().unwrap() * 100 + event["activity_id"].as_u64().unwrap();
    assert_eq!(event["type_uid"], uid);
    event
}

#[test]
fn a_decision_with_its_outcome() {
    let (decision, outcome) = full();
    let event = read(&decision, Some(&outcome));
    for (pointer, value) in [
        ("/time", json!(1_795_251_600_123_i64)),
        ("/type_uid", json!(600_303)),
        ("/activity_name", json!("Update")),
        ("/severity", json!("Informational")),
        ("/status", json!("Success")),
        ("/status_code", json!("204")),
        ("/status_detail", json!("complete")),
        ("/message", json!("PATCH /accounts/{account}: permitted")),
        ("/action_id", json!(1)),
        ("/disposition_id", json!(1)),
        ("/policy", json!({ "uid": "p.one", "version": "ab" })),
        ("/metadata/uid", json!(ID)),
        (
            "/metadata/correlation_uid",
            json!("0af7651916cd43dd8448eb211c80319c"),
        ),
        (
            "/metadata/original_time",
            json!("2026-11-21T09:00:00.123456Z"),
        ),
        ("/metadata/profiles", json!(["security_control"])),
        (
            "/actor",
            json!({ "app_uid": "spiffe://corp/7", "user": { "uid": "ann", "groups": [{ "name": "staff" }] },
                "session": { "uid": "s1" }, "idp": { "name": "corp" } }),
        ),
        (
            "/api",
            json!({ "operation": "PATCH /accounts/{account}", "request": { "uid": ID }, "response": { "code": 204 },
                "service": { "name": "backend" } }),
        ),
        ("/src_endpoint", json!({ "ip": "10.0.0.1", "port": 4711 })),
        (
            "/dst_endpoint",
            json!({ "ip": "2001:db8::1", "port": 8080, "hostname": "api.example", "svc_name": "backend" }),
        ),
        (
            "/http_request",
            json!({ "http_method": "PATCH", "url": { "hostname": "api.example", "path": "/accounts/42" }, "body_length": 7 }),
        ),
        (
            "/http_response",
            json!({ "code": 204, "body_length": 11, "latency": 1 }),
        ),
        (
            "/unmapped",
            json!({
                "node": "n1", "seq": 7, "prev": "00", "route": "api", "grant": "g-1", "template": "/accounts/{account}",
                "end": "complete", "shadow": [{ "policy": "s", "permits": false }], "stages_us": { "decide": 4 },
                "later": { "a": [1] },
                "request": { "query": ["a"], "body_sha256": "ab", "judged": { "body/a": "x" }, "fields": ["body/a"] },
                "principal": { "workload": "w", "task": "t1", "token_id": "j", "cert_fingerprint": "cd", "spiffe_id": "spiffe://corp/7" },
                "outcome": { "seq": 8, "prev": "00", "at": "2026-11-21T09:00:01.000000Z", "sha256": "cd", "total_us": 2000 },
            }),
        ),
    ] {
        assert_eq!(event.pointer(pointer), Some(&value), "{pointer}");
    }
}

#[test]
fn how_it_went() {
    let permit = decision(
        r#""decision":"permit","client":"1.2.3.4:5","request":{"method":"GET","path":"/a"}"#,
    );
    let ended = |more: &str| Some(outcome(more));
    for (outcome, status, code) in [
        (None, 0, None),
        (
            ended(r#""end":"unknown","bytes":0,"request_bytes":0"#),
            0,
            None,
        ),
        (
            ended(r#""end":"complete","status":200,"bytes":0,"request_bytes":0"#),
            1,
            Some("200"),
        ),
        (
            ended(r#""end":"complete","status":399,"bytes":0,"request_bytes":0"#),
            1,
            Some("399"),
        ),
        (
            ended(r#""end":"complete","status":400,"bytes":0,"request_bytes":0"#),
            2,
            Some("400"),
        ),
        (
            ended(r#""end":"client_gone","status":200,"bytes":0,"request_bytes":0"#),
            2,
            Some("200"),
        ),
        (
            ended(r#""end":"upstream_failed","bytes":0,"request_bytes":0"#),
            2,
            None,
        ),
        (
            ended(r#""end":"cut","status":101,"bytes":0,"request_bytes":0"#),
            2,
            Some("101"),
        ),
    ] {
        let event = read(&permit, outcome.as_deref());
        let came = (
            &event["status_id"],
            event["status_code"].as_str(),
            &event["action_id"],
        );
        assert_eq!(came, (&json!(status), code, &json!(1)), "{outcome:?}");
    }
    for (reason, severity) in [
        ("no_policy", 2),
        ("forbidden", 3),
        ("invalid_token", 3),
        ("ambiguous_request", 3),
        ("approval_required", 2),
        ("a_later_one", 2),
    ] {
        let event = read(
            &decision(&format!(
                r#""decision":"deny","reason":"{reason}","detail":"d","client":"1.2.3.4:5","request":{{}},"policies":["a","b"]"#
            )),
            None,
        );
        assert_eq!(event["severity_id"], severity, "{reason}");
        assert_eq!(event["status_id"], 2);
        assert_eq!(event["status_code"], reason);
        assert_eq!(
            event["api"]["response"],
            json!({ "error": reason, "error_message": "d" })
        );
        assert_eq!(
            (&event["action_id"], &event["disposition_id"]),
            (&json!(2), &json!(2))
        );
        assert_eq!(
            event["authorizations"][1],
            json!({ "decision": "deny", "policy": { "uid": "b", "version": "ab" } })
        );
        assert_eq!(event["activity_id"], 0);
    }
    for (method, id, name) in [
        ("GET", 2, "Read"),
        ("HEAD", 2, "Read"),
        ("POST", 1, "Create"),
        ("PUT", 3, "Update"),
        ("DELETE", 4, "Delete"),
        ("PURGE", 99, "PURGE"),
    ] {
        let event = read(&permit.replace("GET", method), None);
        assert_eq!(
            (&event["activity_id"], &event["activity_name"]),
            (&json!(id), &json!(name))
        );
    }
}

/// Whatever is missing or of another type, the event fits the class, and nothing is lost.
#[test]
fn any_record_fits_the_class() {
    for (principal, actor) in [
        ("", json!({ "user": { "name": "anonymous" } })),
        (
            r#","principal":{}"#,
            json!({ "user": { "name": "anonymous" } }),
        ),
        (
            r#","principal":{"token_id":"j"}"#,
            json!({ "user": { "name": "unknown" } }),
        ),
        (
            r#","principal":{"workload":"w","spiffe_id":"s"}"#,
            json!({ "app_uid": "s" }),
        ),
        (
            r#","principal":{"session":"s","groups":["g"]}"#,
            json!({ "session": { "uid": "s" } }),
        ),
    ] {
        let event = read(
            &decision(&format!(r#""decision":"permit"{principal}"#)),
            None,
        );
        assert_eq!(event["actor"], actor, "{principal}");
        assert_eq!(event["src_endpoint"], json!({ "name": "unknown" }));
    }
    let (decision, outcome) = full();
    let parts: Vec<&str> = decision.split_inclusive(',').collect();
    for (at, part) in parts.iter().enumerate() {
        for other in ["null", "1", "\"x\"", "[1]", "{}", "[\"\\u0000\"]", "-1.5"] {
            let Some((key, _)) = part.split_once(':').filter(|_| part.ends_with("\",")) else {
                continue;
            };
            let mut parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
            parts[at] = format!("{key}:{other},");
            let text = parts.concat();
            if serde_json::from_str::<Value>(&text).is_ok() {
                read(&text, Some(&outcome));
                read(&text, None);
            }
        }
    }
}

#[test]
fn text_does_not_speak_to_a_terminal() {
    let line = decision(
        "\"decision\":\"deny\",\"reason\":\"no_policy\",\"request\":{\"method\":\"GET\",\"path\":\"/\u{9b}2J\\u001b\u{202e}\u{7f}\"}",
    );
    let text = event(&line, None).unwrap();
    assert!(
        !text.contains(|c: char| c.is_control() || c == '\u{202e}'),
        "{text}"
    );
    assert_eq!(
        read(&line, None)["http_request"]["url"]["path"],
        "/\u{9b}2J\u{1b}\u{202e}\u{7f}"
    );
}

/// Runs lines through a search and a join that lets `most` wait: which decision came with which outcome.
fn joined(most: usize, lines: &[String]) -> (Vec<(u64, Option<u64>)>, u64) {
    let seq = |line: &str| {
        serde_json::from_str::<Value>(line).unwrap()["seq"]
            .as_u64()
            .unwrap()
    };
    let told = |(decision, outcome): Joined| (seq(&decision), outcome.as_deref().map(seq));
    let filter = Filter::default().with(Field::Kind, &["decision".into()]);
    let (mut join, mut came) = (Join::of(most), Vec::new());
    Query::new(&filter)
        .with_outcomes()
        .run(
            &mut lines.join("\n").as_bytes(),
            &mut Tally::default(),
            |found| {
                came.extend(join.take(&found).into_iter().map(told));
                Ok(ControlFlow::Continue(()))
            },
        )
        .unwrap();
    let unjoined = join.unjoined;
    came.extend(join.rest().map(told));
    (came, unjoined)
}

#[test]
fn decisions_wait_for_their_outcomes_within_bounds() {
    let id = |n: u64| Uuid::from_u128(n.into());
    let line = |kind: &str, seq: u64, of: u64| {
        format!(
            r#"{{"v":1,"kind":"{kind}","node":"n","seq":{seq},"id":"{}","at":"2026-11-21T09:00:00.000000Z","decision":"permit"}}"#,
            id(of)
        )
    };
    let permit = |seq, of| line("decision", seq, of);
    let deny = |seq, of| permit(seq, of).replace("permit", "deny");
    let done = |seq, of| {
        line("outcome", seq, of).replace(",\"decision\":\"permit\"", ",\"end\":\"complete\"")
    };
    let log = [
        permit(1, 1),
        permit(2, 2),
        deny(3, 3),
        permit(4, 4),
        done(5, 2),
        done(6, 1),
        done(7, 9),
    ];
    for (most, expected, unjoined) in [
        (9, [(3, None), (2, Some(5)), (1, Some(6)), (4, None)], 0),
        (2, [(3, None), (1, None), (2, Some(5)), (4, None)], 1),
        (1, [(1, None), (3, None), (2, None), (4, None)], 2),
    ] {
        assert_eq!(joined(most, &log), (expected.to_vec(), unjoined), "{most}");
    }
    let twice = [permit(1, 1), permit(2, 1), done(3, 1), done(4, 1)];
    assert_eq!(joined(9, &twice).0, [(1, None), (2, Some(3))]);
}
