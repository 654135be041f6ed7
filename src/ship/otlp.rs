//! Records as OTLP log records and spans, by OpenTelemetry's semantic conventions where there are some and
//! under `portcullis.` where there are none.
//!
//! The body of a log record is the line itself: the attributes are for those who search, and tell less.

use std::sync::Arc;

use jiff::Timestamp;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use opentelemetry_proto::tonic::trace::v1::{Span, Status, span::SpanKind, status::StatusCode};
use prost::Message as _;

use super::spans::{Context, OpenSpan, Spans};
use crate::audit::read::Record;
use crate::audit::record::{Decision, End, Event, Outcome, SinkState, Verdict};

/// What becomes of one record.
#[derive(Debug)]
pub(super) struct Converted {
    pub(super) node: Arc<str>,
    /// The record's time; long ago where it has none.
    pub(super) at: Timestamp,
    pub(super) log: Option<LogRecord>,
    /// The span that ends with this record.
    pub(super) span: Option<Span>,
}

/// Which signals are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signals {
    pub(super) logs: bool,
    pub(super) traces: bool,
}

/// Makes log record and span of a line. `node` is given back where the record's is the same.
pub(super) fn convert(
    line: &[u8],
    seq: u64,
    node: &Arc<str>,
    signals: Signals,
    spans: &mut Spans,
) -> Converted {
    let text = String::from_utf8_lossy(line);
    let record = Record::parse(&text).ok();
    let node = match &record {
        Some(record) if *record.envelope().node != **node => record.envelope().node.as_str().into(),
        _ => node.clone(),
    };
    let mut log = Log::default();
    let mut span = None;
    match &record {
        Some(Record::Decision(_, decision)) => {
            log.decision(decision);
            span = decided(decision, seq, &node, signals, spans, &mut log.context);
        }
        Some(Record::Outcome(_, outcome)) => {
            log.outcome(outcome);
            if let Some(open) = spans.end(outcome.id) {
                span = open.span.map(|(span, _)| ended(*span, outcome));
                log.context = open.context;
            }
        }
        Some(Record::Event(_, at, event)) => log.event(*at, event),
        // a kind that a later version has: its line tells
        None => log.severity = SeverityNumber::Info,
    }
    Converted {
        node,
        at: log.at.unwrap_or(Timestamp::MIN),
        log: signals
            .logs
            .then(|| log.into_record(seq, text.into_owned())),
        span,
    }
}

/// The span of a decision whose outcome isn't known, or won't be here in time.
pub(super) fn unended(open: OpenSpan) -> Option<(Arc<str>, Span)> {
    let (mut span, _) = open.span?;
    span.attributes
        .push(flag("portcullis.outcome.known", false));
    Some((open.node, *span))
}

/// A permit waits for its outcome, a denial is all there is.
fn decided(
    decision: &Decision<'_>,
    seq: u64,
    node: &Arc<str>,
    signals: Signals,
    spans: &mut Spans,
    context: &mut Context,
) -> Option<Span> {
    *context = Context {
        trace: hex(decision.trace_id.as_deref()),
        span: hex(decision.span_id.as_deref()),
        flags: u32::from(decision.sampled),
    };
    let sent = signals.traces && decision.sampled && context.span.len() == SPAN_ID;
    let span = sent.then(|| span(decision, context));
    match decision.decision {
        Verdict::Deny => span,
        Verdict::Permit => {
            spans.begin(
                seq,
                OpenSpan {
                    id: decision.id,
                    at: decision.at,
                    node: node.clone(),
                    context: context.clone(),
                    span: span.map(|span| {
                        let bytes = 3 * span.encoded_len();
                        (Box::new(span), bytes)
                    }),
                },
            );
            None
        }
    }
}

/// From the request's head to its decision.
fn span(decision: &Decision<'_>, context: &Context) -> Span {
    let request = &decision.request;
    let method = request.method.as_deref().map(known_method);
    let method = method.filter(|known| *known != OTHER).unwrap_or("HTTP");
    let stages = &decision.stages_us;
    let before = stages.normalise + stages.identify + stages.r#match + stages.inspect;
    let judged = nanos(decision.at);
    let parent = hex(decision.parent_id.as_deref());
    let remote = if parent.is_empty() { 0 } else { REMOTE_PARENT };
    Span {
        trace_id: context.trace.clone(),
        span_id: context.span.clone(),
        parent_span_id: parent,
        flags: context.flags | PARENT_KNOWN | remote,
        name: match request.template.as_deref() {
            Some(template) => format!("{method} {template}"),
            None => method.to_owned(),
        },
        kind: SpanKind::Server.into(),
        start_time_unix_nano: judged.saturating_sub(whole_nanos(before)),
        end_time_unix_nano: judged.saturating_add(whole_nanos(stages.decide)),
        attributes: of_decision(decision),
        ..Span::default()
    }
}

