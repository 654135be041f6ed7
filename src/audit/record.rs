//! The schema of audit records, version 1: this file is its one source.
//!
//! A record is one JSON object on one line. All begin with [`Envelope`]: `v`, `kind` (`decision`, `outcome`
//! or `event`), `node`, `seq` and `prev`; the fields of the struct of that kind follow, in the order given here.
//! What is absent isn't written. New fields may be added within a version, so a reader passes over what it
//! doesn't know; none is removed, and none changes its meaning (docs/audit.md, "Schema and compatibility"). `schema/audit.rs`
//! tells the same to other languages, and tests hold it to this.
//!
//! Deliberately absent: tokens, claims, header values, query values, bodies. A record names who asked for
//! what, and by its digest which content; of the content it holds the judged fields that `audit.fields` lists, and without
//! that list nothing.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

mod codes;
mod parts;

pub use self::codes::codes;
#[cfg(test)]
pub(crate) use self::codes::fields;
pub use self::parts::{Ids, JudgedField, JudgedFields, QueryNames, Shadows};
use super::encode;
use crate::policy::{self, Reason};

/// The schema's version: the `v` of every record.
pub const VERSION: u32 = 1;

/// What every record begins with, besides `v` and `kind`. The writer fills it in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Envelope {
    /// The node's name, from the config.
    pub node: String,
    /// The record's number on this node, over all kinds, from 1, without gaps, also over restarts.
    pub seq: u64,
    /// The hash of the record before (see [`tree::leaf`](super::tree::leaf)); zeros before the first. Absent in a log without a chain.
    #[serde(default)]
    pub prev: Option<Sha256>,
}

/// What was decided about one request. Exactly one for each request, in the log before the request leaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision<'a> {
    /// The decision's id (UUIDv7); the outcome and a denial's answer repeat it.
    #[serde(with = "encode::uuid")]
    pub id: Uuid,
    /// The moment for which the request was judged (RFC 3339, UTC, microseconds).
    #[serde(with = "encode::time")]
    pub at: Timestamp,
    /// The digest of the policy set that judged it.
    pub policy_set: Cow<'a, str>,
    /// The verdict.
    pub decision: Verdict,
    /// Why it was denied.
    #[serde(
        with = "encode::reason",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub reason: Option<Reason>,
    /// What of it was ambiguous or unreadable, or what is wrong with the credential: a code of a closed list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Cow<'a, str>>,
    /// On a permit the policy that was chosen; on a denial the forbids that apply.
    #[serde(default, skip_serializing_if = "Ids::is_empty")]
    pub policies: Ids<'a>,
    /// What shadow policies would have said.
    #[serde(default, skip_serializing_if = "Shadows::is_empty")]
    pub shadow: Shadows<'a>,
    /// Who asked; absent where no credential was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<Principal<'a>>,
    /// The peer: `ip:port`.
    #[serde(with = "encode::client")]
    pub client: SocketAddr,
    /// The route's name; absent where none matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Cow<'a, str>>,
    /// The upstream's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Cow<'a, str>>,
    /// The request, as far as it could be read.
    pub request: Request<'a>,
    /// The trace id (W3C Trace Context, 32 hex digits).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<Cow<'a, str>>,
    /// The span that the proxy opened in it, which the upstream sees as its parent (16 hex digits).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_id: Option<Cow<'a, str>>,
    /// The caller's span (16 hex digits); absent where the trace began here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<Cow<'a, str>>,
    /// Whether the trace is sampled: its spans are kept by whoever makes them. Written where it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sampled: bool,
    /// Time spent in each stage, in microseconds.
    pub stages_us: Stages,
}

/// The verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The request may go.
    Permit,
    /// It may not.
    Deny,
}

/// Who asked: names only, never the token and never its claims.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Principal<'a> {
    /// The identity provider's name; absent where only a certificate came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Cow<'a, str>>,
    /// The agent that acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Cow<'a, str>>,
    /// The person on whose behalf it acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Cow<'a, str>>,
    /// The workload that it runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Cow<'a, str>>,
    /// The session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Cow<'a, str>>,
    /// The task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Cow<'a, str>>,
    /// The groups.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub groups: Cow<'a, [Box<str>]>,
    /// The token's id (`jti`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<Cow<'a, str>>,
    /// SHA-256 of the client certificate, lower-case hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_fingerprint: Option<Cow<'a, str>>,
    /// The client certificate's SPIFFE ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spiffe_id: Option<Cow<'a, str>>,
}

