//! What goes out: log records and spans.

use opentelemetry_proto::tonic::trace::v1::{span::SpanKind, status::StatusCode};

use super::log::Log;
use super::receiver::{Receiver, Reply, body, text};
use super::{counted, section, ship, ship_by};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SAMPLED: &str = r#""trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331","parent_id":"00f067aa0ba902b7","sampled":true,"#;
const BEGUN: &str =
    r#""trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331","sampled":true,"#;
const UNSAMPLED: &str =
    r#""trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331","#;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn each_record_is_a_log_record() {
    let mut log = Log::new();
    let permit = log.permit(SAMPLED);
    log.denial("/a", UNSAMPLED);
    log.outcome(permit, "upstream_failed", r#","status":502"#);
    log.event(r#""event":"sink","state":"trouble","error":"No space left""#);
    log.event(r#""event":"start","version":"1","policy_set":"ab","policies":2"#);
    log.record("later", r#""what":"this version doesn't know""#);
    let written = std::fs::read_to_string(&log.path).unwrap();
    let receiver = Receiver::taking();
    let running = ship(&log, &receiver);
    let records = receiver.records(1..=6);
    let lines: Vec<&str> = written.lines().skip(1).collect();
    assert_eq!(records.iter().map(body).collect::<Vec<_>>(), lines);
    let shown = records.iter().map(|record| {
        let trace = hex(&record.trace_id);
        let span = hex(&record.span_id);
        let severity = &record.severity_text;
        format!(
            "{} {severity} {trace} {span} {}",
            record.event_name, record.flags
        )
    });
    assert_eq!(
        shown.collect::<Vec<_>>(),
        [
            format!("portcullis.decision INFO {TRACE} b7ad6b7169203331 1"),
            format!("portcullis.decision WARN {TRACE} b7ad6b7169203331 0"),
            // its decision told the trace
            format!("portcullis.outcome ERROR {TRACE} b7ad6b7169203331 1"),
            "portcullis.event ERROR   0".to_owned(),
            "portcullis.event INFO   0".to_owned(),
            "portcullis.record INFO   0".to_owned(),
        ]
    );
    assert_eq!(records[0].time_unix_nano, 1_795_251_600_000_010_000);
    assert!(records[0].observed_time_unix_nano > records[0].time_unix_nano);
    for (key, value) in [
        (
            "portcullis.decision.id",
            "018f0000-0000-7000-8000-000000000001",
        ),
        ("portcullis.decision", "permit"),
        ("portcullis.policy_set", "ab"),
        ("portcullis.route", "api"),
        ("portcullis.upstream", "backend"),
        ("portcullis.agent", "spiffe://corp/agent/7"),
        ("portcullis.provider", "corp"),
        ("user.id", "ann"),
        ("session.id", "s1"),
        ("http.request.method", "GET"),
        ("http.route", "/accounts/{account}"),
        ("server.address", "api.example"),
        ("url.path", "/accounts/42"),
        ("client.address", "10.0.0.1"),
        ("client.port", "4711"),
        ("portcullis.seq", "1"),
    ] {
        assert_eq!(text(&records[0].attributes, key), value, "{key}");
    }
    assert_eq!(
        text(&records[1].attributes, "portcullis.reason"),
        "no_policy"
    );
    for (key, value) in [
        (
            "portcullis.decision.id",
            "018f0000-0000-7000-8000-000000000001",
        ),
        ("portcullis.outcome.end", "upstream_failed"),
        ("http.response.status_code", "502"),
        ("http.response.body.size", "12"),
    ] {
        assert_eq!(text(&records[2].attributes, key), value, "{key}");
    }
    assert_eq!(text(&records[3].attributes, "portcullis.event"), "sink");
    let metrics = running.finish();
    counted(
        &metrics,
        &[
            r#"portcullis_ship_records_total{result="accepted"} 6"#,
            r#"portcullis_ship_spans_total{result="accepted"} 1"#,
            "portcullis_ship_lag_records 0",
        ],
    );
}

#[test]
fn who_sends_is_told_and_credentials_go_along() {
    let mut log = Log::new();
    log.denials(1);
    let receiver = Receiver::taking();
    let mut ship = section(&receiver);
    ship.endpoint = format!("http://{}/otlp/", receiver.address)
        .parse()
        .unwrap();
    let value = http::HeaderValue::from_static("Bearer k");
    let source = portcullis::config::SecretSource { value };
    ship.headers.push((http::header::AUTHORIZATION, source));
    let running = ship_by(&log, ship);
    let taken = receiver.until("a request", |taken| !taken.is_empty());
    assert_eq!(taken[0].path, "/otlp/v1/logs");
    for field in ["authorization: bearer k", "content-encoding: gzip"] {
        assert!(taken[0].headers.contains(field), "{}", taken[0].headers);
    }
    let resource = &taken[0].resources[0];
    assert_eq!(text(resource, "service.name"), "portcullis");
    assert_eq!(text(resource, "service.instance.id"), "n1");
    assert_eq!(text(resource, "service.version"), env!("CARGO_PKG_VERSION"));
    running.finish();
}

#[test]
fn each_decision_of_a_sampled_trace_is_a_span() {
    let mut log = Log::new();
    let permit = log.permit(SAMPLED);
    let failed = log.permit(BEGUN);
    let lost = log.permit(BEGUN);
    let unsampled = log.permit(UNSAMPLED);
    log.denial("/a", SAMPLED);
    log.denial("/b", UNSAMPLED);
    log.outcome(unsampled, "complete", "");
    log.outcome(permit, "complete", r#","status":404,"total_us":2000000"#);
    log.outcome(failed, "upstream_failed", r#","status":504"#);
    log.outcome(lost, "unknown", "");
    let receiver = Receiver::taking();
    let running = ship(&log, &receiver);
    let spans = receiver.spans(4);
    running.finish();
    let second = 1_795_251_600_000_000_000u64;
    let shown = spans.iter().map(|span| {
        assert_eq!(hex(&span.trace_id), TRACE);
        assert_eq!(span.kind, SpanKind::Server as i32);
        let [start, end] = [span.start_time_unix_nano, span.end_time_unix_nano]
            .map(|at| i64::try_from(at).unwrap() - i64::try_from(second).unwrap());
        let status = span.status.as_ref().map_or(StatusCode::Unset, |s| s.code());
        let ends = text(&span.attributes, "portcullis.outcome.end");
        let error = text(&span.attributes, "error.type");
        let (name, flags) = (&span.name, span.flags);
        let parent = hex(&span.parent_span_id);
        format!("{name} | {parent} {flags:x} | {start}..{end} | {status:?} {ends} {error}")
    });
    assert_eq!(
        shown.collect::<Vec<_>>(),
        [
            // ten microseconds to the decision, five to decide
            "GET | 00f067aa0ba902b7 301 | 0..15000 | Unset None None",
            "GET /accounts/{account} | 00f067aa0ba902b7 301 | -1000000000..1000000000 | Unset complete None",
            "GET /accounts/{account} |  101 | 0..1000000000 | Error upstream_failed 504",
            // whatever its end was, it isn't known
            "GET /accounts/{account} |  101 | 0..15000 | Unset unknown None",
        ]
    );
}

#[test]
fn one_signal_alone() {
    for (logs, traces) in [(true, false), (false, true)] {
        let mut log = Log::new();
        log.denial("/a", SAMPLED);
        let receiver = Receiver::start(move |request| {
            assert_eq!(request.path.ends_with("logs"), logs);
            Reply::Take
        });
        let running = ship_by(
            &log,
            portcullis::config::Ship {
                logs,
                traces,
                ..section(&receiver)
            },
        );
        let taken = receiver.until("a request", |taken| !taken.is_empty());
        running.finish();
        assert_eq!(
            (taken[0].logs.len(), taken[0].spans.len()),
            (logs.into(), traces.into())
        );
    }
}

#[test]
fn a_method_that_is_none_of_the_conventions_is_one_of_few_names() {
    let mut log = Log::new();
    log.record("decision", &format!(r#""id":"018f0000-0000-7000-8000-000000000001","at":"2026-11-21T09:00:00Z","policy_set":"ab","decision":"deny","reason":"no_policy","client":"[::1]:1","request":{{"method":"BREW","path":"/"}},{SAMPLED}"stages_us":{{"normalise":1,"identify":2,"match":3,"inspect":4,"decide":5}}"#));
    let receiver = Receiver::taking();
    let running = ship(&log, &receiver);
    let span = receiver.spans(1).remove(0);
    running.finish();
    assert_eq!(span.name, "HTTP");
    assert_eq!(text(&span.attributes, "http.request.method"), "_OTHER");
    assert_eq!(
        text(&span.attributes, "http.request.method_original"),
        "BREW"
    );
}
