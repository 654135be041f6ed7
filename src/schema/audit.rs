//! The schema of the audit log's lines: `audit/record.rs`, told to programs in other languages.
//!
//! It says what this version of the program writes. Objects are open: within a version of the format fields may be added,
//! and events, and codes in lists (docs/audit.md), so a reader passes over what it doesn't know. The one closed line is
//! a file's header, which can be written in one way only.
//!
//! Deliberately absent: what holds between lines, such as the chain and the outcome of each permit. `portcullis audit
//! verify` checks that.

use serde_json::{Map, Value, json};

use super::{DIALECT, about, set};
use crate::audit::record::{Early, End, SinkState, VERSION, Verdict, codes};
use crate::policy::{Fault, Reason};
use crate::proxy::identify::Refusal;

/// The schema of one line of an audit log.
pub fn audit() -> Value {
    let one_of: Vec<Value> = KINDS
        .iter()
        .map(|name| json!({ "$ref": format!("#/$defs/{name}") }))
        .collect();
    let defs = [
        ("decision", decision()),
        ("outcome", outcome()),
        (
            "event_start",
            event(
                "start",
                "The process started; decisions before this have their outcomes.",
                json!({
                    "version": about(text(), "The program's version."),
                    "policy_set": digest("The digest of the policy set in force."),
                    "policies": count("How many policies it has."),
                }),
                &["version", "policy_set", "policies"],
            ),
        ),
        (
            "event_stop",
            event("stop", "The process stopped in order.", json!({}), &[]),
        ),
        (
            "event_reload",
            event(
                "reload",
                "The configuration or the policies were read again.",
                json!({
                    "ok": { "type": "boolean", "description": "Whether they are in force; where not, what was before still is." },
                    "policy_set": digest("The digest of the policy set now in force."),
                    "policies": count("How many policies it has."),
                    "problems": count("How many problems kept the new ones out."),
                }),
                &["ok", "policy_set", "policies", "problems"],
            ),
        ),
        (
            "event_key_change",
            event(
                "key_change",
                "A provider's keys changed.",
                json!({
                    "provider": about(text(), "The provider's name."),
                    "keys": count("How many keys there are now."),
                }),
                &["provider", "keys"],
            ),
        ),
        (
            "event_refusals",
            event(
                "refusals",
                "Refusals that have no record of their own, because there were too many or no request could be read.",
                json!({
                    "counts": {
                        "type": "array",
                        "minItems": 1,
                        "items": {
                            "type": "object",
                            "properties": {
                                "cause": { "enum": Early::all().map(Early::code).collect::<Vec<_>>(), "description": "The cause: a denial's reason, or where the connection ended." },
                                "count": { "type": "integer", "minimum": 1, "description": "How many." },
                            },
                            "required": ["cause", "count"],
                        },
                        "description": "How many, by cause.",
                    },
                }),
                &["counts"],
            ),
        ),
        (
            "event_sink",
            event(
                "sink",
                "Trouble with the log itself.",
                json!({
                    "state": { "enum": codes::<SinkState>(), "description": "What happened." },
                    "error": about(text(), "The system's message."),
                    "since": moment("When it began."),
                    "count": count("`recovered`: requests refused meanwhile; `torn`: bytes; `unreadable`: lines; `unlinked`: records."),
                }),
                &["state"],
            ),
        ),
        ("segment", segment()),
    ];
    let defs: Map<String, Value> = defs
        .into_iter()
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect();
    json!({
        "$schema": DIALECT,
        "title": format!("Portcullis audit log, version {VERSION}"),
        "description": "One line of an audit log: a record, or the first line of a file. Fields, events and codes may be added within a version; none is removed, and none changes its meaning.",
        "oneOf": one_of,
        "$defs": defs,
    })
}

/// The definitions that a line may be of, of which each has its own `kind`, and events their own `event`.
const KINDS: &[&str] = &[
    "decision",
    "outcome",
    "event_start",
    "event_stop",
    "event_reload",
    "event_key_change",
    "event_refusals",
    "event_sink",
    "segment",
];

