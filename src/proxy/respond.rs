//! Every refusal's answer: one table from reason to status, words and next action.
//!
//! The words are fixed. Nothing of the request and nothing of a policy's values comes back but the names of
//! judged fields that the caller sent, and a JSON-RPC request's `id`. Three forms:
//!
//! - `application/problem+json` (RFC 9457), the rule.
//! - JSON-RPC 2.0, where the judged body is a request of it: the same object as `error.data`. A verdict goes
//!   with 200, so that MCP clients hand the error to the agent instead of dropping the connection; what
//!   isn't a verdict keeps its status.
//! - gRPC, where an HTTP/2 request says `application/grpc`: trailers only, `grpc-status` and the decision id.
//!
//! Deliberately absent: any text that depends on what was sent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode, Version};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::policy::{Denial, Fault, Reason};

/// Why a request ends here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub reason: Reason,
    /// The `detail` code, from a closed list.
    pub detail: Option<&'static str>,
    /// The forbids that apply: for the record only, never for the caller.
    pub policies: Vec<Arc<str>>,
    /// Judged fields that failed and that the caller sent.
    pub fields: Vec<Box<str>>,
    /// When to come again.
    pub retry_after: Option<Duration>,
    /// The one case in which the same reason has another status.
    pub stage: Stage,
}

/// Where on its way the request ended, as far as that changes the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Anywhere before it was forwarded.
    Before,
    /// The TLS handshake named another host than the request: 421, so that the client opens a connection of its own (RFC 9110, section 15.5.20).
    Misdirected,
    /// After it was forwarded.
    After,
}

impl Refusal {
    /// A refusal that its reason says all about.
    pub fn of(reason: Reason) -> Refusal {
        Refusal {
            reason,
            detail: None,
            policies: Vec::new(),
            fields: Vec::new(),
            retry_after: None,
            stage: Stage::Before,
        }
    }

    /// A reason with its detail code.
    pub fn detailed(reason: Reason, detail: &'static str) -> Refusal {
        Refusal {
            detail: Some(detail),
            ..Refusal::of(reason)
        }
    }

    /// The handshake's host and the request's differ.
    pub fn misdirected() -> Refusal {
        Refusal {
            stage: Stage::Misdirected,
            ..Refusal::from(Fault::HostMismatch)
        }
    }

    /// The status of its answer in problem form, which is also the one that records tell.
    pub fn status(&self) -> StatusCode {
        row(self).status
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        Refusal::detailed(fault.reason(), fault.code())
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Refusal {
        Refusal {
            detail: denial.fault.map(Fault::code),
            policies: denial.policies,
            fields: denial.fields,
            ..Refusal::of(denial.reason)
        }
    }
}

/// What of the request decides the form of its answer.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The method.
    pub method: &'a Method,
    /// The version.
    pub version: Version,
    /// Whether the request is gRPC, see [`is_grpc`].
    pub grpc: bool,
    /// The judged body, where it is in hand.
    pub body: Option<&'a [u8]>,
}

/// Whether a request speaks gRPC.
pub fn is_grpc(version: Version, headers: &HeaderMap) -> bool {
    version == Version::HTTP_2
        && headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.as_bytes().strip_prefix(b"application/grpc"))
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// The answer to a refusal.
pub fn respond(refusal: &Refusal, decision_id: &str, caller: &Caller<'_>) -> Response<Bytes> {
    let row = row(refusal);
    let problem = Problem {
        kind: row.kind,
        title: row.title,
        status: row.status.as_u16(),
        decision_id,
        reason: refusal.reason.code(),
        detail: refusal.detail,
        next_action: next_action(&row, caller.method),
        fields: &refusal.fields,
    };
    if caller.grpc {
        return grpc(&row, &problem);
    }
    let (status, media, body) = match caller.body.and_then(JsonRpc::read) {
        Some(call) if refusal.reason != Reason::AmbiguousRequest => {
            let status = if row.verdict {
                StatusCode::OK
            } else {
                row.status
            };
            let reply = Reply {
                jsonrpc: "2.0",
                id: call.id,
                error: Failure {
                    code: JSON_RPC_CODE,
                    message: row.title,
                    data: problem,
                },
            };
            (status, "application/json", serde_json::to_vec(&reply))
        }
        _ => (
            row.status,
            "application/problem+json",
            serde_json::to_vec(&problem),
        ),
    };
    // Writing plain structs to memory can't fail; an empty body beside the right status is the worst case.
    let body = Bytes::from(body.unwrap_or_default());
    let mut response = Response::new(if *caller.method == Method::HEAD {
        Bytes::new()
    } else {
        body
    });
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if row.status == StatusCode::UNAUTHORIZED {
        headers.insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static(match refusal.reason {
                Reason::InvalidToken => r#"Bearer realm="portcullis", error="invalid_token""#,
                _ => r#"Bearer realm="portcullis""#,
            }),
        );
    }
    if let Some(after) = row.retry_after {
        // Rounded up: a client that comes back at once would be refused again.
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    response
}

