//! Which headers go on to the upstream, and which of its answer to the client.
//!
//! Three sorts of request headers: those that never go (they belong to the connection, or say to an upstream
//! what only a proxy may say), the inert ones that always go, and the rest, which goes where the permit names
//! it or the route lets it. *Inert* is what can't change what is done to which resource: the worst that an
//! inert header does is to make the upstream refuse, or answer in another form.

use http::{HeaderMap, HeaderName, HeaderValue, Version, header};

use super::elements;

/// Which client headers a route passes on besides the inert ones and those that the permit names.
#[derive(Clone, Copy, Debug)]
pub enum Forward<'r> {
    /// These.
    Named(&'r [HeaderName]),
    /// All that aren't kept back for a reason of their own.
    Any,
}

/// The rules for one request's headers.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'r> {
    /// The headers that the permit names.
    pub named: &'r [HeaderName],
    /// Those that the route passes on.
    pub forward: Forward<'r>,
    /// Those that the proxy sets itself, so the client's never go.
    pub injected: &'r [HeaderName],
    /// Whether the verified credential goes on.
    pub forward_credential: bool,
    /// Whether HTTP/2 is spoken to the upstream.
    pub http2: bool,
    /// Whether this is a WebSocket handshake.
    pub websocket: bool,
}

/// The headers to forward, cloned from those that came. Host, Connection, Upgrade and what the config injects
/// are for the caller to set; Content-Length and Content-Encoding are for it to correct where it forwards a
/// decoded body.
pub fn outbound(incoming: &HeaderMap, version: Version, rules: &Outgoing<'_>) -> HeaderMap {
    let mut forwarded = HeaderMap::with_capacity(incoming.len() + rules.injected.len() + 4);
    for (name, value) in incoming {
        if passes(name, incoming, rules) {
            forwarded.append(name.clone(), value.clone());
        }
    }
    if version == Version::HTTP_2 {
        join_crumbs(&mut forwarded);
    }
    // HTTP/2 keeps one use of TE, by which gRPC clients say that they read trailers (RFC 9113, 8.2.2)
    if rules.http2 && version == Version::HTTP_2 && accepts_trailers(incoming) {
        forwarded.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    forwarded
}

/// Whether a header is inert, and so always forwarded:
///
/// - what the answer should look like: the `accept` family, `cache-control` and `pragma`;
/// - conditions, which only keep a request from being done or its answer short, and `range`, which RFC 9110
///   (14.2) defines for GET alone (Azure's storage reads it on PUT, so it stays back where a body comes too);
/// - what the body is: `content-type` (judged with the body), its length, encoding, language and digests, but
///   not `content-range` (which part is written) nor `content-disposition` (under which name);
/// - who asks by which software, and when: `user-agent`, `date`;
/// - tracing and scheduling: `traceparent`, `tracestate`, `x-request-id`, `priority`, but not `baggage`, which
///   applications route on;
/// - gRPC's deadline and compression;
/// - where an event stream goes on: `last-event-id`;
/// - the WebSocket handshake (forwarded with one only; no policy judges the frames that it opens);
/// - MCP's version and session, without which the protocol doesn't work; but not `mcp-method`, `mcp-name` and
///   `mcp-param-*`: they repeat facts of the body, and a server that believes them must see them judged.
///
/// Not inert, though harmless to many: `prefer` (PostgREST upserts by it), `idempotency-key` (nothing is done
/// the second time), `origin`, `referer`, `cookie`, `forwarded` and every other `x-…`.
pub fn is_inert(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "accept"
            | "accept-charset"
            | "accept-encoding"
            | "accept-language"
            | "cache-control"
            | "content-digest"
            | "content-encoding"
            | "content-language"
            | "content-length"
            | "content-md5"
            | "content-type"
            | "date"
            | "grpc-accept-encoding"
            | "grpc-encoding"
            | "grpc-timeout"
            | "if-match"
            | "if-modified-since"
            | "if-none-match"
            | "if-range"
            | "if-unmodified-since"
            | "last-event-id"
            | "mcp-protocol-version"
            | "mcp-session-id"
            | "pragma"
            | "priority"
            | "range"
            | "repr-digest"
            | "sec-websocket-extensions"
            | "sec-websocket-key"
            | "sec-websocket-protocol"
            | "sec-websocket-version"
            | "te"
            | "traceparent"
            | "tracestate"
            | "user-agent"
            | "x-request-id"
    )
}

/// Removes from a response what belongs to the upstream's connection, and whatever its Connection nominates.
/// With `http1_upgrade` (a 101 that is passed on) Upgrade stays, under a Connection that says just that.
///
/// Trailer stays: it announces fields that are forwarded (RFC 9110, 6.6.2).
pub fn strip_response(headers: &mut HeaderMap, http1_upgrade: bool) {
    // collected first, since the nominating header is in the same map
    let nominated: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(elements)
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .collect();
    let upgrade = headers.remove(header::UPGRADE).filter(|_| http1_upgrade);
    for name in nominated {
        headers.remove(name);
    }
    for name in [
        header::CONNECTION,
        header::PROXY_AUTHENTICATE,
        header::TE,
        header::TRANSFER_ENCODING,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ] {
        headers.remove(name);
    }
    if let Some(protocol) = upgrade {
        headers.insert(header::UPGRADE, protocol);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

fn passes(name: &HeaderName, incoming: &HeaderMap, rules: &Outgoing<'_>) -> bool {
    if never_passes(name.as_str()) || rules.injected.contains(name) {
        return false;
    }
    if *name == header::AUTHORIZATION {
        return rules.forward_credential;
    }
    if name.as_str().starts_with("sec-websocket-") && !rules.websocket {
        return false;
    }
    if is_inert(name) && !(*name == header::RANGE && has_body(incoming)) {
        return true;
    }
    rules.named.contains(name)
        || match rules.forward {
            Forward::Named(names) => names.contains(name),
            Forward::Any => !only_by_name(name.as_str()),
        }
}

/// The connection's own headers, and those by which a proxy tells an upstream whence a request came and what
/// it was for: an upstream must be able to believe them.
fn never_passes(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "expect"
            | "forwarded"
            | "host"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "x-forwarded"
            | "x-original-url"
            | "x-real-ip"
            | "x-rewrite-url"
    ) || name.starts_with("x-forwarded-")
        || name.starts_with("x-portcullis-")
}

/// What `any` doesn't mean: headers in which other proxies vouch for an address, an identity or a path, and
/// names that some upstream would take for another one, because all their signs become `_` there.
fn only_by_name(name: &str) -> bool {
    matches!(
        name,
        "cf-connecting-ip"
            | "client-cert"
            | "client-cert-chain"
            | "client-ip"
            | "fastly-client-ip"
            | "remote-user"
            | "true-client-ip"
            | "x-client-cert"
            | "x-client-ip"
            | "x-cluster-client-ip"
            | "x-host"
    ) || BELIEVED.iter().any(|prefix| name.starts_with(prefix))
        || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// HTTP/2 may send a cookie in crumbs; to who reads them as HTTP/1.1 does they are one field (RFC 9113, 8.2.3).
fn join_crumbs(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if crumbs.len() > 1
        && let Ok(whole) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, whole);
    }
}

fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers
            .get(header::CONTENT_LENGTH)
            .is_some_and(|length| length.as_bytes() != b"0")
}

fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::TE)
        .iter()
        .flat_map(elements)
        .any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

const BELIEVED: [&str; 6] = [
    "ssl-client-",
    "x-envoy-",
    "x-original-",
    "x-remote-",
    "x-rewrite-",
    "x-ssl-client-",
];

#[cfg(test)]
mod tests;