/// The request. Where it was refused before it could be read (DESIGN 4), only what was read is there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Request<'a> {
    /// The method, where it looks like one: `[A-Z-]`, at most 32 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Cow<'a, str>>,
    /// The host, lower-cased, without its port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Cow<'a, str>>,
    /// The canonical path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Cow<'a, str>>,
    /// The template that the chosen policy matched the path with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Cow<'a, str>>,
    /// The names in the query as they came, without their values.
    #[serde(default, skip_serializing_if = "QueryNames::is_empty")]
    pub query: QueryNames<'a>,
    /// SHA-256 of the body (lower-case hex), where it was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_sha256: Option<Sha256>,
    /// The body's fields that policies judged and `audit.fields` lets be told, in the policies' order: scalars only, at most
    /// 16. The value is its text, cut at 128 bytes, or `hmac-sha256:` and 64 hex digits. Containers are left to the digest.
    #[serde(default, skip_serializing_if = "JudgedFields::is_empty")]
    pub judged: JudgedFields<'a>,
    /// The judged fields that failed and that the caller sent, such as `body/branch`.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub fields: Cow<'a, [Box<str>]>,
}

/// Time spent in each stage before the decision was recorded. Written in whole microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stages {
    /// Making the canonical form.
    #[serde(with = "encode::micros")]
    pub normalise: Duration,
    /// Verifying who asks.
    #[serde(with = "encode::micros")]
    pub identify: Duration,
    /// Finding the live candidates.
    #[serde(with = "encode::micros")]
    pub r#match: Duration,
    /// Reading the judged body, waiting for it included.
    #[serde(with = "encode::micros")]
    pub inspect: Duration,
    /// Deciding.
    #[serde(with = "encode::micros")]
    pub decide: Duration,
}

/// What became of a forwarded request. Exactly one for each permit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome<'a> {
    /// The decision's id.
    #[serde(with = "encode::uuid")]
    pub id: Uuid,
    /// When it ended (RFC 3339, UTC, microseconds).
    #[serde(with = "encode::time")]
    pub at: Timestamp,
    /// How it ended.
    pub end: End,
    /// The status that the client got; absent where no response head was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Bytes of the response body that were relayed.
    pub bytes: u64,
    /// Bytes of the request body that were relayed.
    pub request_bytes: u64,
    /// SHA-256 over the relayed response body (lower-case hex); absent where none was relayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    /// The upstream server's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Cow<'a, str>>,
    /// From the request's head to the response's, in microseconds.
    #[serde(
        with = "encode::micros::option",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub head_us: Option<Duration>,
    /// From the request's head to the end, in microseconds; absent where a crash took it.
    #[serde(
        with = "encode::micros::option",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub total_us: Option<Duration>,
}

/// How a forwarded request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The response was relayed to its end.
    Complete,
    /// The client went away first.
    ClientGone,
    /// The upstream failed, before or within its response.
    UpstreamFailed,
    /// The right ended while the response was still running.
    Cut,
    /// It stopped on this side: shutdown, or an answer that could not be given.
    Aborted,
    /// A crash took the outcome; written at the next start.
    Unknown,
}

/// What happened besides requests. Between the envelope and these fields stands `at`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    /// The process started; decisions before this have their outcomes.
    Start(StartEvent),
    /// The process stopped in order.
    Stop {},
    /// The configuration or the policies were read again.
    Reload {
        /// Whether they are in force; where not, what was before still is.
        ok: bool,
        /// The digest of the policy set now in force.
        policy_set: Cow<'a, str>,
        /// How many policies it has.
        policies: u64,
        /// How many problems kept the new ones out.
        problems: u64,
    },
    /// A provider's keys changed.
    KeyChange {
        /// The provider's name.
        provider: Cow<'a, str>,
        /// How many keys there are now.
        keys: u64,
    },
    /// Refusals that have no record of their own, because there were too many or no request could be read.
    Refusals {
        /// How many, by cause.
        counts: Vec<Refusals>,
    },
    /// Trouble with the sink itself.
    Sink {
        /// What happened.
        state: SinkState,
        /// The system's message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<Cow<'a, str>>,
        /// When it began.
        #[serde(
            with = "encode::time::option",
            default,
            skip_serializing_if = "Option::is_none"
        )]
        since: Option<Timestamp>,
        /// `recovered`: requests refused meanwhile; `torn`: bytes; `unreadable`: lines; `unlinked`: records.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u64>,
    },
}

