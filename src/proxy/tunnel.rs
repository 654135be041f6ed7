//! WebSocket tunnels (RFC 6455): a handshake that a policy permitted, then bytes both ways, unjudged.
//!
//! 1. [`Handshake::read`] takes the client's half, strictly.
//! 2. [`accept`] checks the upstream's 101 against it. Any other response is relayed as usual, without a tunnel.
//! 3. [`upgrade`] answers the client and copies until an end: either side's, the permit's, a cut, or silence.
//!
//! No byte of the client reaches the upstream before its 101: only then is there somewhere to copy it to. Frames
//! aren't read, so a cut closes the connections without a close frame, which might land inside another.

mod copy;

use std::fmt;
use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Response, StatusCode, Version};
use http_body_util::Empty;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::relay::{Bounds, Closing, Meter};
use super::upstream::{PendingGuard, Sent, UpstreamError};
use crate::audit::End;
use crate::policy::normalise::headers::strip_response;
use copy::Copy;

/// A client's valid opening handshake.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// What the upstream's `Sec-WebSocket-Accept` must say.
    accept: Box<str>,
}

/// An upstream that agreed to the handshake.
pub struct Accepted {
    headers: HeaderMap,
    upstream: OnUpgrade,
    pending: PendingGuard,
    idle: Option<Duration>,
    /// Scheme and authority of the server.
    pub address: Arc<str>,
}

impl Handshake {
    /// The handshake in a request's head; `None` where it is none, or one that could be read in two ways.
    pub fn read(method: &Method, version: Version, headers: &HeaderMap) -> Option<Handshake> {
        let key = only(headers, &SEC_WEBSOCKET_KEY)?.as_bytes();
        let valid = *method == Method::GET
            && version == Version::HTTP_11
            && upgrades_to_websocket(headers)
            && only(headers, &SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13")
            && BASE64_STANDARD.decode(key).is_ok_and(|key| key.len() == 16)
            && !headers.contains_key(TRANSFER_ENCODING)
            && headers
                .get(CONTENT_LENGTH)
                .is_none_or(|length| length == "0");
        valid.then(|| {
            let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
            hash.update(key);
            hash.update(GUID);
            let accept = BASE64_STANDARD.encode(hash.finish()).into_boxed_str();
            Handshake { accept }
        })
    }
}

/// Takes a 101 as the answer to this handshake, or refuses it as broken.
pub fn accept(handshake: &Handshake, mut sent: Sent) -> Result<Accepted, UpstreamError> {
    let headers = sent.response.headers();
    let wrong = if sent.response.status() != StatusCode::SWITCHING_PROTOCOLS {
        Some("no 101")
    } else if !upgrades_to_websocket(headers) {
        Some("a 101 to something else than websocket")
    } else if only(headers, &SEC_WEBSOCKET_ACCEPT).is_none_or(|value| *value != *handshake.accept) {
        Some("a 101 with a wrong Sec-WebSocket-Accept")
    } else {
        None
    };
    if let Some(wrong) = wrong {
        return Err(UpstreamError::Unexpected(wrong));
    }
    let upstream = hyper::upgrade::on(&mut sent.response);
    let mut headers = std::mem::take(sent.response.headers_mut());
    strip_response(&mut headers);
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    Ok(Accepted {
        headers,
        upstream,
        pending: sent.pending,
        idle: sent.idle_timeout,
        address: sent.address,
    })
}

/// The 101 for the client. The tunnel runs in a task of its own, from when the client's side is upgraded (`client`
/// is hyper's `upgrade::on` of its request); `bounds.idle` is the upstream's where it is unset. `closing` is told the
/// bytes that went to the client.
pub fn upgrade(
    accepted: Accepted,
    client: OnUpgrade,
    mut bounds: Bounds,
    closing: Box<dyn Closing>,
) -> Response<Empty<Bytes>> {
    bounds.idle = bounds.idle.or(accepted.idle);
    let tunnel = Tunnel {
        client,
        upstream: accepted.upstream,
        bounds,
        closes: Closes(Meter::new(closing)),
        _pending: accepted.pending,
    };
    tokio::spawn(tunnel.run());
    let mut response = Response::new(Empty::new());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = accepted.headers;
    response
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

struct Tunnel {
    client: OnUpgrade,
    upstream: OnUpgrade,
    bounds: Bounds,
    closes: Closes,
    _pending: PendingGuard,
}

/// A tunnel whose task is dropped was ended by the proxy's stop.
struct Closes(Meter);

impl Tunnel {
    async fn run(mut self) {
        let end = self.ended().await;
        self.closes.0.close(end);
    }

    async fn ended(&mut self) -> End {
        let Tunnel {
            client,
            upstream,
            bounds,
            closes,
            ..
        } = self;
        let (idle, deadline) = (bounds.idle, bounds.deadline);
        let mut bound = std::pin::pin!(bound(bounds));
        let both = async {
            let upstream = upstream.await.map_err(|_| End::UpstreamFailed)?;
            let client = client.await.map_err(|_| End::ClientGone)?;
            Ok((TokioIo::new(client), TokioIo::new(upstream)))
        };
        let (client, upstream) = tokio::select! {
            biased;
            end = &mut bound => return end,
            both = both => match both {
                Ok(both) => both,
                Err(end) => return end,
            },
        };
        let mut copy = Copy::new(client, upstream, idle);
        poll_fn(|cx| {
            // the bound first: what it forbids doesn't pass
            if let Poll::Ready(end) = bound.as_mut().poll(cx) {
                return Poll::Ready(end);
            }
            if let Some(end) = deadline.and_then(|deadline| deadline.passed()) {
                return Poll::Ready(end);
            }
            copy.poll(cx, &mut closes.0)
        })
        .await
    }
}

impl Drop for Closes {
    fn drop(&mut self) {
        self.0.close(End::Aborted);
    }
}

/// Waits until the deadline or the cut.
async fn bound(bounds: &mut Bounds) -> End {
    let cut = async {
        match &mut bounds.ticket {
            Some(ticket) => ticket.cut().await,
            None => pending().await,
        }
    };
    let late = async {
        match bounds.deadline {
            Some(deadline) => {
                tokio::time::sleep_until(deadline.at()).await;
                deadline.end()
            }
            None => pending().await,
        }
    };
    tokio::select! {
        biased;
        end = cut => end,
        end = late => end,
    }
}

fn upgrades_to_websocket(headers: &HeaderMap) -> bool {
    let named = |value: &HeaderValue| {
        let text = value.to_str().unwrap_or_default();
        text.split(',')
            .any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
    };
    only(headers, &UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && headers.get_all(CONNECTION).iter().any(named)
}

/// The header's value, if it is there once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// RFC 6455, 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[cfg(test)]
mod tests;