/// The span with what its outcome tells. Where a crash took the outcome, the end isn't known.
fn ended(mut span: Span, outcome: &Outcome<'_>) -> Span {
    if outcome.end != End::Unknown {
        let end = nanos(outcome.at);
        span.end_time_unix_nano = end;
        if let Some(total) = outcome.total_us {
            span.start_time_unix_nano = end.saturating_sub(whole_nanos(total));
        }
    }
    span.attributes.extend(of_outcome(outcome));
    let server_error = outcome.status.is_some_and(|status| status >= 500);
    if server_error || outcome.end == End::UpstreamFailed {
        let kind = match outcome.status {
            Some(status) if server_error => status.to_string(),
            _ => end_name(outcome.end).to_owned(),
        };
        span.attributes.push(text("error.type", &kind));
        span.status = Some(Status {
            code: StatusCode::Error.into(),
            message: String::new(),
        });
    }
    span
}

/// A log record as it comes about.
#[derive(Debug)]
struct Log {
    at: Option<Timestamp>,
    kind: &'static str,
    severity: SeverityNumber,
    attributes: Vec<KeyValue>,
    context: Context,
}

impl Default for Log {
    fn default() -> Log {
        Log {
            at: None,
            kind: "portcullis.record",
            severity: SeverityNumber::Unspecified,
            attributes: Vec::new(),
            context: Context::default(),
        }
    }
}

impl Log {
    fn decision(&mut self, decision: &Decision<'_>) {
        self.at = Some(decision.at);
        self.kind = "portcullis.decision";
        self.severity = match decision.decision {
            Verdict::Permit => SeverityNumber::Info,
            Verdict::Deny => SeverityNumber::Warn,
        };
        self.attributes = of_decision(decision);
    }

    fn outcome(&mut self, outcome: &Outcome<'_>) {
        self.at = Some(outcome.at);
        self.kind = "portcullis.outcome";
        self.severity = match outcome.end {
            End::Complete | End::ClientGone => SeverityNumber::Info,
            End::Cut | End::Aborted | End::Unknown => SeverityNumber::Warn,
            End::UpstreamFailed => SeverityNumber::Error,
        };
        self.attributes = of_outcome(outcome);
        let id = outcome.id.to_string();
        self.attributes.push(text("portcullis.decision.id", &id));
    }

    fn event(&mut self, at: Timestamp, event: &Event<'_>) {
        self.at = Some(at);
        self.kind = "portcullis.event";
        let (name, severity) = match event {
            Event::Start(_) => ("start", SeverityNumber::Info),
            Event::Stop {} => ("stop", SeverityNumber::Info),
            Event::Reload { ok: true, .. } => ("reload", SeverityNumber::Info),
            Event::Reload { ok: false, .. } => ("reload", SeverityNumber::Error),
            Event::KeyChange { .. } => ("key_change", SeverityNumber::Info),
            Event::Refusals { .. } => ("refusals", SeverityNumber::Warn),
            Event::Sink {
                state: SinkState::Recovered,
                ..
            } => ("sink", SeverityNumber::Info),
            Event::Sink { .. } => ("sink", SeverityNumber::Error),
        };
        self.severity = severity;
        self.attributes = vec![text("portcullis.event", name)];
    }

    fn into_record(self, seq: u64, line: String) -> LogRecord {
        let mut attributes = self.attributes;
        attributes.push(number("portcullis.seq", seq));
        let observed = nanos(Timestamp::now());
        LogRecord {
            time_unix_nano: self.at.map_or(observed, nanos),
            observed_time_unix_nano: observed,
            severity_number: self.severity.into(),
            severity_text: match self.severity {
                SeverityNumber::Warn => "WARN",
                SeverityNumber::Error => "ERROR",
                _ => "INFO",
            }
            .to_owned(),
            body: Some(value(Value::StringValue(line))),
            attributes,
            flags: self.context.flags,
            trace_id: self.context.trace,
            span_id: self.context.span,
            event_name: self.kind.to_owned(),
            ..LogRecord::default()
        }
    }
}

