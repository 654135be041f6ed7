//! A response body on its way to the client.
//!
//! Frames pass one by one, unbuffered, while they are counted and hashed for the outcome record. The stream is
//! bounded by the upstream's silence, by the permit's window and by being judged again; whatever ends it, it ends
//! once, with an [`End`] that tells why. A body that breaks off reaches the client as a broken one: never as a
//! clean end that came early.
//!
//! What is not seen here: a client that takes no more bytes. hyper doesn't poll a body that it can't write, so
//! that bound stands at the listener's connection.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use aws_lc_rs::digest;
use bytes::Bytes;
use http::{Response, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use jiff::Timestamp;
use tokio::time::{Instant, Sleep};

use super::streams::Ticket;
use super::upstream::{BodyFault, PendingGuard, Sent};
use crate::audit::End;
use crate::policy::normalise::headers::strip_response;

/// What is told at the end, exactly once.
pub trait Closing: Send {
    /// The end, the bytes relayed to the client, and the SHA-256 over them.
    fn close(self: Box<Self>, end: End, bytes: u64, digest: [u8; 32]);
}

/// A moment after which no byte passes, and the end that it means.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at: Instant,
    end: End,
    /// The end of the right by the clock. That may be set while timers run on: a stream that lives by them alone
    /// would outlive its right.
    until: Option<Timestamp>,
}

/// The bounds of a stream.
#[derive(Debug, Default)]
pub struct Bounds {
    /// The upstream's longest silence.
    pub idle: Option<Duration>,
    /// The end of the right, or of the route's patience.
    pub deadline: Option<Deadline>,
    /// The entry under which the stream can be cut.
    pub ticket: Option<Ticket>,
}

/// Why a body broke off, for hyper; the client sees a broken connection or a reset stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the response ended early: {0:?}")]
pub struct BrokenOff(pub End);

/// A response body that is relayed.
pub struct Relay<B: Body> {
    inner: B,
    bounds: Bounds,
    /// Wakes a silent stream at the first of its bounds; armed when it is first silent.
    timer: Option<Pin<Box<Sleep>>>,
    /// Since when the upstream has been waited for.
    waits_since: Option<Instant>,
    meter: Meter,
    /// Dropped at the end, so that the connection goes back at once.
    pending: Option<PendingGuard>,
}

/// Counts and hashes what passes, and tells the end once.
pub(super) struct Meter {
    bytes: u64,
    hash: Option<digest::Context>,
    closing: Option<Box<dyn Closing>>,
}

impl Deadline {
    /// The first of the permit's end and the route's longest request, counted from now; `None`: neither is set.
    pub fn first(until: Option<Timestamp>, longest: Option<Duration>) -> Option<Deadline> {
        let now = Instant::now();
        let ends = until.and_then(|until| {
            // what has already ended, ends now
            let left = until.duration_since(Timestamp::now());
            let left = Duration::try_from(left).unwrap_or(Duration::ZERO);
            let at = now.checked_add(left)?;
            let end = End::Cut;
            Some(Deadline {
                at,
                end,
                until: Some(until),
            })
        });
        let longest = longest.and_then(|longest| {
            let at = now.checked_add(longest)?;
            let end = End::Aborted;
            Some(Deadline { at, end, until })
        });
        match (ends, longest) {
            (Some(a), Some(b)) => Some(if a.at <= b.at { a } else { b }),
            (one, other) => one.or(other),
        }
    }

    /// The moment.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// What it means to reach it.
    pub fn end(&self) -> End {
        self.end
    }

    /// What it means now; `None`: it has not come. To be asked before each byte.
    pub(super) fn passed(&self) -> Option<End> {
        if self.at <= Instant::now() {
            return Some(self.end);
        }
        let over = self.until.is_some_and(|until| until <= Timestamp::now());
        over.then_some(End::Cut)
    }
}

impl Relay<Incoming> {
    /// The answer to the client: the upstream's response without what was meant for this hop.
    pub fn response(
        sent: Sent,
        deadline: Option<Deadline>,
        ticket: Option<Ticket>,
        closing: Box<dyn Closing>,
    ) -> Response<Relay<Incoming>> {
        let (mut head, body) = sent.response.into_parts();
        strip_response(&mut head.headers);
        let bounds = Bounds {
            idle: sent.idle_timeout,
            deadline,
            ticket,
        };
        let relay = Relay::new(body, Some(sent.pending), bounds, closing);
        head.version = http::Version::default();
        head.extensions = http::Extensions::new();
        Response::from_parts(head, relay)
    }
}

