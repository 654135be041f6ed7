//! From a permit to the upstream.
//!
//! [`forward`] takes a [`Permit`] by value, and only a decision makes one: without it nothing leaves (invariant 1).
//! What leaves is the [`Canonical`] request that was judged, byte for byte (invariant 3): the URI is never
//! decoded, resolved or encoded again, and if the URI type should read it in another way, nothing is sent.
//!
//! Headers are those that the header rules let through, then the route's, then the permit's, then the proxy's
//! own, each over the ones before. There is no `Via`: the `Forwarded` family says more, and servers stop
//! compressing where they see one.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, StatusCode, Uri, Version};

use super::relay::Deadline;
use super::upstream::{RequestBody, Sent, Upstream, UpstreamError};
use crate::audit::End;
use crate::config::{ForwardHeaders, Protocol, Route};
use crate::policy::normalise::headers::{self, Forward, Outgoing};
use crate::policy::{Canonical, Permit};

/// What is forwarded. No `Debug`: it holds credentials.
pub struct Outbound<'a> {
    /// The route.
    pub route: &'a Route,
    /// The request as judged.
    pub request: &'a Canonical,
    /// The headers as they came.
    pub headers: &'a HeaderMap,
    /// The client's HTTP version.
    pub version: Version,
    /// The body.
    pub body: RequestBody,
    /// The client's address.
    pub client: SocketAddr,
    /// Whether the client came by TLS.
    pub tls: bool,
    /// The trace context that the upstream sees.
    pub traceparent: HeaderValue,
    /// Names of the headers that the route sets, which nobody else may.
    pub injected: &'a [HeaderName],
    /// Whether this is a WebSocket handshake.
    pub websocket: bool,
}

/// Sends a permitted request and waits for the head of its response, but not past the end of the permit or the
/// route's longest request. Dropping the future ends the request.
pub async fn forward(
    permit: Permit,
    outbound: Outbound<'_>,
    upstream: &Arc<Upstream>,
) -> Result<Sent, UpstreamError> {
    let deadline = Deadline::first(permit.until(), outbound.route.request_timeout);
    // A timeout looks at its future first, and would let a byte out.
    if let Some(end) = deadline.and_then(|deadline| deadline.passed()) {
        return Err(match end {
            End::Cut => UpstreamError::Expired,
            _ => UpstreamError::Timeout,
        });
    }
    let websocket = outbound.websocket;
    let request = request(&permit, outbound, upstream)?;
    let sending = upstream.send(request);
    let sent = match deadline {
        None => sending.await?,
        Some(deadline) => match tokio::time::timeout_at(deadline.at(), sending).await {
            Ok(sent) => sent?,
            Err(_) if deadline.end() == End::Cut => return Err(UpstreamError::Expired),
            Err(_) => return Err(UpstreamError::Timeout),
        },
    };
    if sent.response.status() == StatusCode::SWITCHING_PROTOCOLS && !websocket {
        return Err(UpstreamError::Unexpected("101 without an upgrade"));
    }
    Ok(sent)
}

