//! The schema of a policy file: DESIGN 3, "Policies".

use serde_json::{Value, json};

use super::{DIALECT, DURATION, about, closed, one_or_many, set};

/// The schema of a policy file.
pub fn policy() -> Value {
    let mut root = closed(
        "Who may do what, on which resource, with which content, while when, under whose approval.",
        json!({
            "version": { "const": 1, "description": "The version of this format: 1." },
            "policies": {
                "type": "array",
                "description": "Each a conjunction; alternatives are several policies. Order never matters.",
                "items": { "$ref": "#/$defs/policy" },
            },
        }),
        &["version", "policies"],
    );
    set(&mut root, "$schema", DIALECT);
    set(&mut root, "title", "Portcullis policies");
    set(
        &mut root,
        "$defs",
        json!({
            "policy": one_policy(),
            "matcher": matcher(),
            "operators": operators(),
            "shape": shape(),
            "scalar": { "type": ["string", "number", "boolean", "null"] },
            "operand": { "description": "A literal, or `$section/pointer` for another fact; `$$` escapes a dollar." },
            "pointer": { "type": "string", "pattern": "^(/([^~/]|~[01])*)*$", "description": "A JSON Pointer (RFC 6901)." },
            "pointers": { "type": "array", "items": { "$ref": "#/$defs/pointer" } },
        }),
    );
    root
}

fn one_policy() -> Value {
    let mut schema = closed(
        "One sentence: who may do what, on which resource, with which content, while when, under whose approval.",
        json!({
            "id": { "type": "string", "minLength": 1, "description": "Its unique name." },
            "about": { "type": "string", "description": "One sentence for humans." },
            "effect": { "enum": ["permit", "forbid"], "default": "permit", "description": "Whether it permits or forbids." },
            "mode": { "enum": ["enforce", "shadow"], "default": "enforce", "description": "`shadow`: evaluated and recorded, never the cause of a refusal." },
            "do": about(one_or_many(&json!({ "type": "string", "pattern": r"^(\*|[A-Z-]+(,[A-Z-]+)*) /" })),
                "`METHOD[,METHOD] TEMPLATE`, or a list. In the template `{x}` is one segment, `{x*2}` two, `{x...}` one or more at the end, `{x:regex}` one that the regex matches whole."),
            "host": about(json!({ "$ref": "#/$defs/matcher" }), "The host; absent: any. In a glob `*` is one DNS label."),
            "who": who(),
            "path": about(map_of_matchers(), "Captured path parameters, decoded."),
            "query": about(named(json!({ "enum": ["none", "any"] })), "Query parameters, decoded: `none` (a permit's default), `any`, or matchers by name. On a permit other names are refused unless `only` lists them."),
            "headers": about(map_with_only(), "Headers by name. What no permit names isn't forwarded; with `only`, another non-inert header refuses."),
            "client": closed("The client.", json!({ "ip": { "$ref": "#/$defs/matcher" } }), &[]),
            "body": body(),
            "when": when(),
            "needs": needs(),
            "unless": about(one_or_many(&json!({ "type": "string" })), "On a forbid: ids of permits; it is lifted while one of them holds."),
            "limits": { "type": "array", "items": limit(), "description": "How often." },
            "upgrade": { "enum": ["websocket"], "description": "Frames are not judged, so it excludes `body` and `redact`." },
            "then": then(),
        }),
        &["id", "do"],
    );
    // What belongs to one effect only.
    let forbids =
        json!({ "properties": { "effect": { "const": "forbid" } }, "required": ["effect"] });
    let on_forbid = json!({ "properties": { "needs": false, "limits": false, "then": false } });
    let on_permit = json!({ "properties": { "who": true, "unless": false }, "required": ["who"] });
    set(&mut schema, "if", forbids);
    set(&mut schema, "then", on_forbid);
    set(&mut schema, "else", on_permit);
    schema
}

