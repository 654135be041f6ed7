//! What records look like, and what they never hold.

use super::*;
use crate::audit::record::SinkState;

fn full<'a>(principal: &'a policy::Principal, policies: &'a [Arc<str>]) -> Decision<'a> {
    Decision {
        id: Uuid::try_parse("018f0000-0000-7000-8000-000000000001").unwrap(),
        at: "2026-11-21T09:00:00.123456Z".parse().unwrap(),
        policy_set: "ab".repeat(32).into(),
        decision: Verdict::Deny,
        reason: Some(Reason::AmbiguousRequest),
        detail: Some("json_trailing".into()),
        policies: policies.into(),
        shadow: Default::default(),
        principal: Some(principal.into()),
        client: "[::ffff:10.0.0.1]:4711".parse().unwrap(),
        route: Some("api".into()),
        upstream: Some("backend".into()),
        request: Request {
            method: Some("POST".into()),
            host: Some("api.example".into()),
            path: Some("/accounts/42".into()),
            template: Some("/accounts/{account}".into()),
            query: QueryNames::of(Some("a=1&b&&c[x]=%20&=v")),
            body_sha256: Some(Sha256([0xab; 32])),
            judged: JudgedFields(vec![("body/branch".into(), "ma\"in".into())].into()),
            fields: vec!["body/branch".into()].into(),
        },
        trace_id: Some("0af7651916cd43dd8448eb211c80319c".into()),
        span_id: Some("b7ad6b7169203331".into()),
        parent_id: Some("00f067aa0ba902b7".into()),
        sampled: true,
        stages_us: Stages {
            normalise: Duration::from_nanos(1_999),
            identify: Duration::from_micros(2),
            r#match: Duration::ZERO,
            inspect: Duration::from_millis(3),
            decide: Duration::from_micros(4),
        },
    }
}

fn principal() -> policy::Principal {
    policy::Principal {
        provider: Some("corp".into()),
        agent: Some("spiffe://corp/agent/\"7\"\n".into()),
        user: Some("ann".into()),
        session: Some("s1".into()),
        groups: vec!["staff".into()],
        token_id: Some("jti-1".into()),
        cert: Some(policy::Certificate {
            spiffe_id: Some("spiffe://corp/agent/7".into()),
            fingerprint: "cd".repeat(32).into(),
            ..Default::default()
        }),
        claims: Json::Object(vec![
            (
                "raw".into(),
                Json::Text("eyJhbGciOiJFUzI1NiJ9.secret".into()),
            ),
            ("ssn".into(), Json::Text("claim-value-123".into())),
        ]),
        ..Default::default()
    }
}

#[test]
fn a_decision_s_line() {
    let (_folder, path) = folder();
    let (audit, _) = open(&written(&path)).unwrap();
    let principal = principal();
    let policies = [Arc::from("p.one"), Arc::from("p.two")];
    decide(&audit, &full(&principal, &policies)).unwrap();
    audit.close();
    let text = fs::read_to_string(&path).unwrap();
    let expected = concat!(
        r#"{"v":1,"kind":"decision","node":"n1","seq":2,"prev":"PREV","id":"018f0000-0000-7000-8000-000000000001","#,
        r#""at":"2026-11-21T09:00:00.123456Z","policy_set":"abababababababababababababababababababababababababababababababab","decision":"deny","#,
        r#""reason":"ambiguous_request","detail":"json_trailing","policies":["p.one","p.two"],"#,
        r#""principal":{"provider":"corp","agent":"spiffe://corp/agent/\"7\"\n","user":"ann","session":"s1","#,
        r#""groups":["staff"],"token_id":"jti-1","cert_fingerprint":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd","#,
        r#""spiffe_id":"spiffe://corp/agent/7"},"client":"10.0.0.1:4711","route":"api","upstream":"backend","#,
        r#""request":{"method":"POST","host":"api.example","path":"/accounts/42","template":"/accounts/{account}","#,
        r#""query":["a","b","c[x]",""],"body_sha256":"abababababababababababababababababababababababababababababababab","#,
        r#""judged":{"body/branch":"ma\"in"},"fields":["body/branch"]},"trace_id":"0af7651916cd43dd8448eb211c80319c","#,
        r#""span_id":"b7ad6b7169203331","parent_id":"00f067aa0ba902b7","sampled":true,"#,
        r#""stages_us":{"normalise":1,"identify":2,"match":0,"inspect":3000,"decide":4}}"#,
    );
    let start = text.lines().nth(1).unwrap();
    let expected = expected.replace("PREV", &encode::hex_of(&tree::leaf(start.as_bytes())));
    assert_eq!(text.lines().nth(2), Some(&*expected));
    audit_lines::check(&text);
    for secret in ["secret", "claim-value-123", "ssn", "%20", "=v"] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}