/// The request that the upstream sees.
fn request(
    permit: &Permit,
    outbound: Outbound<'_>,
    upstream: &Upstream,
) -> Result<Request<RequestBody>, UpstreamError> {
    let http2 = upstream.protocol() == Protocol::Http2;
    if http2 && outbound.websocket {
        return Err(UpstreamError::Unsendable("a WebSocket over HTTP/2"));
    }
    let route = outbound.route;
    let mut headers = headers::outbound(
        outbound.headers,
        outbound.version,
        &Outgoing {
            named: permit.named_headers(),
            forward: match &route.forward_headers {
                ForwardHeaders::Named(names) => Forward::Named(names),
                ForwardHeaders::Any => Forward::Any,
            },
            injected: outbound.injected,
            forward_credential: route.forward_credential,
            body: !matches!(outbound.body, RequestBody::Empty),
            http2,
            websocket: outbound.websocket,
        },
    );
    for (name, source) in &route.set_headers {
        let mut value = source.value.clone();
        value.set_sensitive(true);
        headers.insert(name.clone(), value);
    }
    for (name, value) in permit.set_headers() {
        headers.insert(name.clone(), value.clone());
    }
    let authority = authority(outbound.request, outbound.headers)?;
    trail(&mut headers, &outbound, &authority)?;
    headers.insert(TRACEPARENT, outbound.traceparent);
    frame(
        &mut headers,
        &outbound.body,
        outbound.request.method(),
        http2,
    );
    if !http2 && !expects_body(outbound.request.method()) && !outbound.body.is_empty() {
        // Servers exist that leave such a body on the connection and take it for the next request (CL.0). They read
        // none after this one, and it carries nobody else's.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if outbound.websocket {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    let host = route.upstream_host.clone().unwrap_or(authority);
    let target = target(outbound.request)?;
    let uri = if http2 {
        headers.remove(HOST); // `:authority` says it
        absolute(upstream.scheme(), &host, target)?
    } else {
        headers.insert(HOST, host);
        Uri::from(target)
    };
    let mut request = Request::new(outbound.body);
    *request.method_mut() = Method::from_bytes(outbound.request.method().as_bytes())
        .map_err(|_| UpstreamError::Unsendable("the method"))?;
    *request.uri_mut() = uri;
    *request.version_mut() = if http2 {
        Version::HTTP_2
    } else {
        Version::HTTP_11
    };
    *request.headers_mut() = headers;
    Ok(request)
}

/// Path and query as judged. The URI type drops a fragment without a word, so what it kept is compared.
fn target(request: &Canonical) -> Result<PathAndQuery, UpstreamError> {
    let text = Bytes::copy_from_slice(request.target().as_bytes());
    match PathAndQuery::from_maybe_shared(text) {
        Ok(target) if target.as_str() == request.target() => Ok(target),
        Ok(_) | Err(_) => Err(UpstreamError::Unsendable("the path or query")),
    }
}

fn absolute(
    scheme: &Scheme,
    host: &HeaderValue,
    target: PathAndQuery,
) -> Result<Uri, UpstreamError> {
    let unsendable = || UpstreamError::Unsendable("the host");
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme.clone());
    parts.authority = Some(Authority::try_from(host.as_bytes()).map_err(|_| unsendable())?);
    parts.path_and_query = Some(target);
    Uri::from_parts(parts).map_err(|_| unsendable())
}

/// The judged host and port; the client's own header value where it says just that.
fn authority(request: &Canonical, headers: &HeaderMap) -> Result<HeaderValue, UpstreamError> {
    let judged = request.authority();
    match headers.get(HOST) {
        Some(given) if given == judged => Ok(given.clone()),
        Some(_) | None => {
            HeaderValue::from_str(judged).map_err(|_| UpstreamError::Unsendable("the host"))
        }
    }
}

/// Where the request comes from: the `X-Forwarded` headers, and RFC 7239 for those who read it.
fn trail(
    headers: &mut HeaderMap,
    outbound: &Outbound<'_>,
    authority: &HeaderValue,
) -> Result<(), UpstreamError> {
    let unsendable = |_| UpstreamError::Unsendable("the client's address");
    let proto = if outbound.tls { "https" } else { "http" };
    // a listener on `::` sees an IPv4 client as `::ffff:192.0.2.1`
    let ip = outbound.client.ip().to_canonical();
    let mut text = String::with_capacity(48 + authority.len());
    let _ = write!(text, "{ip}");
    headers.insert(
        X_FORWARDED_FOR,
        HeaderValue::from_str(&text).map_err(unsendable)?,
    );
    text.clear();
    let _ = match ip {
        IpAddr::V4(ip) => write!(text, "for={ip}"),
        IpAddr::V6(ip) => write!(text, "for=\"[{ip}]\""),
    };
    // the judged host holds neither quotes nor backslashes; one that did would be left out
    if let Ok(host) = authority.to_str()
        && !host.contains(['"', '\\'])
    {
        let _ = write!(text, ";host=\"{host}\"");
    }
    let _ = write!(text, ";proto={proto}");
    headers.insert(FORWARDED, HeaderValue::try_from(text).map_err(unsendable)?);
    headers.insert(X_FORWARDED_HOST, authority.clone());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(proto));
    Ok(())
}

/// Whether servers expect a body with this method.
fn expects_body(method: &str) -> bool {
    matches!(method, "POST" | "PUT" | "PATCH")
}

/// Frames the message anew, by the body that is really sent. (A hop's framing headers were removed before.)
fn frame(headers: &mut HeaderMap, body: &RequestBody, method: &str, http2: bool) {
    headers.remove(TRANSFER_ENCODING);
    headers.remove(CONTENT_LENGTH);
    let length = match body {
        // servers ask for a length where the method gives a body a meaning (RFC 9110, 8.6)
        RequestBody::Empty => expects_body(method).then_some(0),
        RequestBody::Full(bytes) => Some(bytes.len() as u64),
        RequestBody::Stream(stream) => match stream.length() {
            None if !http2 => {
                // said outright: hyper would send a GET without its body
                headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
                None
            }
            length => length,
        },
    };
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

#[cfg(test)]
mod tests;