/// A line of the table.
#[derive(Debug, Clone, Copy)]
struct Row {
    status: StatusCode,
    /// The problem's type. A name, not an address: nothing is fetched from it.
    kind: &'static str,
    title: &'static str,
    next: Next,
    /// The code of gRPC's `status.proto`.
    grpc: u8,
    /// Whether the policies said so, rather than something that broke.
    verdict: bool,
    retry_after: Option<Duration>,
}

/// What the caller may do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Ask for access.
    Request,
    /// Come again: later, or with a good credential.
    Retry,
    /// Come again, if the method is idempotent (RFC 9110, section 9.2.2): the upstream may have acted already.
    RetryIdempotent,
    /// Nothing: the same request will get the same answer.
    None,
}

/// The table.
#[rustfmt::skip]
fn row(refusal: &Refusal) -> Row {
    use Next::{None as Nothing, Request, Retry, RetryIdempotent};
    let line = |status, kind, title, next, grpc, verdict| Row { status, kind, title, next, grpc, verdict, retry_after: refusal.retry_after };
    let mut row = match refusal.reason {
        Reason::AmbiguousRequest => line(StatusCode::BAD_REQUEST, "urn:portcullis:ambiguous_request", "The request can be read in more than one way.", Nothing, 3, false),
        Reason::NoCredentials => line(StatusCode::UNAUTHORIZED, "urn:portcullis:no_credentials", "The request needs a credential.", Retry, 16, false),
        Reason::InvalidToken => line(StatusCode::UNAUTHORIZED, "urn:portcullis:invalid_token", "The credential is not valid.", Retry, 16, false),
        Reason::NoPolicy => line(StatusCode::FORBIDDEN, "urn:portcullis:no_policy", "No policy permits this request.", Nothing, 7, true),
        Reason::Forbidden => line(StatusCode::FORBIDDEN, "urn:portcullis:forbidden", "A policy forbids this request.", Nothing, 7, true),
        Reason::ApprovalRequired => line(StatusCode::FORBIDDEN, "urn:portcullis:approval_required", "The request needs an approval.", Request, 7, true),
        Reason::OutsideWindow => line(StatusCode::FORBIDDEN, "urn:portcullis:outside_window", "The request is not permitted at this time.", Nothing, 7, true),
        Reason::Revoked => line(StatusCode::FORBIDDEN, "urn:portcullis:revoked", "The right to this request was revoked.", Nothing, 7, true),
        Reason::LimitReached => line(StatusCode::FORBIDDEN, "urn:portcullis:limit_reached", "A limit of the permit is reached.", Nothing, 8, true),
        Reason::BodyTooLarge => line(StatusCode::PAYLOAD_TOO_LARGE, "urn:portcullis:body_too_large", "The body is too large.", Nothing, 8, false),
        Reason::UnsupportedBody => line(StatusCode::UNSUPPORTED_MEDIA_TYPE, "urn:portcullis:unsupported_body", "The content type or encoding of the body is not supported.", Nothing, 12, false),
        Reason::ObligationFailed => line(StatusCode::FORBIDDEN, "urn:portcullis:obligation_failed", "An obligation of the permit can't be met.", Nothing, 7, true),
        Reason::Unavailable => line(StatusCode::SERVICE_UNAVAILABLE, "urn:portcullis:unavailable", "A decision can't be made at this time.", Retry, 14, false),
        Reason::UpstreamFailed => line(StatusCode::BAD_GATEWAY, "urn:portcullis:upstream_failed", "The upstream failed.", RetryIdempotent, 14, false),
        Reason::UpstreamTimeout => line(StatusCode::GATEWAY_TIMEOUT, "urn:portcullis:upstream_timeout", "The upstream didn't answer in time.", RetryIdempotent, 4, false),
    };
    match (refusal.reason, refusal.stage) {
        (_, Stage::Misdirected) => row.status = StatusCode::MISDIRECTED_REQUEST,
        (Reason::ObligationFailed, Stage::After) => {
            row.status = StatusCode::BAD_GATEWAY;
            row.verdict = false;
        }
        (Reason::LimitReached, _) if row.retry_after.is_some() => {
            row.status = StatusCode::TOO_MANY_REQUESTS;
            row.next = Retry;
        }
        (Reason::Unavailable, _) => row.retry_after = row.retry_after.or(Some(Duration::from_secs(1))),
        (_, Stage::Before | Stage::After) => {}
    }
    row
}

