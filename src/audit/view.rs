//! A record's line as searches see it: the fields that are asked for, borrowed from the line.
//!
//! [`Record`](super::read::Record) is the whole record and costs several times as much. Here a field that is missing
//! or unknown does no harm, but what is there must be of its type and there once, and the line must say that
//! it is a record of a version known here: what a search counts or prints is never half understood.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;

use super::encode;
use super::record::VERSION;

/// The fields of a record, of whichever kind; what its kind doesn't have is absent.
#[derive(Debug, Deserialize)]
pub struct View<'a> {
    v: u32,
    #[serde(borrow)]
    kind: Text<'a>,
    #[serde(borrow)]
    node: Text<'a>,
    /// The record's number.
    pub seq: u64,
    /// When: of a decision the moment for which it was judged.
    #[serde(with = "encode::time")]
    pub at: Timestamp,
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    decision: Option<Text<'a>>,
    #[serde(borrow, default)]
    reason: Option<Text<'a>>,
    #[serde(borrow, default)]
    detail: Option<Text<'a>>,
    #[serde(borrow, default)]
    policies: Vec<Text<'a>>,
    #[serde(borrow, default)]
    principal: Option<Who<'a>>,
    #[serde(borrow, default)]
    client: Option<Text<'a>>,
    #[serde(borrow, default)]
    route: Option<Text<'a>>,
    #[serde(borrow, default)]
    upstream: Option<Text<'a>>,
    #[serde(borrow, default)]
    request: Option<What<'a>>,
    #[serde(borrow, default)]
    grant: Option<Text<'a>>,
    #[serde(borrow, default)]
    trace_id: Option<Text<'a>>,
    /// Of an event about a provider.
    #[serde(borrow, default)]
    provider: Option<Text<'a>>,
    #[serde(borrow, default)]
    event: Option<Text<'a>>,
    #[serde(borrow, default)]
    end: Option<Text<'a>>,
    /// Of an outcome: the status that the client got.
    #[serde(default)]
    pub status: Option<u16>,
    /// Of an outcome: bytes of the response body.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// Of an outcome: bytes of the request body.
    #[serde(default)]
    pub request_bytes: Option<u64>,
    /// Of an outcome: microseconds from the request's head to the end.
    #[serde(default)]
    pub total_us: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Who<'a> {
    #[serde(borrow, default)]
    provider: Option<Text<'a>>,
    #[serde(borrow, default)]
    agent: Option<Text<'a>>,
    #[serde(borrow, default)]
    user: Option<Text<'a>>,
    #[serde(borrow, default)]
    workload: Option<Text<'a>>,
    #[serde(borrow, default)]
    session: Option<Text<'a>>,
    #[serde(borrow, default)]
    task: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
struct What<'a> {
    #[serde(borrow, default)]
    method: Option<Text<'a>>,
    #[serde(borrow, default)]
    host: Option<Text<'a>>,
    #[serde(borrow, default)]
    path: Option<Text<'a>>,
    #[serde(borrow, default)]
    template: Option<Text<'a>>,
}

/// Borrowed where nothing in it is escaped. (serde doesn't borrow a `Cow` inside an `Option`.)
#[derive(Debug, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Why a line is no record.
#[derive(Debug, thiserror::Error)]
pub enum NoRecord {
    /// A file's header, which isn't meant to be one.
    #[error("a file's header")]
    Header,
    /// A later version of the schema.
    #[error("a record of version {0}; this program reads version {VERSION}")]
    Version(u64),
    /// Not UTF-8, not JSON, or not of the schema's shape.
    #[error("not an audit record")]
    Malformed,
}

/// What every line begins with.
#[derive(Deserialize)]
struct Head<'a> {
    v: u64,
    #[serde(borrow)]
    kind: Text<'a>,
}

impl<'a> View<'a> {
    /// Reads a line without its line feed.
    pub fn parse(line: &'a str) -> Result<View<'a>, NoRecord> {
        match serde_json::from_str::<View<'_>>(line) {
            Ok(view) if view.v == VERSION && KINDS.contains(&view.kind()) => Ok(view),
            Ok(_) | Err(_) => Err(Self::why_not(line)),
        }
    }

