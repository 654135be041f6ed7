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
    /// Whether a body goes with them, which HTTP/2 need not announce.
    pub body: bool,
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
        if passes(name, rules) {
            forwarded.append(name.clone(), value.clone());
        }
    }
    // An HTTP/2 client may send its cookies in crumbs, which are one header everywhere else (RFC 9113, 8.2.3): of several
    // Cookie lines servers of HTTP/1.1 read the first, the last or all.
    if !rules.http2 && version == Version::HTTP_2 {
        join_cookies(&mut forwarded);
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
///
/// Trailer stays: it announces fields that are forwarded (RFC 9110, 6.6.2).
pub fn strip_response(headers: &mut HeaderMap) {
    // collected first, since the nominating header is in the same map
    let nominated: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(elements)
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .collect();
    for name in nominated {
        headers.remove(name);
    }
    for name in [
        header::CONNECTION,
        header::PROXY_AUTHENTICATE,
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ] {
        headers.remove(name);
    }
}

fn passes(name: &HeaderName, rules: &Outgoing<'_>) -> bool {
    if never_passes(name.as_str()) || rules.injected.contains(name) {
        return false;
    }
    if *name == header::AUTHORIZATION {
        return rules.forward_credential;
    }
    if name.as_str().starts_with("sec-websocket-") && !rules.websocket {
        return false;
    }
    if is_inert(name) && !(*name == header::RANGE && rules.body) {
        return true;
    }
    rules.named.contains(name)
        || match rules.forward {
            Forward::Named(names) => names.contains(name),
            Forward::Any => !only_by_name(name.as_str()),
        }
}

/// The connection's own headers, and those by which a proxy tells an upstream whence a request came and what
/// it was for: an upstream must be able to believe them. `Proxy` is nobody's header, and becomes the variable
/// `HTTP_PROXY` of a CGI program, whose own requests then go there.
fn never_passes(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "expect"
            | "forwarded"
            | "host"
            | "http2-settings"
            | "keep-alive"
            | "proxy"
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

/// What `any` doesn't mean: headers in which other proxies vouch for an address, an identity or a path, those that read
/// like a CGI program's own variables, those by which a server or framework is told to skip a check or where to look, and
/// names that some upstream would take for another one, because all their signs become `_` there.
fn only_by_name(name: &str) -> bool {
    matches!(
        name,
        "cf-connecting-ip"
            | "client-cert"
            | "client-cert-chain"
            | "client-ip"
            | "fastly-client-ip"
            | "fly-client-ip"
            | "front-end-https"
            | "path-info"
            | "path-translated"
            | "remote-addr"
            | "remote-host"
            | "remote-ident"
            | "remote-port"
            | "remote-user"
            | "request-uri"
            | "script-name"
            | "server-name"
            | "server-port"
            | "ssl-cert"
            | "true-client-ip"
            | "wl-proxy-client-ip"
            | "x-azure-clientip"
            | "x-azure-socketip"
            | "x-client-cert"
            | "x-client-dn"
            | "x-client-ip"
            | "x-client-verified"
            | "x-client-verify"
            | "x-cluster-client-ip"
            | "x-forward-for"
            | "x-host"
            | "x-http-host-override"
            | "x-http-path-override"
            | "x-proxyuser-ip"
            | "x-scheme"
            | "x-url-scheme"
    ) || BELIEVED.iter().any(|prefix| name.starts_with(prefix))
        || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn join_cookies(headers: &mut HeaderMap) {
    let crumbs = headers.get_all(header::COOKIE);
    if crumbs.iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = crumbs.iter().map(HeaderValue::as_bytes).collect();
    // Values that were valid one by one are so together; were they not, no cookie would go on.
    let joined = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]));
    headers.remove(header::COOKIE);
    headers.extend(joined.map(|joined| (header::COOKIE, joined)));
}

fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::TE)
        .iter()
        .flat_map(elements)
        .any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

/// How the names begin in which gateways say whom they have verified, and what was asked for. Sign-on proxies and the
/// gateways of clouds each have their own.
const BELIEVED: [&str; 29] = [
    "cf-access-",
    "http-client-",
    "http-x-",
    "proxy-client-",
    "ssl-client-",
    "tailscale-user-",
    "x-accel-",
    "x-amzn-oidc-",
    "x-appengine-",
    "x-arr-",
    "x-auth-request-",
    "x-authenticated-",
    "x-authentik-",
    "x-consumer-",
    "x-envoy-",
    "x-goog-authenticated-user-",
    "x-goog-iap-",
    "x-middleware-",
    "x-ms-client-principal",
    "x-original-",
    "x-override-",
    "x-pomerium-",
    "x-remote-",
    "x-rewrite-",
    "x-sendfile-",
    "x-ssl-cert",
    "x-ssl-client-",
    "x-vouch-",
    "x-webauth-",
];

#[cfg(test)]
mod tests;