fn who() -> Value {
    let matcher = json!({ "$ref": "#/$defs/matcher" });
    let mut properties = serde_json::Map::new();
    for name in WHO {
        properties.insert((*name).to_owned(), matcher.clone());
    }
    json!({
        "description": "Who asks; required on a permit. `any`: whoever is authenticated; `anonymous`: no credential needed.",
        "anyOf": [
            { "enum": ["any", "anonymous"] },
            {
                "type": "object",
                "properties": properties,
                "patternProperties": { "^claims/.": matcher },
                "additionalProperties": false,
            },
        ],
    })
}

const WHO: &[&str] = &[
    "agent",
    "user",
    "workload",
    "provider",
    "session",
    "task",
    "groups",
    "cert/spiffe_id",
    "cert/dns",
    "cert/email",
    "cert/fingerprint",
];

fn map_of_matchers() -> Value {
    json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/matcher" } })
}

fn map_with_only() -> Value {
    json!({
        "type": "object",
        "properties": { "only": { "type": "array", "items": { "type": "string" }, "description": "Further names that may be there." } },
        "additionalProperties": { "$ref": "#/$defs/matcher" },
    })
}

fn named(word: Value) -> Value {
    json!({ "anyOf": [word, map_with_only()] })
}

fn body() -> Value {
    json!({
        "description": "The body: `none` (a permit's default), `any`, or JSON Pointers and their matchers.",
        "anyOf": [
            { "enum": ["none", "any"] },
            {
                "type": "object",
                "properties": {
                    "content_type": about(one_or_many(&json!({ "type": "string" })), "The accepted content types; JSON by default."),
                    "only": about(json!({ "$ref": "#/$defs/pointers" }), "Nothing else may be there; judged pointers count in."),
                    "exactly": { "description": "The body is this." },
                },
                "patternProperties": { "^/": { "$ref": "#/$defs/matcher" } },
                "additionalProperties": false,
            },
        ],
    })
}

fn when() -> Value {
    let moment = json!({ "type": ["string", "number"] });
    closed(
        "The window.",
        json!({
            "from": about(moment.clone(), "Inclusive: RFC 3339, NumericDate, or `$section/pointer`."),
            "until": about(moment, "Exclusive: RFC 3339, NumericDate, or `$section/pointer`."),
            "max": duration("The longest window."),
            "weekly": about(one_or_many(&json!({ "type": "string" })), "Such as `Mon-Fri 08:00-18:00 Europe/Berlin`: wall-clock time there, end exclusive, may cross midnight."),
        }),
        &[],
    )
}

fn needs() -> Value {
    let texts = json!({ "type": "array", "items": { "type": "string" } });
    let approval = closed(
        "It holds only under a live grant.",
        json!({
            "by": { "type": "object", "description": "Who may approve." },
            "count": { "type": "integer", "minimum": 1, "description": "How many must approve." },
            "bind": about(texts.clone(), "What the grant is bound to: `session`, `task`, `request`, `path/…`, `body/…`."),
            "open": about(texts, "Parameters and fields that stay open, which approvers see first."),
            "for": duration("How long the grant lives."),
            "uses": { "type": "integer", "minimum": 1, "description": "How many requests it covers." },
            "ask_for": duration("How long a request for approval waits."),
        }),
        &["by"],
    );
    closed(
        "What the permit needs besides.",
        json!({ "approval": approval }),
        &[],
    )
}

fn limit() -> Value {
    let mut schema = closed(
        "A limit.",
        json!({
            "count": { "const": "requests", "description": "Counts requests." },
            "distinct": { "type": "string", "description": "Counts different values of this field, such as `path/account`." },
            "max": { "type": "integer", "minimum": 1, "description": "The most." },
            "per": { "anyOf": [{ "enum": ["session", "task", "window"] }, { "type": "string", "pattern": DURATION }], "description": "Per session, task, window or duration." },
            "by": about(one_or_many(&json!({ "type": "string" })), "Counted apart for each value of these facts."),
        }),
        &["max", "per"],
    );
    set(
        &mut schema,
        "oneOf",
        json!([{ "required": ["count"] }, { "required": ["distinct"] }]),
    );
    schema
}

