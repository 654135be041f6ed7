//! Records as OCSF events: API Activity (class 6003), with the security control profile, of version 1.8.0 of the schema
//! (<https://schema.ocsf.io/1.8.0/classes/api_activity>).
//!
//! A decision and its outcome become one event. Whatever of them has no place in the class stands in `unmapped`,
//! also what later versions of the records add: nothing is left out, and nothing stands where the schema has no
//! such attribute.
//!
//! Deliberately absent: `start_time`, `end_time` and `duration`, which the schema keeps for aggregates.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::query::Found;
use super::read::visible_json;
use super::view::Field;

/// The schema's version.
pub const SCHEMA: &str = "1.8.0";

/// One event, as one line of JSON without its line feed, from the lines of a decision and of its outcome.
pub fn event(decision: &str, outcome: Option<&str>) -> serde_json::Result<String> {
    let mut decision = Taken(serde_json::from_str(decision)?);
    let outcome = outcome.map(serde_json::from_str).transpose()?.map(Taken);
    let event = api_activity(&mut decision, outcome);
    let text = serde_json::to_string(&event)?;
    Ok(visible_json(&text).into_owned())
}

fn api_activity(decision: &mut Taken, outcome: Option<Taken>) -> Value {
    let mut outcome = outcome.unwrap_or_default();
    let known = !outcome.0.is_empty();
    for (record, keys) in [
        (&mut *decision, &["v", "kind"][..]),
        (&mut outcome, &["v", "kind", "id", "node"]),
    ] {
        for key in keys {
            record.0.remove(*key);
        }
    }
    let mut request = decision.object("request");
    let mut principal = decision.object("principal");
    let permitted = decision.text("decision").as_deref() == Some("permit");
    let reason = decision.text("reason");
    let detail = decision.text("detail");
    let end = outcome.text("end");
    let code = outcome.number("status");

    let method = request.text("method");
    let path = request.text("path");
    let template = request.text("template");
    let host = request.text("host");
    let id = decision.text("id");
    let upstream = decision.text("upstream");
    let at = decision.text("at");
    let time: Option<Timestamp> = at.as_deref().and_then(|at| at.parse().ok());

    let (activity_id, activity) = activity(method.as_deref());
    let (status_id, status) = match (permitted, end.as_deref(), code) {
        (false, _, _) => (2, "Failure"),
        (true, Some("complete"), Some(code)) if code < 400 => (1, "Success"),
        (true, None | Some("unknown"), _) => (0, "Unknown"),
        (true, Some(_), _) => (2, "Failure"),
    };
    let (severity_id, severity) = severity(permitted, reason.as_deref());
    let (action_id, action, disposition_id, disposition) = match permitted {
        true => (1, "Allowed", 1, "Allowed"),
        false => (2, "Denied", 2, "Blocked"),
    };
    let policies = decision.texts("policies");
    let version = decision.text("policy_set");
    let policy = |id: &String| object([("uid", json!(id)), ("version", json!(version))]);
    let operation = match (&method, template.as_ref().or(path.as_ref())) {
        (Some(method), Some(path)) => format!("{method} {path}"),
        (Some(text), None) | (None, Some(text)) => text.clone(),
        (None, None) => "unknown".to_owned(),
    };
    let message = match (permitted, &reason) {
        (true, _) => format!("{operation}: permitted"),
        (false, Some(reason)) => format!("{operation}: denied, {reason}"),
        (false, None) => format!("{operation}: denied"),
    };
    let url = path.map(|path| object([("hostname", json!(host)), ("path", json!(path))]));
    let response = object([
        ("code", json!(code)),
        ("error", json!(reason)),
        (
            "error_message",
            json!(detail.as_ref().filter(|_| !permitted)),
        ),
    ]);
    let length = |record: &mut Taken, key| record.number(key).filter(|_| known);
    let answered = code.map(|code| {
        object([
            ("code", json!(code)),
            ("body_length", json!(length(&mut outcome, "bytes"))),
            (
                "latency",
                json!(outcome.number("head_us").map(|us| us / 1_000)),
            ),
        ])
    });

    let mut event = object([
        ("activity_id", json!(activity_id)),
        ("activity_name", json!(activity)),
        ("category_uid", json!(CATEGORY)),
        ("category_name", json!("Application Activity")),
        ("class_uid", json!(CLASS)),
        ("class_name", json!("API Activity")),
        ("type_uid", json!(CLASS * 100 + activity_id)),
        ("time", json!(time.map_or(0, Timestamp::as_millisecond))),
        ("severity_id", json!(severity_id)),
        ("severity", json!(severity)),
        ("status_id", json!(status_id)),
        ("status", json!(status)),
        (
            "status_code",
            json!(reason.clone().or(code.map(|code| code.to_string()))),
        ),
        ("status_detail", json!(detail.clone().or(end.clone()))),
        ("message", json!(message)),
        ("action_id", json!(action_id)),
        ("action", json!(action)),
        ("disposition_id", json!(disposition_id)),
        ("disposition", json!(disposition)),
        ("policy", policies.first().map(policy).unwrap_or_default()),
        (
            "metadata",
            object([
                ("version", json!(SCHEMA)),
                ("profiles", json!(["security_control"])),
                (
                    "product",
                    json!({ "name": "Portcullis", "vendor_name": "Portcullis", "version": env!("CARGO_PKG_VERSION") }),
                ),
                ("uid", json!(id)),
                ("correlation_uid", json!(decision.text("trace_id"))),
                ("log_name", json!("audit")),
                ("original_time", json!(at)),
            ]),
        ),
        ("actor", actor(&mut principal)),
        (
            "api",
            object([
                ("operation", json!(operation)),
                ("request", object([("uid", json!(id))])),
                ("response", response),
                ("service", object([("name", json!(upstream))])),
            ]),
        ),
        ("src_endpoint", client(decision)),
        (
            "dst_endpoint",
            server(&mut outcome, host.as_deref(), upstream.as_deref()),
        ),
        (
            "http_request",
            object([
                ("http_method", json!(method)),
                ("url", url.unwrap_or_default()),
                ("body_length", json!(length(&mut outcome, "request_bytes"))),
            ]),
        ),
        ("http_response", answered.unwrap_or_default()),
    ]);

    // one policy is `policy`; of several each has its place
    if let [_, _, ..] = policies.as_slice()
        && let Value::Object(event) = &mut event
    {
        let verdict = if permitted { "permit" } else { "deny" };
        let each = |id| object([("decision", json!(verdict)), ("policy", policy(id))]);
        let all: Vec<Value> = policies.iter().map(each).collect();
        event.insert("authorizations".to_owned(), all.into());
    }
    let mut rest = std::mem::take(&mut decision.0);
    for (key, value) in [
        ("template", json!(template)),
        ("end", json!(end)),
        ("request", Value::Object(request.0)),
        ("principal", Value::Object(principal.0)),
        ("outcome", Value::Object(outcome.0)),
    ] {
        if !is_nothing(&value) {
            rest.insert(key.to_owned(), value);
        }
    }
    if let Value::Object(event) = &mut event {
        event.insert("unmapped".to_owned(), Value::Object(rest));
    }
    event
}