    fn why_not(line: &str) -> NoRecord {
        match serde_json::from_str::<Head<'_>>(line) {
            Ok(head) if head.v != u64::from(VERSION) => NoRecord::Version(head.v),
            Ok(head) if head.kind.0 == "segment" => NoRecord::Header,
            Ok(_) | Err(_) => NoRecord::Malformed,
        }
    }

    /// `decision`, `outcome` or `event`.
    pub fn kind(&self) -> &str {
        &self.kind.0
    }

    /// The field's text; the first one's where it is a list.
    pub fn text(&self, field: Field) -> Option<&str> {
        self.texts(field).next()
    }

    /// The field's texts: at most one, but for policies.
    pub fn texts(&self, field: Field) -> impl Iterator<Item = &str> {
        let who = |pick: for<'v> fn(&'v Who<'a>) -> &'v Option<Text<'a>>| {
            self.principal.as_ref().and_then(|who| pick(who).as_ref())
        };
        let what = |pick: for<'v> fn(&'v What<'a>) -> &'v Option<Text<'a>>| {
            self.request.as_ref().and_then(|what| pick(what).as_ref())
        };
        let one = match field {
            Field::Policy => None,
            Field::Kind => Some(&self.kind),
            Field::Node => Some(&self.node),
            Field::Id => self.id.as_ref(),
            Field::Verdict => self.decision.as_ref(),
            Field::Reason => self.reason.as_ref(),
            Field::Detail => self.detail.as_ref(),
            Field::Provider => who(|who| &who.provider).or(self.provider.as_ref()),
            Field::Agent => who(|who| &who.agent),
            Field::User => who(|who| &who.user),
            Field::Workload => who(|who| &who.workload),
            Field::Session => who(|who| &who.session),
            Field::Task => who(|who| &who.task),
            Field::Client => self.client.as_ref(),
            Field::Route => self.route.as_ref(),
            Field::Upstream => self.upstream.as_ref(),
            Field::Method => what(|what| &what.method),
            Field::Host => what(|what| &what.host),
            Field::Path => what(|what| &what.path),
            Field::Template => what(|what| &what.template),
            Field::Grant => self.grant.as_ref(),
            Field::TraceId => self.trace_id.as_ref(),
            Field::Event => self.event.as_ref(),
            Field::End => self.end.as_ref(),
        };
        let many = match field {
            Field::Policy => self.policies.as_slice(),
            _ => &[],
        };
        one.into_iter().chain(many).map(|text| &*text.0)
    }
}

/// A field that is text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the record's field of that name")]
pub enum Field {
    Kind,
    Node,
    Id,
    Verdict,
    Reason,
    Detail,
    /// The policies that decided, of which there may be several.
    Policy,
    Provider,
    Agent,
    User,
    Workload,
    Session,
    Task,
    Client,
    Route,
    Upstream,
    Method,
    Host,
    Path,
    Template,
    Grant,
    TraceId,
    Event,
    End,
}

impl Field {
    /// What its value, or the list of its values, stands behind in a line.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Field::Kind => "kind",
            Field::Node => "node",
            Field::Id => "id",
            Field::Verdict => "decision",
            Field::Reason => "reason",
            Field::Detail => "detail",
            Field::Policy => "policies",
            Field::Provider => "provider",
            Field::Agent => "agent",
            Field::User => "user",
            Field::Workload => "workload",
            Field::Session => "session",
            Field::Task => "task",
            Field::Client => "client",
            Field::Route => "route",
            Field::Upstream => "upstream",
            Field::Method => "method",
            Field::Host => "host",
            Field::Path => "path",
            Field::Template => "template",
            Field::Grant => "grant",
            Field::TraceId => "trace_id",
            Field::Event => "event",
            Field::End => "end",
        }
    }
}

/// The kinds of records.
pub const KINDS: [&str; 3] = ["decision", "outcome", "event"];
