//! A record's line as searches see it: the fields that are asked for, borrowed from the line.
//!
//! [`Record`](super::read::Record) is the whole record and costs several times as much. Here a field that is missing
//! or unknown does no harm, but what the record's kind has must be of its type and there once, and the line must say
//! that it is a record of a version known here: what a search counts or prints is never half understood. A field of
//! the same name in another kind of record may be anything: `policies` is a list in a decision and a number in a start.

use jiff::Timestamp;
use serde::Deserialize;

use self::member::{Member, Text};
use super::encode;
use super::record::VERSION;

mod member;

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
    id: Member<Text<'a>>,
    #[serde(borrow, default)]
    decision: Member<Text<'a>>,
    #[serde(borrow, default)]
    reason: Member<Text<'a>>,
    #[serde(borrow, default)]
    detail: Member<Text<'a>>,
    #[serde(borrow, default)]
    policies: Member<Vec<Text<'a>>>,
    #[serde(borrow, default)]
    principal: Member<Who<'a>>,
    #[serde(borrow, default)]
    client: Member<Text<'a>>,
    #[serde(borrow, default)]
    route: Member<Text<'a>>,
    #[serde(borrow, default)]
    upstream: Member<Text<'a>>,
    #[serde(borrow, default)]
    request: Member<What<'a>>,
    #[serde(borrow, default)]
    grant: Member<Text<'a>>,
    #[serde(borrow, default)]
    trace_id: Member<Text<'a>>,
    /// Of an event about a provider.
    #[serde(borrow, default)]
    provider: Member<Text<'a>>,
    #[serde(borrow, default)]
    event: Member<Text<'a>>,
    #[serde(borrow, default)]
    end: Member<Text<'a>>,
    #[serde(default)]
    status: Member<u16>,
    #[serde(default)]
    bytes: Member<u64>,
    #[serde(default)]
    request_bytes: Member<u64>,
    #[serde(default)]
    total_us: Member<u64>,
}

#[derive(Debug, Deserialize)]
struct Who<'a> {
    #[serde(borrow, default)]
    provider: Member<Text<'a>>,
    #[serde(borrow, default)]
    agent: Member<Text<'a>>,
    #[serde(borrow, default)]
    user: Member<Text<'a>>,
    #[serde(borrow, default)]
    workload: Member<Text<'a>>,
    #[serde(borrow, default)]
    session: Member<Text<'a>>,
    #[serde(borrow, default)]
    task: Member<Text<'a>>,
}

#[derive(Debug, Deserialize)]
struct What<'a> {
    #[serde(borrow, default)]
    method: Member<Text<'a>>,
    #[serde(borrow, default)]
    host: Member<Text<'a>>,
    #[serde(borrow, default)]
    path: Member<Text<'a>>,
    #[serde(borrow, default)]
    template: Member<Text<'a>>,
}

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

impl Who<'_> {
    fn fits(&self) -> bool {
        self.provider.fits()
            && self.agent.fits()
            && self.user.fits()
            && self.workload.fits()
            && self.session.fits()
            && self.task.fits()
    }
}

impl What<'_> {
    fn fits(&self) -> bool {
        self.method.fits() && self.host.fits() && self.path.fits() && self.template.fits()
    }
}

impl<'a> View<'a> {
    /// Reads a line without its line feed.
    pub fn parse(line: &'a str) -> Result<View<'a>, NoRecord> {
        match serde_json::from_str::<View<'_>>(line) {
            Ok(view) if view.v == VERSION && view.is_understood() => Ok(view),
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

    /// Whether it is of a known kind, and what this kind has is of its type.
    fn is_understood(&self) -> bool {
        match self.kind() {
            "decision" => {
                self.id.fits()
                    && self.decision.fits()
                    && self.reason.fits()
                    && self.detail.fits()
                    && self.policies.fits()
                    && self.principal.fits()
                    && self.principal.get().is_none_or(Who::fits)
                    && self.client.fits()
                    && self.route.fits()
                    && self.upstream.fits()
                    && self.request.fits()
                    && self.request.get().is_none_or(What::fits)
                    && self.trace_id.fits()
            }
            "outcome" => {
                self.id.fits()
                    && self.end.fits()
                    && self.status.fits()
                    && self.bytes.fits()
                    && self.request_bytes.fits()
                    && self.upstream.fits()
                    && self.total_us.fits()
            }
            "event" => {
                self.event.fits()
                    && (self.text(Field::Event) != Some("key_change") || self.provider.fits())
            }
            _ => false,
        }
    }

    /// Of an outcome: the status that the client got.
    pub fn status(&self) -> Option<u16> {
        self.status.get().copied()
    }

    /// Of an outcome: bytes of the response body.
    pub fn bytes(&self) -> Option<u64> {
        self.bytes.get().copied()
    }

    /// Of an outcome: bytes of the request body.
    pub fn request_bytes(&self) -> Option<u64> {
        self.request_bytes.get().copied()
    }

    /// Of an outcome: microseconds from the request's head to the end.
    pub fn total_us(&self) -> Option<u64> {
        self.total_us.get().copied()
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
        let who = |pick: for<'v> fn(&'v Who<'a>) -> &'v Member<Text<'a>>| {
            self.principal.get().and_then(|who| pick(who).get())
        };
        let what = |pick: for<'v> fn(&'v What<'a>) -> &'v Member<Text<'a>>| {
            self.request.get().and_then(|what| pick(what).get())
        };
        let one = match field {
            Field::Policy => None,
            Field::Kind => Some(&self.kind),
            Field::Node => Some(&self.node),
            Field::Id => self.id.get(),
            Field::Verdict => self.decision.get(),
            Field::Reason => self.reason.get(),
            Field::Detail => self.detail.get(),
            Field::Provider => who(|who| &who.provider).or(self.provider.get()),
            Field::Agent => who(|who| &who.agent),
            Field::User => who(|who| &who.user),
            Field::Workload => who(|who| &who.workload),
            Field::Session => who(|who| &who.session),
            Field::Task => who(|who| &who.task),
            Field::Client => self.client.get(),
            Field::Route => self.route.get(),
            Field::Upstream => self.upstream.get(),
            Field::Method => what(|what| &what.method),
            Field::Host => what(|what| &what.host),
            Field::Path => what(|what| &what.path),
            Field::Template => what(|what| &what.template),
            Field::Grant => self.grant.get(),
            Field::TraceId => self.trace_id.get(),
            Field::Event => self.event.get(),
            Field::End => self.end.get(),
        };
        let many = match field {
            Field::Policy => self.policies.get().map_or(&[][..], Vec::as_slice),
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

#[cfg(test)]
mod tests;