/// What a method does, as far as it says.
fn activity(method: Option<&str>) -> (u64, &str) {
    match method {
        Some("POST") => (1, "Create"),
        Some("GET" | "HEAD" | "OPTIONS") => (2, "Read"),
        Some("PUT" | "PATCH") => (3, "Update"),
        Some("DELETE") => (4, "Delete"),
        Some(other) => (99, other),
        None => (0, "Unknown"),
    }
}

/// A denial is what a gateway is for. Those that point to an attempt, or to trouble, stand out.
fn severity(permitted: bool, reason: Option<&str>) -> (u64, &'static str) {
    match reason {
        _ if permitted => (1, "Informational"),
        Some("ambiguous_request" | "invalid_token" | "forbidden" | "revoked" | "unavailable") => {
            (3, "Medium")
        }
        _ => (2, "Low"),
    }
}

/// Who asked. The schema wants at least one of the application, the user and the session.
fn actor(principal: &mut Taken) -> Value {
    let anonymous = principal.0.is_empty();
    let agent = principal.text("agent");
    let app = agent
        .or_else(|| principal.text("spiffe_id"))
        .or_else(|| principal.text("workload"));
    let session = principal.text("session");
    let user = principal.text("user");
    let name = match (&app, &session, &user) {
        (None, None, None) if anonymous => Some("anonymous"),
        (None, None, None) => Some("unknown"),
        _ => None,
    };
    // groups are the principal's; without a user they have no place
    let groups = match &user {
        Some(_) => principal.texts("groups"),
        None => Vec::new(),
    };
    let groups: Vec<Value> = groups.iter().map(|name| json!({ "name": name })).collect();
    let user = object([
        ("uid", json!(user)),
        ("name", json!(name)),
        ("groups", json!(groups)),
    ]);
    object([
        ("app_uid", json!(app)),
        ("user", user),
        ("session", object([("uid", json!(session))])),
        ("idp", object([("name", json!(principal.text("provider")))])),
    ])
}

/// Where the request came from.
fn client(decision: &mut Taken) -> Value {
    match decision.address("client") {
        Some(address) => endpoint(address),
        // as it can't be read it stays in `unmapped`; the schema wants something here
        None => json!({ "name": "unknown" }),
    }
}

