//! Reads a `cases.yaml`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use jiff::Timestamp;

use super::{Case, Cases, Expect, Request};
use crate::policy::normalise::Opaque;
use crate::policy::{Certificate, Fault, Json, Principal, Reason};
use crate::yaml::{self, At, Fields, Node, Problem, Problems, Yaml};

pub(super) fn cases(file: Arc<str>, text: &str) -> Result<Cases, Vec<Problem>> {
    let mut problems = Problems::new(file.clone());
    let read = yaml::parse(text, &mut problems)
        .and_then(|node| document(file, &At::root(&node), &mut problems));
    match read {
        Some(cases) if problems.is_empty() => Ok(cases),
        _ => Err(problems.into_vec()),
    }
}

fn document(file: Arc<str>, at: &At<'_>, problems: &mut Problems) -> Option<Cases> {
    let fields = at.fields(
        &["version", "now", "allow", "principals", "cases"],
        problems,
    )?;
    if let Some(version) = fields.required("version", problems) {
        version.integer(1, 1, problems);
    }
    let now = fields
        .optional("now")
        .and_then(|at| timestamp(&at, problems));
    let mut opaque = Opaque::default();
    if let Some(at) = fields.optional("allow") {
        for item in at.items(problems) {
            let Some(word) = item.text(problems) else {
                continue;
            };
            match word {
                "encoded_slash" => opaque.encoded_slash = true,
                "semicolon" => opaque.semicolon = true,
                "encoded_percent" => opaque.encoded_percent = true,
                "empty_segments" => opaque.empty_segments = true,
                _ => item.problem(
                    problems,
                    "expected encoded_slash, semicolon, encoded_percent or empty_segments",
                ),
            }
        }
    }
    let mut principals = BTreeMap::new();
    if let Some(at) = fields.optional("principals") {
        for (key, at) in at.entries(problems).into_iter().flatten() {
            if let Some(read) = principal(&at, problems) {
                principals.insert(key.text.clone(), read);
            }
        }
    }
    let list = fields.required("cases", problems)?;
    let mut names = BTreeMap::new();
    let mut cases = Vec::new();
    for item in list.items(problems) {
        let Some(case) = case(&item, now, &principals, problems) else {
            continue;
        };
        if let Some(line) = names.insert(case.name.clone(), case.mark.line) {
            item.problem(
                problems,
                format!(
                    "the case of line {line} is called `{}`, too; give each its own name",
                    case.name
                ),
            );
        }
        cases.push(case);
    }
    Some(Cases {
        file,
        principals,
        cases,
        opaque,
    })
}

fn principal(at: &At<'_>, problems: &mut Problems) -> Option<Principal> {
    let fields = at.fields(
        &[
            "provider", "agent", "user", "workload", "session", "task", "groups", "claims", "cert",
        ],
        problems,
    )?;
    let mut principal = Principal {
        provider: text(&fields, "provider", problems),
        agent: text(&fields, "agent", problems),
        user: text(&fields, "user", problems),
        workload: text(&fields, "workload", problems),
        session: text(&fields, "session", problems),
        task: text(&fields, "task", problems),
        groups: texts(&fields, "groups", problems),
        ..Principal::default()
    };
    if let Some(at) = fields.optional("claims") {
        match json(at.node) {
            claims @ Json::Object(_) => principal.claims = claims,
            _ => at.problem(problems, "expected a mapping of claims"),
        }
    }
    if let Some(at) = fields.optional("cert") {
        principal.cert = certificate(&at, problems);
    }
    Some(principal)
}

fn certificate(at: &At<'_>, problems: &mut Problems) -> Option<Certificate> {
    let fields = at.fields(&["spiffe_id", "dns", "email", "fingerprint"], problems)?;
    Some(Certificate {
        spiffe_id: text(&fields, "spiffe_id", problems),
        dns: texts(&fields, "dns", problems),
        email: texts(&fields, "email", problems),
        fingerprint: text(&fields, "fingerprint", problems).unwrap_or_default(),
    })
}

fn case(
    at: &At<'_>,
    now: Option<Timestamp>,
    principals: &BTreeMap<String, Principal>,
    problems: &mut Problems,
) -> Option<Case> {
    let fields = at.fields(&["name", "as", "request", "expect"], problems)?;
    let name = fields
        .required("name", problems)
        .and_then(|at| at.text(problems));
    let principal = fields.optional("as").and_then(|at| {
        let name = at.text(problems)?;
        if !principals.contains_key(name) {
            let known: Vec<&str> = principals.keys().map(String::as_str).collect();
            at.problem(
                problems,
                match yaml::nearest(name, &known) {
                    Some(near) => format!("no principal `{name}`; did you mean `{near}`?"),
                    None => format!("no principal `{name}`; there are: {}", known.join(", ")),
                },
            );
        }
        Some(name.to_owned())
    });
    let wanted = fields
        .required("request", problems)
        .and_then(|at| request(&at, now, problems));
    let expect = fields
        .required("expect", problems)
        .and_then(|at| expect(&at, problems));
    Some(Case {
        name: name?.to_owned(),
        mark: at.node.mark,
        principal,
        request: wanted?,
        expect: expect?,
    })
}