fn then() -> Value {
    closed(
        "Obligations.",
        json!({
            "set_headers": { "type": "object", "additionalProperties": { "type": "string" }, "description": "Headers to set on the request." },
            "redact": about(json!({ "$ref": "#/$defs/pointers" }), "What is taken out of the JSON response."),
        }),
        &[],
    )
}

fn duration(text: &str) -> Value {
    json!({ "type": "string", "pattern": DURATION, "description": text })
}

/// A matcher on one value.
fn matcher() -> Value {
    json!({
        "description": "A scalar is equality, a list is one of, `$section/pointer` is equality with another fact, a mapping is a conjunction of operators.",
        "anyOf": [
            { "$ref": "#/$defs/scalar" },
            { "type": "array", "items": { "$ref": "#/$defs/scalar" } },
            { "$ref": "#/$defs/operators" },
        ],
    })
}

/// The operators of a matcher.
fn operators() -> Value {
    let operand = json!({ "$ref": "#/$defs/operand" });
    let matcher = json!({ "$ref": "#/$defs/matcher" });
    let shape = json!({ "$ref": "#/$defs/shape" });
    let text = json!({ "type": "string" });
    let list = json!({ "anyOf": [{ "type": "array" }, { "type": "string", "pattern": r"^\$" }] });
    let kinds =
        json!({ "enum": ["null", "boolean", "object", "array", "number", "string", "integer"] });
    let url = closed(
        "A URL's parts, host lower-cased, default port filled in.",
        json!({ "scheme": matcher, "host": matcher, "port": matcher, "path": matcher }),
        &[],
    );
    let mut schema = closed(
        "A conjunction of operators.",
        json!({
            "eq": about(operand.clone(), "Equal to."),
            "ne": about(operand.clone(), "Not equal to."),
            "in": about(list.clone(), "One of."),
            "not_in": about(list, "None of."),
            "lt": about(operand.clone(), "Less than; numbers compare as decimals."),
            "lte": about(operand.clone(), "At most."),
            "gt": about(operand.clone(), "Greater than."),
            "gte": about(operand, "At least."),
            "glob": about(one_or_many(&text), "`*` any bytes but `/`, `**` any bytes."),
            "matches": about(text.clone(), "A regex over the whole value."),
            "prefix": about(one_or_many(&text), "Begins with."),
            "suffix": about(one_or_many(&text), "Ends with."),
            "contains": about(json!({}), "Text contains text; a list contains a value."),
            "cidr": about(one_or_many(&text), "An address within, such as 10.0.0.0/8."),
            "url": url,
            "type": about(one_or_many(&kinds), "JSON Schema's types."),
            "present": { "const": true, "description": "It came." },
            "absent": { "const": true, "description": "It didn't come." },
            "count": about(matcher.clone(), "A matcher on the length of a list."),
            "every": about(shape.clone(), "Every item; indeterminate on an empty list."),
            "some": about(shape.clone(), "At least one item."),
            "none": about(shape.clone(), "No item."),
            "not": about(matcher.clone(), "Negation; what can't be evaluated stays so."),
            "any_of": { "type": "array", "items": matcher, "description": "One of these matchers holds." },
            "json": about(shape, "The text is JSON of this shape."),
        }),
        &[],
    );
    set(&mut schema, "minProperties", 1);
    schema
}

/// A condition on the inside of a JSON value.
fn shape() -> Value {
    json!({
        "description": "A matcher on the value itself, or pointers, `only` and `exactly` relative to it.",
        "anyOf": [
            { "$ref": "#/$defs/matcher" },
            {
                "type": "object",
                "properties": {
                    "only": { "$ref": "#/$defs/pointers" },
                    "exactly": {},
                },
                "patternProperties": { "^/": { "$ref": "#/$defs/matcher" } },
                "additionalProperties": false,
            },
        ],
    })
}