/// Where it went, or would have gone.
fn server(outcome: &mut Taken, host: Option<&str>, upstream: Option<&str>) -> Value {
    let mut server = outcome.address("upstream").map_or(Value::Null, endpoint);
    for (key, value) in [("hostname", host), ("svc_name", upstream)] {
        if let Some(value) = value {
            match &mut server {
                Value::Object(server) => {
                    server.insert(key.to_owned(), json!(value));
                }
                _ => server = json!({ key: value }),
            }
        }
    }
    server
}

fn endpoint(address: SocketAddr) -> Value {
    json!({ "ip": address.ip().to_string(), "port": address.port() })
}

/// An object of what there is: nothing, empty lists and empty objects are left out.
fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let there = fields.into_iter().filter(|(_, value)| !is_nothing(value));
    Value::Object(there.map(|(key, value)| (key.to_owned(), value)).collect())
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// A record of which fields are taken. What isn't of the expected type stays.
#[derive(Debug, Default)]
struct Taken(Map<String, Value>);

impl Taken {
    fn take<T>(&mut self, key: &str, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let value = read(self.0.get(key)?)?;
        self.0.remove(key);
        Some(value)
    }

    fn text(&mut self, key: &str) -> Option<String> {
        self.take(key, |value| value.as_str().map(str::to_owned))
    }

    fn number(&mut self, key: &str) -> Option<u64> {
        self.take(key, Value::as_u64)
    }

    fn texts(&mut self, key: &str) -> Vec<String> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        self.take(key, |value| value.as_array()?.iter().map(text).collect())
            .unwrap_or_default()
    }

    fn object(&mut self, key: &str) -> Taken {
        Taken(
            self.take(key, |value| value.as_object().cloned())
                .unwrap_or_default(),
        )
    }

    fn address(&mut self, key: &str) -> Option<SocketAddr> {
        self.take(key, |value| value.as_str()?.parse().ok())
    }
}

/// Decisions that wait for their outcomes, so many at a time.
#[derive(Debug)]
pub struct Join {
    waiting: HashMap<Uuid, (u64, Box<str>)>,
    /// By when they came.
    order: BTreeMap<u64, Uuid>,
    next: u64,
    most: usize,
    /// Permits that were told without an outcome because too many waited.
    pub unjoined: u64,
}

impl Default for Join {
    fn default() -> Self {
        Join::of(WAITING)
    }
}

/// The lines of a decision and of its outcome.
pub type Joined = (Box<str>, Option<Box<str>>);

impl Join {
    fn of(most: usize) -> Join {
        Join {
            waiting: HashMap::new(),
            order: BTreeMap::new(),
            next: 0,
            most,
            unjoined: 0,
        }
    }

    /// Takes what a search with outcomes found, and gives back what is complete by that: at most two.
    pub fn take(&mut self, found: &Found<'_>) -> Vec<Joined> {
        let line: Box<str> = found.line.into();
        let id = found
            .view
            .text(Field::Id)
            .and_then(|id| Uuid::try_parse(id).ok());
        let Some(id) = id else {
            return vec![(line, None)];
        };
        if found.view.kind() == "outcome" {
            let decision = self.remove(&id).map(|decision| (decision, Some(line)));
            return decision.into_iter().collect();
        }
        if found.view.text(Field::Verdict) != Some("permit") {
            return vec![(line, None)];
        }
        let mut ready = Vec::new();
        // met twice: neither is lost
        ready.extend(self.remove(&id).map(|decision| (decision, None)));
        if self.waiting.len() >= self.most
            && let Some((_, oldest)) = self.order.first_key_value()
        {
            let oldest = *oldest;
            self.unjoined += 1;
            ready.extend(self.remove(&oldest).map(|decision| (decision, None)));
        }
        self.waiting.insert(id, (self.next, line));
        self.order.insert(self.next, id);
        self.next += 1;
        ready
    }

    fn remove(&mut self, id: &Uuid) -> Option<Box<str>> {
        let (place, line) = self.waiting.remove(id)?;
        self.order.remove(&place);
        Some(line)
    }

    /// Those whose outcome didn't come, in their order.
    pub fn rest(mut self) -> impl Iterator<Item = Joined> {
        let order = std::mem::take(&mut self.order);
        order
            .into_values()
            .filter_map(move |id| Some((self.remove(&id)?, None)))
    }
}

const CATEGORY: u64 = 6;
const CLASS: u64 = 6003;
/// Permits that wait at a time: more than can be under way, in about 64 MiB.
const WAITING: usize = 65_536;

#[cfg(test)]
mod tests;
