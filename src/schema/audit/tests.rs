//! Whether the schema says what records are: nothing less, nothing more.

use super::*;
use crate::audit::record::{self, Event, StartEvent, fields};
use crate::schema::audit_lines::misfits_of;

/// The names under which a definition describes its members.
fn properties(schema: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = schema["properties"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn every_field_of_a_record_is_in_the_schema() {
    let schema = audit();
    let envelope = ["v", "kind", "node", "seq", "prev"];
    let decision = &schema["$defs"]["decision"];
    for (name, of, known, more) in [
        (
            "decision",
            decision,
            fields::<record::Decision<'_>>(),
            &envelope[..],
        ),
        (
            "outcome",
            &schema["$defs"]["outcome"],
            fields::<record::Outcome<'_>>(),
            &envelope,
        ),
        (
            "principal",
            &decision["properties"]["principal"],
            fields::<record::Principal<'_>>(),
            &[],
        ),
        (
            "request",
            &decision["properties"]["request"],
            fields::<record::Request<'_>>(),
            &[],
        ),
        (
            "stages",
            &decision["properties"]["stages_us"],
            fields::<record::Stages>(),
            &[],
        ),
        (
            "start",
            &schema["$defs"]["event_start"],
            fields::<StartEvent>(),
            &["v", "kind", "node", "seq", "prev", "at", "event"],
        ),
    ] {
        let mut want = [known, more].concat();
        want.sort_unstable();
        assert!(!known.is_empty(), "{name}");
        assert_eq!(properties(of), want, "{name}");
    }
}

#[test]
fn codes_are_those_of_the_enums() {
    assert_eq!(codes::<Verdict>(), ["permit", "deny"]);
    assert_eq!(codes::<End>().first(), Some(&"complete"));
    assert!(codes::<SinkState>().contains(&"set_aside"));
    // Of another type there are none, rather than wrong ones.
    assert_eq!(codes::<String>(), [""; 0]);
    assert_eq!(codes::<StartEvent>(), [""; 0]);
}

/// One of each event; a new one doesn't compile before it is here.
fn events() -> Vec<Event<'static>> {
    let set = "ab".repeat(32);
    let start = Event::Start(StartEvent {
        version: "0.1.0".to_owned(),
        policy_set: set.clone(),
        policies: 1,
    });
    let next = |event: &Event<'_>| -> Option<Event<'static>> {
        Some(match event {
            Event::Start(_) => Event::Stop {},
            Event::Stop {} => Event::Reload {
                ok: true,
                policy_set: set.clone().into(),
                policies: 1,
                problems: 0,
            },
            Event::Reload { .. } => Event::KeyChange {
                provider: "corp".into(),
                keys: 2,
            },
            Event::KeyChange { .. } => Event::Refusals {
                counts: vec![record::Refusals {
                    cause: "parser".into(),
                    count: 3,
                }],
            },
            Event::Refusals { .. } => Event::Sink {
                state: SinkState::Recovered,
                error: Some("No space left on device (os error 28)".into()),
                since: Some(jiff::Timestamp::UNIX_EPOCH),
                count: Some(4),
            },
            Event::Sink { .. } => return None,
        })
    };
    std::iter::successors(Some(start), next).collect()
}

fn line(mut record: Value) -> Value {
    for (name, value) in [
        ("v", json!(VERSION)),
        ("kind", json!("event")),
        ("node", json!("n1")),
        ("seq", json!(1)),
        ("prev", json!("0".repeat(64))),
        ("at", json!("2026-11-21T09:00:00.123456Z")),
    ] {
        set(&mut record, name, value);
    }
    record
}

#[test]
fn every_event_fits() {
    let events = events();
    assert_eq!(events.len(), 6);
    for event in &events {
        let line = line(serde_json::to_value(event).unwrap());
        assert_eq!(misfits_of(&line), [""; 0], "{line}");
    }
}

#[test]
fn what_is_no_record_does_not_fit() {
    let decision = json!({
        "v": 1, "kind": "decision", "node": "n1", "seq": 7, "prev": "ab".repeat(32),
        "id": "018f0000-0000-7000-8000-000000000001", "at": "2026-11-21T09:00:00.123456Z",
        "policy_set": "ab".repeat(32), "decision": "permit", "policies": ["p"], "client": "127.0.0.1:1",
        "request": { "method": "GET", "judged": { "body/a": "x" } },
        "stages_us": { "normalise": 1, "identify": 2, "match": 0, "inspect": 0, "decide": 4 },
    });
    let segment = json!({ "v": 1, "kind": "segment", "node": "n1", "seq": 0, "size": 0, "prev": "0".repeat(64), "tree": [] });
    assert_eq!(misfits_of(&decision), [""; 0]);
    assert_eq!(misfits_of(&segment), [""; 0]);
    type Change = fn(&mut Value);
    let changes: &[(&str, Change)] = &[
        ("another version", |line| line["v"] = json!(2)),
        ("another kind", |line| line["kind"] = json!("grant")),
        ("no chain", |line| {
            drop(line.as_object_mut().unwrap().remove("prev"))
        }),
        ("a chain of another length", |line| {
            line["prev"] = json!("ab")
        }),
        ("a number as text", |line| line["seq"] = json!("7")),
        ("another field", |line| line["more"] = json!(1)),
    ];
    for line in [&decision, &segment] {
        for (what, change) in changes {
            let mut line = line.clone();
            change(&mut line);
            assert!(!misfits_of(&line).is_empty(), "{what}: {line}");
        }
    }
    let changes: &[(&str, Change)] = &[
        ("number zero", |line| line["seq"] = json!(0)),
        ("a denial without a reason", |line| {
            line["decision"] = json!("deny")
        }),
        ("a permit with a reason", |line| {
            line["reason"] = json!("no_policy")
        }),
        ("a permit of no policy", |line| {
            drop(line.as_object_mut().unwrap().remove("policies"))
        }),
        ("an unknown reason", |line| {
            line["reason"] = json!("because")
        }),
        ("a time of day", |line| line["at"] = json!("09:00")),
        ("another field of the request", |line| {
            line["request"]["token"] = json!("x")
        }),
        ("a judged field that is none", |line| {
            line["request"]["judged"] = json!({ "query/a": "x" })
        }),
        ("a container", |line| {
            line["request"]["judged"] = json!({ "body/a": {} })
        }),
    ];
    for (what, change) in changes {
        let mut line = decision.clone();
        change(&mut line);
        assert!(!misfits_of(&line).is_empty(), "{what}: {line}");
    }
}

/// As users get it, it lets new fields pass, but for a file's header.
#[test]
fn records_are_open_and_headers_are_not() {
    let schema = audit();
    for name in KINDS {
        let closed = schema["$defs"][name].get("additionalProperties").is_some();
        assert_eq!(closed, *name == "segment", "{name}");
        let kind = &schema["$defs"][name]["properties"]["kind"]["const"];
        assert!(name.starts_with(kind.as_str().unwrap()), "{name}");
    }
    assert_eq!(schema["$defs"].as_object().unwrap().len(), KINDS.len());
}