fn request(at: &At<'_>, now: Option<Timestamp>, problems: &mut Problems) -> Option<Request> {
    let fields = at.fields(
        &[
            "method",
            "path",
            "host",
            "query",
            "headers",
            "body",
            "raw_body",
            "content_type",
            "client",
            "now",
            "upgrade",
        ],
        problems,
    )?;
    let method = fields.required("method", problems).and_then(|at| {
        let method = Method::from_bytes(at.text(problems)?.as_bytes()).ok();
        if method.is_none() {
            at.problem(problems, "not a method");
        }
        method
    });
    let target = target(&fields, problems);
    let mut headers = headers(&fields, problems);
    let body = body(&fields, &mut headers, problems);
    if let Some(at) = fields.optional("upgrade") {
        if at.is_word("websocket") {
            upgrade(&mut headers);
        } else {
            at.problem(problems, "expected `websocket`");
        }
    }
    let client = match fields.optional("client") {
        None => Some(CLIENT),
        Some(at) => at.text(problems).and_then(|text| {
            let address = text.parse().ok();
            if address.is_none() {
                at.problem(problems, "expected an IP address");
            }
            address
        }),
    };
    let now = match fields.optional("now") {
        Some(at) => timestamp(&at, problems),
        None => {
            if now.is_none() {
                at.problem(problems, "the key `now` is missing here and in the file: a case must not depend on the day it runs");
            }
            now
        }
    };
    Some(Request {
        method: method?,
        target: target?.parse::<Uri>().ok(),
        headers,
        body,
        client: client?,
        now: now?,
    })
}

/// The target as text: the path, and the query from `query` or after a `?`.
fn target(fields: &Fields<'_>, problems: &mut Problems) -> Option<String> {
    let path = fields
        .required("path", problems)
        .and_then(|at| at.text(problems));
    let query = match fields.optional("query") {
        // A number or a word such as `true` is a query as well: it is raw text.
        Some(at) => match &at.node.value {
            Yaml::Text(text) | Yaml::Number(text) => Some(text.as_str()),
            Yaml::Null | Yaml::Bool(_) | Yaml::List(_) | Yaml::Map(_) => at.text(problems),
        },
        None => None,
    };
    let path = path?;
    match query {
        Some(_) if path.contains('?') => {
            fields.at().problem(
                problems,
                "the path has a query already; write it in one place",
            );
            None
        }
        Some(query) => Some(format!("{path}?{query}")),
        None => Some(path.to_owned()),
    }
}

fn headers(fields: &Fields<'_>, problems: &mut Problems) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let host = match fields.optional("host") {
        None => Some(HeaderValue::from_static(HOST)),
        Some(at) => at
            .text(problems)
            .and_then(|text| value(&at, text, problems)),
    };
    headers.extend(host.map(|host| (header::HOST, host)));
    let Some(at) = fields.optional("headers") else {
        return headers;
    };
    for (key, at) in at.entries(problems).into_iter().flatten() {
        let Ok(name) = HeaderName::from_bytes(key.text.as_bytes()) else {
            at.problem(problems, "not a header name");
            continue;
        };
        for item in at.one_or_many() {
            let text = match &item.node.value {
                Yaml::Number(text) | Yaml::Text(text) => Some(text.as_str()),
                Yaml::Null | Yaml::Bool(_) | Yaml::List(_) | Yaml::Map(_) => item.text(problems),
            };
            if let Some(value) = text.and_then(|text| value(&item, text, problems)) {
                headers.append(name.clone(), value);
            }
        }
    }
    headers
}

/// The body's bytes, with the headers that describe them. Headers that the case writes itself stay as they are.
fn body(fields: &Fields<'_>, headers: &mut HeaderMap, problems: &mut Problems) -> Option<Vec<u8>> {
    let content_type = fields
        .optional("content_type")
        .and_then(|at| value(&at, at.text(problems)?, problems));
    let body = match (fields.optional("body"), fields.optional("raw_body")) {
        (Some(_), Some(at)) => {
            at.problem(problems, "`body` and `raw_body` exclude each other");
            None
        }
        (Some(at), None) => {
            let mut text = String::new();
            write_json(&json(at.node), &mut text);
            Some(text.into_bytes())
        }
        (None, Some(at)) => at.text(problems).map(|text| text.as_bytes().to_vec()),
        (None, None) => None,
    };
    if let Some(body) = &body {
        headers
            .entry(header::CONTENT_LENGTH)
            .or_insert_with(|| HeaderValue::from(body.len()));
    }
    match content_type {
        Some(value) => {
            headers.append(header::CONTENT_TYPE, value);
        }
        None if body.is_some() => {
            headers
                .entry(header::CONTENT_TYPE)
                .or_insert(HeaderValue::from_static("application/json"));
        }
        None => {}
    }
    body
}

