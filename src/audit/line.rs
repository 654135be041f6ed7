//! Decisions and outcomes as JSON, byte for byte as serde_json would write them (but for the characters that
//! [`Visible`] escapes), in a fraction of its time.
//!
//! They are formatted once for each request, under the writer's lock. Keys are literals that include their
//! punctuation, and text without anything to escape is copied whole. The structs are taken apart in full, so
//! that a new field can't be forgotten here; tests hold the equality. What is rare goes through serde_json.

use std::io;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;
use uuid::Uuid;

use super::encode;
use super::record::{
    Decision, End, JudgedField, Outcome, Principal, Request, Sha256, Stages, Verdict,
};

/// Appends a decision as a JSON object.
pub(super) fn decision(to: &mut Vec<u8>, decision: &Decision<'_>) -> serde_json::Result<()> {
    let Decision {
        id,
        at,
        policy_set,
        decision,
        reason,
        detail,
        policies,
        shadow,
        principal: who,
        client,
        route,
        upstream,
        request: what,
        trace_id,
        span_id,
        parent_id,
        sampled,
        stages_us,
    } = decision;
    to.reserve(DECISION_BYTES);
    begin(to, *id, *at);
    field(to, b",\"policy_set\":", Some(policy_set))?;
    raw(
        to,
        match decision {
            Verdict::Permit => b",\"decision\":\"permit\"",
            Verdict::Deny => b",\"decision\":\"deny\"",
        },
    );
    field(to, b",\"reason\":", reason.map(|reason| reason.code()))?;
    field(to, b",\"detail\":", detail.as_deref())?;
    list(to, b",\"policies\":", policies.0.iter().map(|id| &**id))?;
    if !shadow.0.is_empty() {
        raw(to, b",\"shadow\":");
        serde_json::to_writer(&mut *to, shadow)?;
    }
    if let Some(who) = who {
        raw(to, b",\"principal\":");
        principal(to, who)?;
    }
    raw(to, b",\"client\":\"");
    match encode::ip_v4(client) {
        Some(text) => raw(to, text.as_bytes()),
        None => raw(to, client.to_string().as_bytes()),
    }
    raw(to, b"\"");
    field(to, b",\"route\":", route.as_deref())?;
    field(to, b",\"upstream\":", upstream.as_deref())?;
    raw(to, b",\"request\":");
    request(to, what)?;
    field(to, b",\"trace_id\":", trace_id.as_deref())?;
    field(to, b",\"span_id\":", span_id.as_deref())?;
    field(to, b",\"parent_id\":", parent_id.as_deref())?;
    if *sampled {
        raw(to, b",\"sampled\":true");
    }
    raw(to, b",\"stages_us\":");
    stages(to, stages_us);
    raw(to, b"}");
    Ok(())
}

/// Appends an outcome as a JSON object.
pub(super) fn outcome(to: &mut Vec<u8>, outcome: &Outcome<'_>) -> serde_json::Result<()> {
    let Outcome {
        id,
        at,
        end,
        status,
        bytes,
        request_bytes,
        sha256,
        upstream,
        head_us,
        total_us,
    } = outcome;
    to.reserve(OUTCOME_BYTES);
    begin(to, *id, *at);
    raw(
        to,
        match end {
            End::Complete => b",\"end\":\"complete\"",
            End::ClientGone => b",\"end\":\"client_gone\"",
            End::UpstreamFailed => b",\"end\":\"upstream_failed\"",
            End::Cut => b",\"end\":\"cut\"",
            End::Aborted => b",\"end\":\"aborted\"",
            End::Unknown => b",\"end\":\"unknown\"",
        },
    );
    number(to, b",\"status\":", status.map(u64::from));
    number(to, b",\"bytes\":", Some(*bytes));
    number(to, b",\"request_bytes\":", Some(*request_bytes));
    digest(to, b",\"sha256\":\"", *sha256);
    field(to, b",\"upstream\":", upstream.as_deref())?;
    number(to, b",\"head_us\":", head_us.map(encode::whole_micros));
    number(to, b",\"total_us\":", total_us.map(encode::whole_micros));
    raw(to, b"}");
    Ok(())
}

fn begin(to: &mut Vec<u8>, id: Uuid, at: Timestamp) {
    raw(to, b"{\"id\":\"");
    raw(
        to,
        id.hyphenated()
            .encode_lower(&mut Uuid::encode_buffer())
            .as_bytes(),
    );
    raw(to, b"\",\"at\":\"");
    match encode::rfc3339(at) {
        Some(text) => raw(to, &text),
        None => raw(to, format!("{at:.6}").as_bytes()),
    }
    raw(to, b"\"");
}

fn principal(to: &mut Vec<u8>, principal: &Principal<'_>) -> serde_json::Result<()> {
    let Principal {
        provider,
        agent,
        user,
        workload,
        session,
        task,
        groups,
        token_id,
        cert_fingerprint,
        spiffe_id,
    } = principal;
    let start = to.len();
    field(to, b",\"provider\":", provider.as_deref())?;
    field(to, b",\"agent\":", agent.as_deref())?;
    field(to, b",\"user\":", user.as_deref())?;
    field(to, b",\"workload\":", workload.as_deref())?;
    field(to, b",\"session\":", session.as_deref())?;
    field(to, b",\"task\":", task.as_deref())?;
    list(to, b",\"groups\":", groups.iter().map(|group| &**group))?;
    field(to, b",\"token_id\":", token_id.as_deref())?;
    field(to, b",\"cert_fingerprint\":", cert_fingerprint.as_deref())?;
    field(to, b",\"spiffe_id\":", spiffe_id.as_deref())?;
    finish(to, start);
    Ok(())
}