fn next_action(row: &Row, method: &Method) -> &'static str {
    match row.next {
        Next::Request => "request",
        Next::Retry => "retry",
        Next::RetryIdempotent if method.is_idempotent() => "retry",
        Next::RetryIdempotent | Next::None => "none",
    }
}

/// RFC 9457, with extension members of our own.
#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    decision_id: &'a str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
    next_action: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    fields: &'a [Box<str>],
}

/// Trailers only (the gRPC protocol over HTTP/2, "Responses"): gRPC clients look at nothing else.
fn grpc(row: &Row, problem: &Problem<'_>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    headers.insert("grpc-status", HeaderValue::from(u16::from(row.grpc)));
    headers.insert("grpc-message", HeaderValue::from_static(row.title));
    let mut own = |name: HeaderName, value: &str| {
        headers.extend(HeaderValue::from_str(value).map(|value| (name, value)));
    };
    own(HeaderName::from_static("portcullis-reason"), problem.reason);
    own(
        HeaderName::from_static("portcullis-decision-id"),
        problem.decision_id,
    );
    if let Some(detail) = problem.detail {
        own(HeaderName::from_static("portcullis-detail"), detail);
    }
    response
}

/// MCP leaves -32000 to -32019 to implementations. Its SDKs take -32000 and -32001 for a connection that closed and
/// a request that timed out, which an agent would send again; A2A has -32001 to -32009.
const JSON_RPC_CODE: i32 = -32013;

/// A JSON-RPC 2.0 request that waits for an answer. A notification and a batch are none.
#[derive(Deserialize)]
struct JsonRpc<'b> {
    jsonrpc: String,
    #[expect(dead_code, reason = "a request has a method; which one doesn't matter")]
    method: String,
    /// The one thing of the caller's that comes back, as it was written: a number or a text.
    #[serde(borrow)]
    id: &'b RawValue,
}

impl<'b> JsonRpc<'b> {
    fn read(body: &'b [u8]) -> Option<JsonRpc<'b>> {
        let call: JsonRpc<'b> = serde_json::from_slice(body).ok()?;
        let id = call.id.get();
        let scalar = id.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit());
        (call.jsonrpc == "2.0" && scalar && id.len() <= 256).then_some(call)
    }
}

#[derive(Serialize)]
struct Reply<'a> {
    jsonrpc: &'static str,
    id: &'a RawValue,
    error: Failure<'a>,
}

