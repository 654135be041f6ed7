//! Messages under way: a batch of one signal, in parts that are sent one by one until each is settled.
//!
//! A part that the receiver refuses for its content is sent again in halves, down to the single message that it
//! won't have. That one is passed over: it would hold up all that come after it, and it is in the file.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use super::client::{Answer, Client, ShipError};
use super::otlp::text;
use crate::metrics::ShipCounters;

/// What OTLP calls a signal: log records or spans.
pub(super) trait Signal: Clone {
    /// Where they are posted, below the endpoint.
    const PATH: &'static str;

    /// A request with these, by the node that each is from.
    fn request(nodes: Vec<(Arc<str>, Vec<Self>)>) -> Vec<u8>;

    /// What a response says of some that were taken and not kept: how many, and why.
    fn rejected(response: Bytes) -> Option<(i64, String)>;
}

/// A batch on its way.
#[derive(Debug)]
pub(super) struct Batch<S> {
    messages: Vec<(Arc<str>, S)>,
    /// What isn't settled, in pieces; the last is sent next.
    parts: Vec<Range<usize>>,
    /// The last part as it is sent.
    encoded: Option<Bytes>,
}

impl<S> Default for Batch<S> {
    fn default() -> Batch<S> {
        Batch {
            messages: Vec::new(),
            parts: Vec::new(),
            encoded: None,
        }
    }
}

impl<S: Signal> Batch<S> {
    pub(super) fn new(messages: Vec<(Arc<str>, S)>) -> Batch<S> {
        let whole = 0..messages.len();
        Batch {
            messages,
            parts: Vec::from_iter((!whole.is_empty()).then_some(whole)),
            encoded: None,
        }
    }

    /// Sends what isn't settled. On an error the rest is kept, to be sent again.
    pub(super) async fn send(
        &mut self,
        client: &mut Client,
        counters: &ShipCounters,
    ) -> Result<(), ShipError> {
        let mut refused = None;
        while let Some(part) = self.parts.last().cloned() {
            let message = match self.encoded.clone() {
                Some(message) => message,
                None => self.encode(&part, client)?,
            };
            self.encoded = Some(message.clone());
            let answer = client.post(S::PATH, message).await?;
            self.encoded = None;
            self.parts.pop();
            match answer {
                Answer::Accepted(response) => accepted::<S>(&part, response, counters),
                Answer::Refused(status) if part.len() > 1 => {
                    refused = Some(status);
                    let middle = part.start + part.len() / 2;
                    self.parts.push(middle..part.end);
                    self.parts.push(part.start..middle);
                }
                Answer::Refused(status) => {
                    refused = Some(status);
                    counters.passed_over.inc();
                    let path = S::PATH;
                    tracing::error!(
                        status,
                        path,
                        "the receiver won't take this message; it is in the file only"
                    );
                }
            }
        }
        if let Some(status) = refused {
            tracing::debug!(
                status,
                path = S::PATH,
                "a batch was refused and sent in parts"
            );
        }
        self.messages.clear();
        Ok(())
    }

    fn encode(&self, part: &Range<usize>, client: &Client) -> Result<Bytes, ShipError> {
        let mut nodes: Vec<(Arc<str>, Vec<S>)> = Vec::new();
        for (node, message) in self.messages.get(part.clone()).unwrap_or_default() {
            match nodes.last_mut() {
                Some((last, messages)) if last == node => messages.push(message.clone()),
                _ => nodes.push((node.clone(), vec![message.clone()])),
            }
        }
        let encoded = client.encode(S::request(nodes));
        // compressing into memory doesn't fail
        encoded.map_err(|_| ShipError::OursEndpoint)
    }
}

fn accepted<S: Signal>(part: &Range<usize>, response: Bytes, counters: &ShipCounters) {
    let rejected = S::rejected(response);
    let (count, why) = rejected.unwrap_or_default();
    let sent = part.len() as u64;
    let count = u64::try_from(count).unwrap_or(0).min(sent);
    counters.accepted.inc_by(sent - count);
    counters.rejected.inc_by(count);
    if count > 0 || !why.is_empty() {
        // the receiver's own words, made fit for a log
        let why: String = why.chars().take(WHY).flat_map(char::escape_debug).collect();
        tracing::warn!(
            count,
            why,
            path = S::PATH,
            "the receiver took a batch and not all of it"
        );
    }
}

impl Signal for LogRecord {
    const PATH: &'static str = "/v1/logs";

    fn request(nodes: Vec<(Arc<str>, Vec<LogRecord>)>) -> Vec<u8> {
        let resource_logs = nodes.into_iter().map(|(node, log_records)| ResourceLogs {
            resource: Some(resource(&node)),
            scope_logs: vec![ScopeLogs {
                scope: Some(scope()),
                log_records,
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        });
        let resource_logs = resource_logs.collect();
        ExportLogsServiceRequest { resource_logs }.encode_to_vec()
    }

    fn rejected(response: Bytes) -> Option<(i64, String)> {
        let said = ExportLogsServiceResponse::decode(response).ok()?;
        let said = said.partial_success?;
        Some((said.rejected_log_records, said.error_message))
    }
}

impl Signal for Span {
    const PATH: &'static str = "/v1/traces";

    fn request(nodes: Vec<(Arc<str>, Vec<Span>)>) -> Vec<u8> {
        let resource_spans = nodes.into_iter().map(|(node, spans)| ResourceSpans {
            resource: Some(resource(&node)),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope()),
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        });
        let resource_spans = resource_spans.collect();
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    }

    fn rejected(response: Bytes) -> Option<(i64, String)> {
        let said = ExportTraceServiceResponse::decode(response).ok()?;
        let said = said.partial_success?;
        Some((said.rejected_spans, said.error_message))
    }
}

/// Who tells.
fn resource(node: &str) -> Resource {
    Resource {
        attributes: vec![
            text("service.name", "portcullis"),
            text("service.instance.id", node),
            text("service.version", env!("CARGO_PKG_VERSION")),
        ],
        ..Resource::default()
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "portcullis.audit".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

/// Characters of a receiver's message that are logged.
const WHY: usize = 200;