fn of_decision(decision: &Decision<'_>) -> Vec<KeyValue> {
    let mut all = Vec::with_capacity(24);
    let mut add = |key, value: Option<&str>| all.extend(value.map(|value| text(key, value)));
    add("portcullis.decision.id", Some(&decision.id.to_string()));
    let verdict = match decision.decision {
        Verdict::Permit => "permit",
        Verdict::Deny => "deny",
    };
    add("portcullis.decision", Some(verdict));
    add(
        "portcullis.reason",
        decision.reason.map(|reason| reason.code()),
    );
    add("portcullis.detail", decision.detail.as_deref());
    add("portcullis.policy_set", Some(&decision.policy_set));
    add("portcullis.route", decision.route.as_deref());
    add("portcullis.upstream", decision.upstream.as_deref());
    if let Some(who) = &decision.principal {
        add("user.id", who.user.as_deref());
        add("session.id", who.session.as_deref());
        add("portcullis.provider", who.provider.as_deref());
        add("portcullis.agent", who.agent.as_deref());
        add("portcullis.workload", who.workload.as_deref());
        add("portcullis.task", who.task.as_deref());
        add("portcullis.token_id", who.token_id.as_deref());
    }
    let request = &decision.request;
    let method = request.method.as_deref();
    add("http.request.method", method.map(known_method));
    let original = method.filter(|method| known_method(method) != *method);
    add("http.request.method_original", original);
    add("server.address", request.host.as_deref());
    add("url.path", request.path.as_deref());
    add("http.route", request.template.as_deref());
    add(
        "client.address",
        Some(&decision.client.ip().to_canonical().to_string()),
    );
    all.push(number("client.port", decision.client.port().into()));
    if !decision.policies.0.is_empty() {
        let ids = decision.policies.0.iter();
        let values = ids.map(|id| value(Value::StringValue(id.to_string())));
        let values = values.collect();
        all.push(pair(
            "portcullis.policies",
            Value::ArrayValue(ArrayValue { values }),
        ));
    }
    all
}

fn of_outcome(outcome: &Outcome<'_>) -> Vec<KeyValue> {
    let mut all = vec![
        text("portcullis.outcome.end", end_name(outcome.end)),
        flag("portcullis.outcome.known", outcome.end != End::Unknown),
    ];
    if let Some(status) = outcome.status {
        all.push(number("http.response.status_code", status.into()));
    }
    if outcome.end != End::Unknown {
        all.push(number("http.request.body.size", outcome.request_bytes));
        all.push(number("http.response.body.size", outcome.bytes));
    }
    if let Some(upstream) = outcome.upstream.as_deref() {
        all.push(text("portcullis.upstream.address", upstream));
    }
    all
}

/// The method, or what the semantic conventions say where it is none of theirs: names must be few.
fn known_method(method: &str) -> &str {
    match method {
        "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "OPTIONS" | "PATCH" | "QUERY" => method,
        _ => OTHER,
    }
}

fn end_name(end: End) -> &'static str {
    match end {
        End::Complete => "complete",
        End::ClientGone => "client_gone",
        End::UpstreamFailed => "upstream_failed",
        End::Cut => "cut",
        End::Aborted => "aborted",
        End::Unknown => "unknown",
    }
}

/// A text attribute.
pub(super) fn text(key: &str, text: &str) -> KeyValue {
    pair(key, Value::StringValue(text.to_owned()))
}

fn number(key: &str, number: u64) -> KeyValue {
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    pair(key, Value::IntValue(number))
}

fn flag(key: &str, flag: bool) -> KeyValue {
    pair(key, Value::BoolValue(flag))
}

fn pair(key: &str, of: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(value(of)),
        ..KeyValue::default()
    }
}

fn value(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn nanos(at: Timestamp) -> u64 {
    u64::try_from(at.as_nanosecond()).unwrap_or(0)
}

fn whole_nanos(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The bytes of hex digits; nothing where they are none.
fn hex(digits: Option<&str>) -> Vec<u8> {
    let (pairs, []) = digits.unwrap_or_default().as_bytes().as_chunks::<2>() else {
        return Vec::new();
    };
    let digit = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let bytes = pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    bytes.collect::<Option<Vec<u8>>>().unwrap_or_default()
}

const OTHER: &str = "_OTHER";
const SPAN_ID: usize = 8;
/// Bits of a span's flags: it is known whether the parent is remote, and it is (OTLP, `SpanFlags`).
const PARENT_KNOWN: u32 = 0x100;
const REMOTE_PARENT: u32 = 0x200;