fn decision() -> Value {
    let details = Fault::ALL.iter().map(|fault| fault.code());
    let details = details
        .chain(Refusal::ALL.iter().map(|refusal| refusal.code()))
        .chain(OURS);
    let mut schema = record(
        "decision",
        "What was decided about one request. Exactly one for each request, in the log before the request leaves.",
        json!({
            "id": id("The decision's id (UUIDv7); the outcome and a denial's answer repeat it."),
            "at": moment("The moment for which the request was judged."),
            "policy_set": digest("The digest of the policy set that judged it."),
            "decision": { "enum": codes::<Verdict>(), "description": "The verdict." },
            "reason": { "enum": Reason::ALL.map(Reason::code), "description": "Why it was denied." },
            "detail": { "enum": unique(details), "description": "What of it was ambiguous or unreadable, or what is wrong with the credential." },
            "policies": {
                "type": "array", "minItems": 1, "items": text(),
                "description": "On a permit the policy that was chosen; on a denial the forbids that apply.",
            },
            "shadow": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "properties": {
                        "policy": about(text(), "Its id."),
                        "permits": { "type": "boolean", "description": "Whether it would permit; else it would forbid." },
                    },
                    "required": ["policy", "permits"],
                },
                "description": "What shadow policies would have said.",
            },
            "principal": principal(),
            "client": {
                "type": "string",
                "pattern": "^([0-9.]+|\\[[0-9a-f:.]+(%[0-9]+)?\\]):[0-9]+$",
                "description": "The peer: address and port.",
            },
            "route": about(text(), "The route's name; absent where none matched."),
            "upstream": about(text(), "The upstream's name."),
            "request": request(),
            "trace_id": { "type": "string", "pattern": "^[0-9a-f]{32}$", "description": "The trace id (W3C Trace Context)." },
            "span_id": { "type": "string", "pattern": "^[0-9a-f]{16}$", "description": "The span that the proxy opened in it, which the upstream sees as its parent." },
            "parent_id": { "type": "string", "pattern": "^[0-9a-f]{16}$", "description": "The caller's span; absent where the trace began here." },
            "sampled": { "type": "boolean", "description": "Whether the trace is sampled; written where it is." },
            "stages_us": stages(),
        }),
        &[
            "id",
            "at",
            "policy_set",
            "decision",
            "client",
            "request",
            "stages_us",
        ],
    );
    set(
        &mut schema,
        "if",
        json!({ "properties": { "decision": { "const": "permit" } } }),
    );
    set(
        &mut schema,
        "then",
        json!({ "required": ["policies"], "not": { "required": ["reason"] } }),
    );
    set(&mut schema, "else", json!({ "required": ["reason"] }));
    schema
}

fn principal() -> Value {
    object(
        "Who asked: names only, never the token and never its claims. Absent where no credential was verified.",
        json!({
            "provider": about(text(), "The identity provider's name; absent where only a certificate came."),
            "agent": about(text(), "The agent that acts."),
            "user": about(text(), "The person on whose behalf it acts."),
            "workload": about(text(), "The workload that it runs in."),
            "session": about(text(), "The session."),
            "task": about(text(), "The task."),
            "groups": { "type": "array", "minItems": 1, "items": text(), "description": "The groups." },
            "token_id": about(text(), "The token's id (`jti`)."),
            "cert_fingerprint": digest("SHA-256 of the client certificate."),
            "spiffe_id": about(text(), "The client certificate's SPIFFE ID."),
        }),
        &[],
    )
}

fn request() -> Value {
    object(
        "The request. Where it was refused before it could be read, only what was read is there.",
        json!({
            "method": { "type": "string", "pattern": "^[A-Z-]{1,32}$", "description": "The method." },
            "host": about(text(), "The host, lower-cased, without its port."),
            "path": { "type": "string", "pattern": "^/", "description": "The canonical path." },
            "template": { "type": "string", "pattern": "^/", "description": "The template that the chosen policy matched the path with." },
            "query": {
                "type": "array", "minItems": 1, "maxItems": 64,
                "items": { "type": "string", "maxLength": 128 },
                "description": "The names in the query as they came, without their values.",
            },
            "body_sha256": digest("SHA-256 of the body, where it was judged."),
            "judged": {
                "type": "object", "minProperties": 1, "maxProperties": 16,
                "propertyNames": { "pattern": "^body(/|$)" },
                "additionalProperties": { "type": "string", "maxLength": 128 },
                "description": "The body's judged fields that `audit.fields` lets be told: the value as text, cut at 128 bytes, or `hmac-sha256:` and 64 hex digits.",
            },
            "fields": {
                "type": "array", "minItems": 1, "maxItems": 16, "items": text(),
                "description": "The judged fields that failed and that the caller sent, by name.",
            },
        }),
        &[],
    )
}