/// A WebSocket handshake (RFC 6455, section 4.1).
fn upgrade(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CONNECTION, "Upgrade"),
        (header::UPGRADE, "websocket"),
        (header::SEC_WEBSOCKET_VERSION, "13"),
        (header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
    ] {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
}

fn expect(at: &At<'_>, problems: &mut Problems) -> Option<Expect> {
    let fields = at.fields(&["permit", "deny", "policies", "detail"], problems)?;
    let (permit, deny) = (fields.optional("permit"), fields.optional("deny"));
    match (permit, deny) {
        (Some(permit), None) => {
            for key in ["policies", "detail"] {
                if let Some(at) = fields.optional(key) {
                    at.problem(problems, "this goes with `deny`");
                }
            }
            Some(Expect::Permit(permit.text(problems)?.to_owned()))
        }
        (None, Some(deny)) => {
            let reason = deny.text(problems).and_then(|code| {
                let known = Reason::ALL.map(Reason::code);
                named(&deny, code, Reason::from_code(code), &known, problems)
            });
            let detail = fields.optional("detail").and_then(|at| {
                let code = at.text(problems)?;
                let known: Vec<&str> = Fault::ALL.iter().map(|fault| fault.code()).collect();
                let fault = Fault::ALL.iter().find(|f| f.code() == code).copied();
                named(&at, code, fault, &known, problems)
            });
            let policies = fields.optional("policies").map(|at| {
                let items = at.items(problems);
                let mut ids: Vec<String> = items
                    .iter()
                    .filter_map(|item| item.text(problems))
                    .map(str::to_owned)
                    .collect();
                ids.sort();
                ids
            });
            Some(Expect::Deny {
                reason: reason?,
                policies,
                detail,
            })
        }
        (Some(_), Some(_)) | (None, None) => {
            at.problem(
                problems,
                "expected either `permit: <id>` or `deny: <reason>`",
            );
            None
        }
    }
}

fn named<T>(
    at: &At<'_>,
    word: &str,
    found: Option<T>,
    known: &[&str],
    problems: &mut Problems,
) -> Option<T> {
    if found.is_none() {
        at.problem(
            problems,
            match yaml::nearest(word, known) {
                Some(near) => format!("`{word}` is none; did you mean `{near}`?"),
                None => format!("`{word}` is none of {}", known.join(", ")),
            },
        );
    }
    found
}

fn timestamp(at: &At<'_>, problems: &mut Problems) -> Option<Timestamp> {
    let moment = at.text(problems)?.parse().ok();
    if moment.is_none() {
        at.problem(
            problems,
            "expected a moment such as 2026-11-21T09:00:00Z (RFC 3339)",
        );
    }
    moment
}

fn value(at: &At<'_>, text: &str, problems: &mut Problems) -> Option<HeaderValue> {
    let value = HeaderValue::from_str(text).ok();
    if value.is_none() {
        at.problem(problems, "a header can't hold this value");
    }
    value
}

fn text(fields: &Fields<'_>, key: &str, problems: &mut Problems) -> Option<Box<str>> {
    fields.optional(key)?.text(problems).map(Box::from)
}

fn texts(fields: &Fields<'_>, key: &str, problems: &mut Problems) -> Vec<Box<str>> {
    let Some(at) = fields.optional(key) else {
        return Vec::new();
    };
    let items = at.items(problems);
    items
        .iter()
        .filter_map(|item| item.text(problems))
        .map(Box::from)
        .collect()
}

/// YAML as JSON: numbers as written, timestamps as text.
fn json(node: &Node) -> Json {
    match &node.value {
        Yaml::Null => Json::Null,
        Yaml::Bool(value) => Json::Bool(*value),
        Yaml::Number(text) => Json::Number(text.as_str().into()),
        Yaml::Text(text) => Json::Text(text.as_str().into()),
        Yaml::List(items) => Json::Array(items.iter().map(json).collect()),
        Yaml::Map(entries) => Json::Object(
            entries
                .iter()
                .map(|(key, node)| (key.text.as_str().into(), json(node)))
                .collect(),
        ),
    }
}

/// The shortest text of a value, with its numbers as written.
fn write_json(json: &Json, out: &mut String) {
    // `Value::from(&str)` formats itself as a JSON string.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    match json {
        Json::Null => out.push_str("null"),
        Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Json::Number(text) => out.push_str(text),
        Json::Text(text) => out.push_str(&quoted(text)),
        Json::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { "," });
                write_json(item, out);
            }
            out.push(']');
        }
        Json::Object(members) => {
            out.push('{');
            for (i, (key, value)) in members.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { "," });
                out.push_str(&quoted(key));
                out.push(':');
                write_json(value, out);
            }
            out.push('}');
        }
    }
}

/// A host of the documentation domain (RFC 2606), where a case names none.
const HOST: &str = "api.example.com";

/// An address of the documentation network (RFC 5737), where a case names none.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

#[cfg(test)]
mod tests;