impl Event<'_> {
    /// An event of the sink that needs no more words.
    pub(super) fn sink(state: SinkState) -> Event<'static> {
        Event::Sink {
            state,
            error: None,
            since: None,
            count: None,
        }
    }
}

/// The process started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartEvent {
    /// The program's version.
    pub version: String,
    /// The digest of the policy set in force.
    pub policy_set: String,
    /// How many policies it has.
    pub policies: u64,
}

/// Refusals of one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusals {
    /// The cause: an [`Early`]'s code.
    pub cause: Cow<'static, str>,
    /// How many.
    pub count: u64,
}

/// What happened to the sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkState {
    /// Records can't be written; requests are refused from now on.
    Trouble,
    /// Records are written again.
    Recovered,
    /// The last run's last line was half a line; it was set aside. No request was forwarded under it.
    Torn,
    /// Lines in the file are no records.
    Unreadable,
    /// Records in the file don't carry the hash of the one before.
    Unlinked,
    /// The file didn't begin as a log's file does; it was set aside, and the chain begins anew.
    SetAside,
    /// The log isn't the one that its last checkpoint was signed for; none is signed any more.
    Contradicted,
    /// A checkpoint could not be written; it is tried again.
    CheckpointFailed,
    /// A closed file could not be compressed or removed.
    KeepingFailed,
    /// The file could not be rotated; it goes on growing.
    RotationFailed,
    /// The file was removed while it was open; a new one was begun with the records from here on.
    Removed,
}

/// Refusals before anybody is known: those that may come as a flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Early {
    /// A request that was read far enough to be refused with a reason.
    Denied(Reason),
    /// Bytes that are no HTTP request.
    Parser,
    /// A TLS handshake that failed.
    Handshake,
    /// A connection over the limit.
    Connection,
    /// Anything else.
    Other,
}

impl Early {
    /// Every cause.
    pub fn all() -> impl Iterator<Item = Early> {
        let own = [
            Early::Parser,
            Early::Handshake,
            Early::Connection,
            Early::Other,
        ];
        Reason::ALL.into_iter().map(Early::Denied).chain(own)
    }

    /// The name in records and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Early::Denied(reason) => reason.code(),
            Early::Parser => "parser",
            Early::Handshake => "handshake",
            Early::Connection => "connection",
            Early::Other => "other",
        }
    }

    /// Its place in a table of all causes.
    pub(crate) const fn index(self) -> usize {
        match self {
            Early::Denied(reason) => reason as usize,
            Early::Parser => Reason::ALL.len(),
            Early::Handshake => Reason::ALL.len() + 1,
            Early::Connection => Reason::ALL.len() + 2,
            Early::Other => Reason::ALL.len() + 3,
        }
    }

    /// How many causes there are.
    pub(crate) const COUNT: usize = Reason::ALL.len() + 4;
}

impl<'a> From<&'a policy::Principal> for Principal<'a> {
    fn from(from: &'a policy::Principal) -> Principal<'a> {
        let cert = from.cert.as_ref();
        Principal {
            provider: from.provider.as_deref().map(Cow::Borrowed),
            agent: from.agent.as_deref().map(Cow::Borrowed),
            user: from.user.as_deref().map(Cow::Borrowed),
            workload: from.workload.as_deref().map(Cow::Borrowed),
            session: from.session.as_deref().map(Cow::Borrowed),
            task: from.task.as_deref().map(Cow::Borrowed),
            groups: Cow::Borrowed(&from.groups),
            token_id: from.token_id.as_deref().map(Cow::Borrowed),
            cert_fingerprint: cert.map(|cert| Cow::Borrowed(&*cert.fingerprint)),
            spiffe_id: cert.and_then(|cert| cert.spiffe_id.as_deref().map(Cow::Borrowed)),
        }
    }
}

/// SHA-256 of something, written as 64 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sha256(#[serde(with = "encode::hex")] pub [u8; 32]);

impl Sha256 {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Sha256 {
        Self::from_digest(&aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA256,
            bytes,
        ))
    }

    pub(super) fn from_digest(digest: &aws_lc_rs::digest::Digest) -> Sha256 {
        // SHA-256 is 32 bytes long; the zeros stand for a case that can't be
        Sha256(digest.as_ref().try_into().unwrap_or_default())
    }
}