impl<B> Relay<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    /// Relays a body; `pending` is held until its end.
    pub fn new(
        inner: B,
        pending: Option<PendingGuard>,
        bounds: Bounds,
        closing: Box<dyn Closing>,
    ) -> Relay<B> {
        Relay {
            inner,
            bounds,
            timer: None,
            waits_since: None,
            meter: Meter::new(closing),
            pending,
        }
    }

    fn poll_bounded(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, End>> {
        // the bounds come first: what they forbid doesn't pass, ready or not
        if let Some(ticket) = &mut self.bounds.ticket
            && let Poll::Ready(end) = ticket.poll_cut(cx)
        {
            return Poll::Ready(Err(end));
        }
        if let Some(end) = self.bounds.deadline.and_then(|d| d.passed()) {
            return Poll::Ready(Err(end));
        }
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.waits_since = None;
                Poll::Ready(frame.transpose().map_err(|_| self.failure()))
            }
            Poll::Pending => self.poll_silence(cx).map(Err),
        }
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let idle = self.bounds.idle;
        let deadline = self.bounds.deadline;
        if idle.is_none() && deadline.is_none() {
            return Poll::Pending;
        }
        let since = *self.waits_since.get_or_insert_with(Instant::now);
        let silent = idle.and_then(|idle| since.checked_add(idle));
        loop {
            let next = match (silent, deadline) {
                (Some(silent), Some(deadline)) => silent.min(deadline.at),
                (Some(at), None) | (None, Some(Deadline { at, .. })) => at,
                (None, None) => return Poll::Pending,
            };
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next)));
            if timer.as_mut().poll(cx).is_pending() {
                // an earlier silence may have armed it for earlier: then it wakes once for nothing,
                // which is cheaper than to arm it anew for every frame
                return Poll::Pending;
            }
            let now = Instant::now();
            if let Some(deadline) = deadline.filter(|deadline| deadline.at <= now) {
                return Poll::Ready(deadline.end);
            }
            if silent.is_some_and(|silent| silent <= now) {
                return Poll::Ready(End::UpstreamFailed);
            }
            timer.as_mut().reset(next);
        }
    }

    /// Whose fault an error of the body is.
    fn failure(&self) -> End {
        match self.pending.as_ref().and_then(PendingGuard::body_fault) {
            None | Some(BodyFault::Abandoned) => End::UpstreamFailed,
            Some(BodyFault::Broken) => End::ClientGone,
            Some(BodyFault::TooLarge | BodyFault::Idle) => End::Aborted,
        }
    }

    fn finish(&mut self, end: End) {
        self.meter.close(end);
        self.bounds.ticket = None;
        self.timer = None;
        self.pending = None;
    }
}

impl<B> Body for Relay<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = self.get_mut();
        if this.meter.closed() {
            return Poll::Ready(None);
        }
        let frame = match std::task::ready!(this.poll_bounded(cx)) {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                this.finish(End::Complete);
                return Poll::Ready(None);
            }
            Err(end) => {
                this.finish(end);
                return Poll::Ready(Some(Err(BrokenOff(end))));
            }
        };
        let frame = match frame.into_data() {
            Ok(data) => {
                this.meter.count(&data);
                if this.inner.is_end_stream() {
                    this.finish(End::Complete); // hyper won't ask again
                }
                Frame::data(data)
            }
            Err(frame) => match frame.into_trailers() {
                Ok(mut trailers) => {
                    strip_response(&mut trailers);
                    // would frame the message again, after its end
                    trailers.remove(header::CONTENT_LENGTH);
                    this.finish(End::Complete);
                    Frame::trailers(trailers)
                }
                Err(frame) => frame,
            },
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B: Body> Drop for Relay<B> {
    fn drop(&mut self) {
        // hyper never polls a body that is empty from the start
        let through = self.inner.is_end_stream();
        self.meter.close(if through {
            End::Complete
        } else {
            End::ClientGone
        });
    }
}

impl Meter {
    pub(super) fn new(closing: Box<dyn Closing>) -> Meter {
        Meter {
            bytes: 0,
            hash: None,
            closing: Some(closing),
        }
    }

    pub(super) fn count(&mut self, data: &[u8]) {
        self.bytes = self.bytes.saturating_add(data.len() as u64);
        self.hash
            .get_or_insert_with(|| digest::Context::new(&digest::SHA256))
            .update(data);
    }

    pub(super) fn closed(&self) -> bool {
        self.closing.is_none()
    }

    /// Tells the end; a later end is none.
    pub(super) fn close(&mut self, end: End) {
        if let Some(closing) = self.closing.take() {
            let hash = self.hash.take().map(digest::Context::finish);
            let digest = hash.and_then(|hash| hash.as_ref().try_into().ok());
            closing.close(end, self.bytes, digest.unwrap_or(SHA256_OF_NOTHING));
        }
    }
}

impl<B: Body> fmt::Debug for Relay<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("bytes", &self.meter.bytes)
            .finish_non_exhaustive()
    }
}

const SHA256_OF_NOTHING: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

#[cfg(test)]
mod tests;