/// A caller's text neither ends a line, for whatever reader, nor speaks to a terminal.
#[test]
fn a_line_shows_what_it_holds() {
    let (_folder, path) = folder();
    let (audit, _) = open(&written(&path)).unwrap();
    let principal = principal();
    let hidden = "a\u{85}b\u{2028}c\u{2029}d\u{9b}2Je\u{7f}f\u{202e}g\u{2066}h\u{200f}\n";
    let shown = "é – “€” 中😀";
    let mut decision = full(&principal, &[]);
    let judged = vec![
        ("body/hidden".into(), hidden.into()),
        ("body/shown".into(), shown.into()),
    ];
    decision.request.judged = JudgedFields(judged.into());
    decide(&audit, &decision).unwrap();
    audit.close();
    let text = fs::read_to_string(&path).unwrap();
    audit_lines::check(&text);
    let line = text.lines().nth(2).unwrap();
    let escaped = r"a\u0085b\u2028c\u2029d\u009b2Je\u007ff\u202eg\u2066h\u200f\n";
    let expected = format!(r#"{{"body/hidden":"{escaped}","body/shown":"{shown}"}}"#);
    assert!(line.contains(&expected), "{line}");
    let back: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(back["request"]["judged"]["body/hidden"], hidden);
}

#[test]
fn what_is_written_is_read_back() {
    let (_folder, path) = folder();
    let (audit, _) = open(&written(&path)).unwrap();
    let principal = principal();
    let policies = [Arc::from("p.one")];
    let shadow = [policy::Shadow {
        policy: "p.shadow".into(),
        effect: policy::Effect::Permit,
    }];
    let mut decision = full(&principal, &policies);
    decision.shadow = shadow.as_slice().into();
    decide(&audit, &decision).unwrap();
    let events = [
        Event::Reload {
            ok: false,
            policy_set: "ab".repeat(32).into(),
            policies: 3,
            problems: 2,
        },
        Event::KeyChange {
            provider: "corp".into(),
            keys: 2,
        },
        Event::Sink {
            state: SinkState::Recovered,
            error: None,
            since: Some("2026-11-21T09:00:00Z".parse().unwrap()),
            count: Some(4),
        },
    ];
    for event in &events {
        audit.event(event).unwrap();
    }
    audit.close();
    let records = records(&path);
    let Record::Decision(envelope, read) = &records[1] else {
        panic!("{records:?}");
    };
    assert_eq!((envelope.node.as_str(), envelope.seq), ("n1", 2));
    // times lose what is less than a microsecond, and a mapped address its mapping
    decision.stages_us.normalise = Duration::from_micros(1);
    decision.client = "10.0.0.1:4711".parse().unwrap();
    assert_eq!(**read, decision);
    let read: Vec<&Event<'_>> = records
        .iter()
        .filter_map(|record| match record {
            Record::Event(_, _, event) => Some(event),
            Record::Decision(..) | Record::Outcome(..) => None,
        })
        .collect();
    assert!(matches!(read[0], Event::Start(start) if start.policies == 2));
    assert_eq!(read[1..4], events.iter().collect::<Vec<_>>());
    assert_eq!(read[4], &Event::Stop {});
}

#[test]
fn lines_that_are_no_records_of_this_version() {
    for (line, error) in [
        (
            "",
            "not an audit record: EOF while parsing a value at line 1 column 0",
        ),
        (
            r#"{"v":2,"kind":"decision","node":"a","seq":1}"#,
            "an audit record of version 2; this program reads version 1",
        ),
        (
            r#"{"v":1,"kind":"other","node":"a","seq":1}"#,
            "an audit record of an unknown kind",
        ),
        (
            r#"{"v":1,"kind":"event","node":"a","seq":1,"at":"now","event":"stop"}"#,
            "not an audit record: invalid value: string \"now\", expected an RFC 3339 timestamp",
        ),
    ] {
        let read = Record::parse(line).unwrap_err().to_string();
        assert!(read.starts_with(error), "{read}");
    }
    let newer = r#"{"v":1,"kind":"event","node":"a","seq":1,"later":"00","at":"2026-11-21T09:00:00Z","event":"stop","why":1}"#;
    assert!(Record::parse(newer).is_ok(), "further fields do no harm");
}

#[test]
fn query_names_are_bounded_and_never_values() {
    let long = format!("{}é=1", "n".repeat(127));
    for (query, names) in [
        (None, vec![]),
        (Some(""), vec![]),
        (Some("a=b=c&a=d"), vec!["a", "a"]),
        (Some("&&"), vec![]),
        (Some(long.as_str()), vec![long.split_at(127).0]),
    ] {
        let read: Vec<String> = QueryNames::of(query).iter().map(str::to_owned).collect();
        assert_eq!(read, names, "{query:?}");
    }
    let many = "x=1&".repeat(1000);
    assert_eq!(QueryNames::of(Some(&many)).iter().count(), 64);
    assert_eq!(
        format!("{:?}", QueryNames::of(Some("a=secret"))),
        r#"["a"]"#
    );
}

#[test]
fn descriptions_are_for_humans_and_safe_to_print() {
    let decision = Record::parse(concat!(
        r#"{"v":1,"kind":"decision","node":"n1","seq":2,"id":"018f0000-0000-7000-8000-000000000001","#,
        r#""at":"2026-11-21T09:00:00.123456Z","policy_set":"ab","decision":"deny","reason":"forbidden","#,
        r#""policies":["p"],"principal":{"agent":"a\u001b[2J\u202e","user":"ann"},"client":"127.0.0.1:1","#,
        r#""request":{"method":"GET","path":"/x","query":["q"],"fields":["body/b"]},"#,
        r#""stages_us":{"normalise":1,"identify":2,"match":0,"inspect":0,"decide":4}}"#,
    ))
    .unwrap();
    assert_eq!(
        describe(&decision),
        "2026-11-21T09:00:00.123Z DENY   GET /x?q reason=forbidden policy=p field=body/b \
         agent=a\\u{1b}[2J\\u{202e} user=ann id=018f0000-0000-7000-8000-000000000001"
    );
    let outcome = Record::parse(concat!(
        r#"{"v":1,"kind":"outcome","node":"n1","seq":3,"id":"018f0000-0000-7000-8000-000000000001","#,
        r#""at":"2026-11-21T09:00:00.2Z","end":"complete","status":200,"bytes":5,"request_bytes":0,"#,
        r#""upstream":"10.0.0.1:80","head_us":900,"total_us":1500}"#,
    ))
    .unwrap();
    assert_eq!(
        describe(&outcome),
        "2026-11-21T09:00:00.200Z done   200 5 bytes in 1.5 ms upstream=10.0.0.1:80 \
         id=018f0000-0000-7000-8000-000000000001"
    );
}

#[test]
fn every_cause_of_an_early_refusal_has_its_place() {
    let causes: Vec<Early> = Early::all().collect();
    assert_eq!(causes.len(), Early::COUNT);
    for (index, cause) in causes.iter().enumerate() {
        assert_eq!(cause.index(), index, "{cause:?}");
    }
}