#[derive(Serialize)]
struct Failure<'a> {
    code: i32,
    message: &'static str,
    data: Problem<'a>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn caller<'a>(method: &'a Method, body: Option<&'a [u8]>) -> Caller<'a> {
        Caller {
            method,
            version: Version::HTTP_11,
            grpc: false,
            body,
        }
    }

    fn answer(refusal: &Refusal, body: Option<&[u8]>) -> (Response<Bytes>, Value) {
        let response = respond(refusal, "D1", &caller(&Method::POST, body));
        let value = serde_json::from_slice(response.body()).unwrap();
        (response, value)
    }

    #[test]
    fn every_reason_has_its_line() {
        use Reason::*;
        let table = [
            (AmbiguousRequest, 400, "none"),
            (NoCredentials, 401, "retry"),
            (InvalidToken, 401, "retry"),
            (NoPolicy, 403, "none"),
            (Forbidden, 403, "none"),
            (ApprovalRequired, 403, "request"),
            (OutsideWindow, 403, "none"),
            (Revoked, 403, "none"),
            (LimitReached, 403, "none"),
            (BodyTooLarge, 413, "none"),
            (UnsupportedBody, 415, "none"),
            (ObligationFailed, 403, "none"),
            (Unavailable, 503, "retry"),
            (UpstreamFailed, 502, "none"),
            (UpstreamTimeout, 504, "none"),
        ];
        assert_eq!(table.map(|(reason, _, _)| reason), Reason::ALL);
        for (reason, status, next) in table {
            let (response, body) = answer(&Refusal::of(reason), None);
            assert_eq!(response.status(), status, "{reason}");
            assert_eq!(body["status"], status, "{reason}");
            assert_eq!(body["reason"], reason.code());
            assert_eq!(body["type"], format!("urn:portcullis:{reason}"));
            assert_eq!(body["decision_id"], "D1");
            assert_eq!(body["next_action"], next, "{reason}");
            assert_eq!(body.get("fields"), None);
            assert_eq!(response.headers()["cache-control"], "no-store");
            assert_eq!(
                response.headers()["content-type"],
                "application/problem+json"
            );
            assert_eq!(
                response.headers().contains_key("www-authenticate"),
                status == 401
            );
            assert_eq!(
                response.headers().contains_key("retry-after"),
                status == 503
            );
        }
    }

    #[test]
    fn the_stage_and_the_method_change_what_they_should() {
        assert_eq!(Refusal::misdirected().status(), 421);
        let after = Refusal {
            stage: Stage::After,
            ..Refusal::of(Reason::ObligationFailed)
        };
        assert_eq!(after.status(), 502);
        let limited = Refusal {
            retry_after: Some(Duration::from_millis(1500)),
            ..Refusal::of(Reason::LimitReached)
        };
        let (response, body) = answer(&limited, None);
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "2");
        assert_eq!(body["next_action"], "retry");
        let failed = Refusal::of(Reason::UpstreamFailed);
        let response = respond(&failed, "D1", &caller(&Method::GET, None));
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(body["next_action"], "retry");
    }

    #[test]
    fn a_denial_names_fields_and_no_policies() {
        let refusal = Refusal::from(Denial {
            reason: Reason::NoPolicy,
            fault: None,
            policies: vec!["secret-policy".into()],
            fields: vec!["body/br\"anch".into()],
        });
        let (_, body) = answer(&refusal, None);
        assert_eq!(body["fields"], json!(["body/br\"anch"]));
        assert!(!body.to_string().contains("secret-policy"));
    }

    #[test]
    fn json_rpc_gets_its_own_form() {
        let call = br#"{"jsonrpc":"2.0","id":"a1","method":"tools/call","params":{"x":1}}"#;
        let (response, body) = answer(&Refusal::of(Reason::Forbidden), Some(call));
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(body["id"], "a1");
        assert_eq!(body["error"]["code"], -32013);
        assert_eq!(body["error"]["data"]["status"], 403);
        assert_eq!(body["error"]["data"]["reason"], "forbidden");

        for id in ["123456789012345678901234567890", "1e2", "-0", r#""\u0061""#] {
            let call = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"m"}}"#);
            let caller = caller(&Method::POST, Some(call.as_bytes()));
            let response = respond(&Refusal::of(Reason::Forbidden), "d", &caller);
            let text = std::str::from_utf8(response.body()).unwrap();
            assert!(text.contains(&format!(r#""id":{id},"#)), "{text}");
        }

        let (response, body) = answer(&Refusal::of(Reason::Unavailable), Some(call));
        assert_eq!(
            (response.status().as_u16(), &body["id"]),
            (503, &json!("a1"))
        );
        let (response, _) = answer(&Refusal::of(Reason::NoCredentials), Some(call));
        assert_eq!(response.status(), 401);
        assert!(response.headers().contains_key("www-authenticate"));
    }

    #[test]
    fn what_is_no_call_gets_a_problem() {
        let long = format!(
            r#"{{"jsonrpc":"2.0","id":"{}","method":"m"}}"#,
            "x".repeat(300)
        );
        let bodies: &[&[u8]] = &[
            br#"{"jsonrpc":"2.0","method":"notify"}"#,
            br#"{"jsonrpc":"1.0","id":1,"method":"m"}"#,
            br#"{"jsonrpc":"2.0","id":null,"method":"m"}"#,
            br#"{"jsonrpc":"2.0","id":1,"id":2,"method":"m"}"#,
            br#"[{"jsonrpc":"2.0","id":1,"method":"m"}]"#,
            br#"{"jsonrpc":"2.0","id":{"a":1},"method":"m"}"#,
            b"not json",
            long.as_bytes(),
        ];
        for body in bodies {
            let (response, _) = answer(&Refusal::of(Reason::Forbidden), Some(body));
            assert_eq!(response.status(), 403, "{}", String::from_utf8_lossy(body));
        }
        let call = br#"{"jsonrpc":"2.0","id":1,"method":"m"}"#;
        let (response, body) = answer(&Refusal::from(Fault::JsonBom), Some(call));
        assert_eq!(
            (response.status().as_u16(), &body["detail"]),
            (400, &json!("json_bom"))
        );
    }

    #[test]
    fn grpc_gets_trailers_only() {
        let mut headers = HeaderMap::new();
        for (value, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;x=y", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
            assert_eq!(is_grpc(Version::HTTP_2, &headers), expected, "{value}");
            assert!(!is_grpc(Version::HTTP_11, &headers));
        }
        let caller = Caller {
            method: &Method::POST,
            version: Version::HTTP_2,
            grpc: true,
            body: None,
        };
        let response = respond(&Refusal::from(Fault::Framing), "D1", &caller);
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["grpc-status"], "3");
        assert_eq!(response.headers()["portcullis-decision-id"], "D1");
        assert_eq!(response.headers()["portcullis-detail"], "framing");
        assert!(response.body().is_empty());
    }
}
