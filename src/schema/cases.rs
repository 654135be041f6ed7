//! The schema of a cases file: DESIGN 3, "Cases".

use serde_json::{Value, json};

use super::{DIALECT, about, closed, set};
use crate::policy::{Fault, Reason};

/// The schema of a cases file.
pub fn cases() -> Value {
    let mut root = closed(
        "What policies must answer; run by `portcullis test`.",
        json!({
            "version": { "const": 1, "description": "The version of this format: 1." },
            "now": about(moment(), "The moment for which requests are judged."),
            "allow": {
                "type": "array",
                "items": { "enum": ["encoded_slash", "semicolon", "encoded_percent", "empty_segments"] },
                "description": "What the route would let stand in paths: its `allow`.",
            },
            "principals": {
                "type": "object",
                "description": "Who asks, by name.",
                "additionalProperties": { "$ref": "#/$defs/principal" },
            },
            "cases": { "type": "array", "items": { "$ref": "#/$defs/case" }, "description": "The cases." },
        }),
        &["version", "cases"],
    );
    set(&mut root, "$schema", DIALECT);
    set(&mut root, "title", "Portcullis cases");
    set(
        &mut root,
        "$defs",
        json!({ "principal": principal(), "case": case(), "request": request(), "expect": expect() }),
    );
    root
}

fn moment() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

fn principal() -> Value {
    let text = json!({ "type": "string" });
    let texts = json!({ "type": "array", "items": text });
    let cert = closed(
        "The client certificate.",
        json!({ "spiffe_id": text, "dns": texts, "email": texts, "fingerprint": text }),
        &[],
    );
    closed(
        "A verified identity.",
        json!({
            "provider": text, "agent": text, "user": text, "workload": text, "session": text, "task": text,
            "groups": texts,
            "claims": { "type": "object", "description": "The token's claims." },
            "cert": cert,
        }),
        &[],
    )
}

fn case() -> Value {
    closed(
        "A request and what it must come to.",
        json!({
            "name": { "type": "string", "description": "What it shows." },
            "as": { "type": "string", "description": "The principal's name; absent: anonymous." },
            "request": { "$ref": "#/$defs/request" },
            "expect": { "$ref": "#/$defs/expect" },
        }),
        &["name", "request", "expect"],
    )
}

fn request() -> Value {
    let header = json!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] });
    let mut schema = closed(
        "The request.",
        json!({
            "method": { "type": "string" },
            "host": { "type": "string" },
            "path": { "type": "string", "description": "The raw path." },
            "query": { "type": "string", "description": "The raw query." },
            "headers": { "type": "object", "additionalProperties": header, "description": "By name; a list repeats." },
            "body": { "description": "A body as YAML, sent as JSON." },
            "raw_body": { "type": "string", "description": "A body byte for byte." },
            "content_type": { "type": "string" },
            "client": { "type": "string", "description": "The client's address." },
            "now": about(moment(), "Another moment for this request."),
        }),
        &["method", "path"],
    );
    set(
        &mut schema,
        "not",
        json!({ "required": ["body", "raw_body"] }),
    );
    schema
}

fn expect() -> Value {
    let reasons: Vec<&str> = Reason::ALL.iter().map(|reason| reason.code()).collect();
    let faults: Vec<&str> = Fault::ALL.iter().map(|fault| fault.code()).collect();
    let mut schema = closed(
        "The verdict.",
        json!({
            "permit": { "type": "string", "description": "The policy that is chosen." },
            "deny": { "enum": reasons, "description": "The reason." },
            "policies": { "type": "array", "items": { "type": "string" }, "description": "Exactly the forbids that apply." },
            "detail": { "enum": faults, "description": "What is wrong with the request: the code of its fault." },
        }),
        &[],
    );
    set(
        &mut schema,
        "oneOf",
        json!([{ "required": ["permit"] }, { "required": ["deny"] }]),
    );
    schema
}
