//! Each kind of record and each event is understood, and no more is taken for one.

use super::*;
use crate::audit::read::Record;

const BEGIN: &str =
    r#"{"v":1,"kind":"KIND","node":"n1","seq":7,"at":"2026-11-21T09:00:00.000000Z""#;

fn line(kind: &str, rest: &str) -> String {
    format!("{},{rest}}}", BEGIN.replace("KIND", kind))
}

const DECISION: &str = r#""id":"018f0000-0000-7000-8000-000000000001","policy_set":"ab","decision":"deny","reason":"forbidden","detail":"d","policies":["p","q"],"principal":{"provider":"corp","agent":"a"},"client":"10.0.0.1:1","route":"r","upstream":"u","request":{"method":"GET","path":"/"},"trace_id":"0af7651916cd43dd8448eb211c80319c","stages_us":{"normalise":0,"identify":0,"match":0,"inspect":0,"decide":0}"#;
const OUTCOME: &str = r#""id":"018f0000-0000-7000-8000-000000000001","end":"complete","status":200,"bytes":5,"request_bytes":0,"upstream":"10.0.0.1:80","total_us":9"#;
const EVENTS: [(&str, &str); 6] = [
    (
        "start",
        r#""version":"0.1.0","policy_set":"ab","policies":2"#,
    ),
    ("stop", r#""later":0"#),
    (
        "reload",
        r#""ok":true,"policy_set":"ab","policies":3,"problems":0"#,
    ),
    ("key_change", r#""provider":"corp","keys":2"#),
    ("refusals", r#""counts":[{"cause":"parser","count":3}]"#),
    (
        "sink",
        r#""state":"recovered","error":"no space","since":"2026-11-21T09:00:00.000000Z","count":4"#,
    ),
];

#[test]
fn every_kind_of_record_and_every_event_is_one() {
    let events = EVENTS.map(|(event, rest)| line("event", &format!(r#""event":"{event}",{rest}"#)));
    let others = [line("decision", DECISION), line("outcome", OUTCOME)];
    for text in others.iter().chain(&events) {
        let view = View::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(
            (view.seq, view.text(Field::Node)),
            (7, Some("n1")),
            "{text}"
        );
        assert!(Record::parse(text).is_ok(), "{text}");
    }
    let views = events.each_ref().map(|text| View::parse(text).unwrap());
    assert_eq!(
        views
            .each_ref()
            .map(|view| view.text(Field::Event).unwrap()),
        EVENTS.map(|(event, _)| event)
    );
    for view in &views {
        assert_eq!(view.texts(Field::Policy).count(), 0, "{view:?}");
    }
    assert_eq!(views[3].text(Field::Provider), Some("corp"));
    let decision = View::parse(&others[0]).unwrap();
    let policies: Vec<_> = decision.texts(Field::Policy).collect();
    assert_eq!(policies, ["p", "q"]);
    let outcome = View::parse(&others[1]).unwrap();
    assert_eq!((outcome.status(), outcome.total_us()), (Some(200), Some(9)));
}

/// Fields may be added to a record, under any name that its kind doesn't have yet.
#[test]
fn what_a_kind_does_not_have_may_be_of_any_type() {
    let own = |kind: &str| match kind {
        "decision" => [
            "id",
            "decision",
            "reason",
            "detail",
            "policies",
            "principal",
            "client",
            "route",
            "upstream",
            "request",
            "trace_id",
            "",
        ],
        "outcome" => [
            "id",
            "end",
            "status",
            "bytes",
            "request_bytes",
            "total_us",
            "upstream",
            "",
            "",
            "",
            "",
            "",
        ],
        _ => ["event", "", "", "", "", "", "", "", "", "", "", ""],
    };
    let names = [
        "id",
        "decision",
        "reason",
        "detail",
        "policies",
        "principal",
        "client",
        "route",
        "upstream",
        "request",
        "grant",
        "trace_id",
        "provider",
        "event",
        "end",
        "status",
        "bytes",
        "request_bytes",
        "total_us",
        "other",
    ];
    for kind in KINDS {
        let least = match kind {
            "decision" => r#""stages_us":{}"#,
            "outcome" => r#""head_us":1"#,
            _ => r#""event":"invented_later""#,
        };
        for name in names {
            for value in [
                "1",
                "-1",
                "1.5",
                "true",
                r#""text""#,
                r#""\u00e9""#,
                "[]",
                "[1,{}]",
                "{}",
                r#"{"x":[1]}"#,
                "99999999999999999999",
            ] {
                let text = line(kind, &format!(r#"{least},"{name}":{value}"#));
                if kind == "event" && name == "event" {
                    continue; // there twice
                }
                let parsed = View::parse(&text);
                if own(kind).contains(&name) {
                    let fits = match name {
                        "policies" => value == "[]",
                        "principal" | "request" => value.starts_with('{'),
                        "status" | "bytes" | "request_bytes" | "total_us" => value == "1",
                        _ => value.starts_with('"'),
                    };
                    assert_eq!(parsed.is_ok(), fits, "{text}");
                } else {
                    assert!(parsed.is_ok(), "{text}");
                }
            }
        }
    }
    let key_change = line("event", r#""event":"key_change","provider":5"#);
    assert!(View::parse(&key_change).is_err());
}

#[test]
fn what_a_kind_has_is_of_its_type_and_there_once() {
    for (from, to) in [
        (r#""agent":"a""#, r#""agent":5"#),
        (r#""method":"GET""#, r#""method":["GET"]"#),
        (r#"["p","q"]"#, r#"["p",1]"#),
        (r#"["p","q"]"#, "2"),
        (r#""route":"r""#, r#""route":"r","route":"r""#),
        (
            r#""policies":["p","q"]"#,
            r#""policies":["p"],"policies":["q"]"#,
        ),
        (r#""agent":"a""#, r#""agent":"a","agent":"b""#),
        (r#""seq":7"#, r#""seq":"7""#),
        (r#""node":"n1""#, r#""node":1"#),
        ("T09:00", " nine"),
        (r#""kind":"decision""#, r#""kind":"verdict""#),
    ] {
        let text = line("decision", DECISION);
        let other = text.replacen(from, to, 1);
        assert_ne!(text, other);
        assert!(
            matches!(View::parse(&other), Err(NoRecord::Malformed)),
            "{other}"
        );
    }
    let twice = line("event", r#""event":"start","policies":1,"policies":1"#);
    assert!(View::parse(&twice).is_err());
}
