//! The header rules towards an upstream and back.

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};

/// The rules of one request.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Headers that the permit names.
    pub named: &'a [HeaderName],
    /// Headers that the route passes on.
    pub forward: Forward<'a>,
    /// Headers that the proxy sets, and therefore takes from nobody.
    pub injected: &'a [HeaderName],
    /// Whether the verified credential is passed on.
    pub forward_credential: bool,
    /// Whether the upstream speaks HTTP/2.
    pub http2: bool,
    /// Whether this is a WebSocket handshake.
    pub websocket: bool,
}

/// Which headers a route passes on besides the inert set.
#[derive(Clone, Copy, Debug)]
pub enum Forward<'a> {
    /// These.
    Named(&'a [HeaderName]),
    /// All that aren't removed for a reason of their own.
    Any,
}

/// The headers that go upstream.
pub fn outbound(incoming: &HeaderMap, _: http::Version, rules: &Outgoing<'_>) -> HeaderMap {
    let passes = |name: &HeaderName| match rules.forward {
        Forward::Any => true,
        Forward::Named(names) => {
            names.contains(name)
                || rules.named.contains(name)
                || ["accept", "content-type", "user-agent", "te"].contains(&name.as_str())
                || rules.websocket && name.as_str().starts_with("sec-websocket-")
        }
    };
    let hop = [
        HOST,
        CONNECTION,
        UPGRADE,
        TRANSFER_ENCODING,
        CONTENT_LENGTH,
        EXPECT,
        TRAILER,
    ];
    let mut headers = HeaderMap::new();
    for (name, value) in incoming {
        let credential = name == "authorization" && !rules.forward_credential;
        let own = name.as_str().starts_with("x-forwarded-") || name == "forwarded";
        let te = *name == TE && !rules.http2;
        if passes(name)
            && !credential
            && !own
            && !te
            && !hop.contains(name)
            && !rules.injected.contains(name)
        {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

/// Removes from a response what is meant for one hop.
pub fn strip_response(headers: &mut HeaderMap, _http2: bool) {
    for name in [
        CONNECTION,
        UPGRADE,
        TRANSFER_ENCODING,
        HeaderName::from_static("keep-alive"),
    ] {
        headers.remove(name);
    }
}