fn request(to: &mut Vec<u8>, request: &Request<'_>) -> serde_json::Result<()> {
    let Request {
        method,
        host,
        path,
        template,
        query,
        body_sha256,
        judged,
        fields,
    } = request;
    let start = to.len();
    field(to, b",\"method\":", method.as_deref())?;
    field(to, b",\"host\":", host.as_deref())?;
    field(to, b",\"path\":", path.as_deref())?;
    field(to, b",\"template\":", template.as_deref())?;
    list(to, b",\"query\":", query.iter())?;
    digest(to, b",\"body_sha256\":\"", *body_sha256);
    pairs(to, b",\"judged\":", &judged.0)?;
    list(to, b",\"fields\":", fields.iter().map(|field| &**field))?;
    finish(to, start);
    Ok(())
}

fn stages(to: &mut Vec<u8>, stages: &Stages) {
    let Stages {
        normalise,
        identify,
        r#match,
        inspect,
        decide,
    } = stages;
    let start = to.len();
    for (key, time) in [
        (&b",\"normalise\":"[..], normalise),
        (b",\"identify\":", identify),
        (b",\"match\":", r#match),
        (b",\"inspect\":", inspect),
        (b",\"decide\":", decide),
    ] {
        number(to, key, Some(encode::whole_micros(*time)));
    }
    finish(to, start);
}

/// Makes an object of fields that each begin with a comma.
fn finish(to: &mut Vec<u8>, start: usize) {
    match to.get_mut(start) {
        Some(comma) => *comma = b'{',
        None => to.push(b'{'),
    }
    to.push(b'}');
}

fn field(to: &mut Vec<u8>, key: &[u8], value: Option<&str>) -> serde_json::Result<()> {
    match value {
        Some(value) => {
            raw(to, key);
            text(to, value)
        }
        None => Ok(()),
    }
}

fn pairs(to: &mut Vec<u8>, key: &[u8], pairs: &[JudgedField]) -> serde_json::Result<()> {
    if pairs.is_empty() {
        return Ok(());
    }
    raw(to, key);
    let start = to.len();
    for (name, value) in pairs {
        raw(to, b",");
        text(to, name)?;
        raw(to, b":");
        text(to, value)?;
    }
    finish(to, start);
    Ok(())
}

fn list<'t>(
    to: &mut Vec<u8>,
    key: &[u8],
    values: impl Iterator<Item = &'t str>,
) -> serde_json::Result<()> {
    let mut any = false;
    for value in values {
        if any {
            raw(to, b",");
        } else {
            raw(to, key);
            raw(to, b"[");
        }
        any = true;
        text(to, value)?;
    }
    if any {
        raw(to, b"]");
    }
    Ok(())
}

fn number(to: &mut Vec<u8>, key: &[u8], value: Option<u64>) {
    if let Some(value) = value {
        raw(to, key);
        raw(to, itoa::Buffer::new().format(value).as_bytes());
    }
}

fn digest(to: &mut Vec<u8>, key: &[u8], value: Option<Sha256>) {
    if let Some(Sha256(bytes)) = value {
        raw(to, key);
        raw(to, &encode::hex_digits(&bytes));
        raw(to, b"\"");
    }
}

fn text(to: &mut Vec<u8>, text: &str) -> serde_json::Result<()> {
    // over all bytes, without a way out: so it is done sixteen at a time
    let escape = text.bytes().fold(false, |any, byte| {
        any | (byte < b' ')
            | (byte == b'"')
            | (byte == b'\\')
            | (byte == 0x7f)
            | (byte == C1_LEAD)
            | (byte == GENERAL_PUNCTUATION_LEAD)
    });
    if escape {
        return text.serialize(&mut Serializer::with_formatter(to, Visible));
    }
    raw(to, b"\"");
    raw(to, text.as_bytes());
    raw(to, b"\"");
    Ok(())
}

/// A text as it stands in a record, quotes included.
pub(super) fn encoded(value: &str) -> serde_json::Result<Vec<u8>> {
    let mut to = Vec::with_capacity(value.len() + 2);
    text(&mut to, value)?;
    Ok(to)
}

fn raw(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend_from_slice(bytes);
}

/// Also escapes what JSON lets stand and is not for a log: other ends of lines (some readers split there, and a caller
/// could make a record look like two), control characters that a terminal obeys, and marks that turn text around.
struct Visible;

impl Formatter for Visible {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, hidden)) = rest.char_indices().find(|(_, c)| is_hidden(*c)) {
            let (before, after) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            write!(writer, "\\u{:04x}", u32::from(hidden))?;
            rest = after.strip_prefix(hidden).unwrap_or_default();
        }
        writer.write_all(rest.as_bytes())
    }
}

/// All of them begin with one of the two bytes below in UTF-8, or are DEL.
pub(super) fn is_hidden(character: char) -> bool {
    matches!(
        character,
        '\u{7f}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

const C1_LEAD: u8 = 0xc2;
const GENERAL_PUNCTUATION_LEAD: u8 = 0xe2;

/// What most lines take; longer ones grow the buffer.
const DECISION_BYTES: usize = 1024;
const OUTCOME_BYTES: usize = 512;