fn stages() -> Value {
    object(
        "Time spent in each stage before the decision was recorded, in microseconds.",
        json!({
            "normalise": count("Making the canonical form."),
            "identify": count("Verifying who asks."),
            "match": count("Finding the live candidates."),
            "inspect": count("Reading the judged body, waiting for it included."),
            "decide": count("Deciding."),
        }),
        &["normalise", "identify", "match", "inspect", "decide"],
    )
}

fn outcome() -> Value {
    record(
        "outcome",
        "What became of a forwarded request. Exactly one for each permit.",
        json!({
            "id": id("The decision's id."),
            "at": moment("When it ended."),
            "end": { "enum": codes::<End>(), "description": "How it ended." },
            "status": { "type": "integer", "minimum": 100, "maximum": 999, "description": "The status that the client got; absent where no response head was sent." },
            "bytes": count("Bytes of the response body that were relayed."),
            "request_bytes": count("Bytes of the request body that were relayed."),
            "sha256": digest("SHA-256 over the relayed response body; absent where none was relayed."),
            "upstream": about(text(), "The upstream server's address."),
            "head_us": count("From the request's head to the response's, in microseconds."),
            "total_us": count("From the request's head to the end, in microseconds; absent where a crash took it."),
        }),
        &["id", "at", "end", "bytes", "request_bytes"],
    )
}

fn event(name: &str, about: &str, mut properties: Value, required: &[&str]) -> Value {
    set(&mut properties, "at", moment("When it happened."));
    set(
        &mut properties,
        "event",
        json!({ "const": name, "description": "What happened." }),
    );
    let required = [&["at", "event"], required].concat();
    record("event", about, properties, &required)
}

/// The first line of a file.
fn segment() -> Value {
    let hash = || json!({ "type": "string", "pattern": DIGEST });
    let mut schema = object(
        "The first line of a file, which is no record: where in the log the file begins. It is made of these keys in this order, without blanks.",
        json!({
            "v": version(),
            "kind": { "const": "segment", "description": "The kind of line." },
            "node": node(),
            "seq": count("The number of the record before this file; 0 if there is none."),
            "size": count("How many records the tree before this file holds."),
            "prev": about(hash(), "The hash of the record before; zeros if there is none."),
            "tree": {
                "type": "array", "maxItems": 64, "items": hash(),
                "description": "The roots of the complete subtrees that the records before decompose into (RFC 6962), largest first.",
            },
        }),
        &["v", "kind", "node", "seq", "size", "prev", "tree"],
    );
    set(&mut schema, "additionalProperties", false);
    schema
}

/// A record: the envelope, and the fields of its kind.
fn record(kind: &str, about_it: &str, mut properties: Value, required: &[&str]) -> Value {
    set(&mut properties, "v", version());
    set(
        &mut properties,
        "kind",
        json!({ "const": kind, "description": "The kind of record." }),
    );
    set(&mut properties, "node", node());
    set(
        &mut properties,
        "seq",
        json!({ "type": "integer", "minimum": 1, "description": "The record's number on this node, over all kinds, from 1, without gaps, also over restarts." }),
    );
    set(
        &mut properties,
        "prev",
        digest(
            "The hash of the record before: SHA-256 over a zero byte and its line, without the line feed; zeros before the first.",
        ),
    );
    let required = [&["v", "kind", "node", "seq", "prev"], required].concat();
    object(about_it, properties, &required)
}

/// An object that further fields may come into.
fn object(about: &str, properties: Value, required: &[&str]) -> Value {
    json!({ "type": "object", "description": about, "properties": properties, "required": required })
}

fn version() -> Value {
    json!({ "const": VERSION, "description": "The version of this format." })
}

fn node() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": 253, "description": "The node's name." })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn count(about: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "description": about })
}

fn digest(about: &str) -> Value {
    json!({ "type": "string", "pattern": DIGEST, "description": about })
}

fn id(about: &str) -> Value {
    json!({
        "type": "string",
        "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$",
        "description": about,
    })
}

fn moment(about: &str) -> Value {
    json!({
        "type": "string",
        "format": "date-time",
        "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6}Z$",
        "description": about,
    })
}

fn unique(codes: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut all = Vec::new();
    for code in codes {
        if !all.contains(&code) {
            all.push(code);
        }
    }
    all
}

const DIGEST: &str = "^[0-9a-f]{64}$";
/// Details that speak of this side.
const OURS: [&str; 3] = ["judged_bodies", "keys_unavailable", "order"];

#[cfg(test)]
mod tests;
