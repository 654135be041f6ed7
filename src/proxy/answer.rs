//! The body of whatever the client gets: an answer of our own, or the upstream's response.
//!
//! On HTTP/2 a client may open no window for a response and keep its connection alive for ever. hyper then holds one
//! frame back and doesn't poll the body, so nothing that bounds a body would be looked at: neither the end of the
//! right nor a cut. A guard stands beside such a response, and ends it when a frame was held back for
//! `timeouts.idle`. (On HTTP/1.1 the connection's own clock does that, see `wire.rs`.)

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::{Instant, sleep_until};

use super::relay::{BrokenOff, Relay};
use super::wire::Busy;
use crate::audit::End;

/// A response body, and the sign that its exchange is still open.
#[derive(Debug)]
pub struct Answer {
    content: Content,
    busy: Option<Busy>,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every answer is the upstream's, and a box would cost each an allocation"
)]
enum Content {
    Own(Full<Bytes>),
    Upstream(Relay<Incoming>),
    Guarded(Guarded<Relay<Incoming>>),
}

/// A body whose client may stop to take it, of which nobody but a clock would tell.
#[derive(Debug)]
struct Guarded<B>(Arc<Mutex<Taken<B>>>);

#[derive(Debug)]
struct Taken<B> {
    /// Gone when the client took too long.
    body: Option<B>,
    /// Gone with the last frame: a client that leaves that one doesn't keep the connection open.
    busy: Option<Busy>,
    /// Since when the client is waited for.
    waits: Option<Instant>,
    idle: Duration,
    guarded: bool,
}

impl Answer {
    /// An answer of our own.
    pub fn own(bytes: Bytes, busy: Busy) -> Answer {
        Answer {
            content: Content::Own(Full::new(bytes)),
            busy: Some(busy),
        }
    }

    /// The upstream's.
    pub fn upstream(relay: Relay<Incoming>, busy: Busy) -> Answer {
        Answer {
            content: Content::Upstream(relay),
            busy: Some(busy),
        }
    }

    /// The upstream's over HTTP/2: it ends where the client takes nothing of it for `idle`.
    pub fn guarded(relay: Relay<Incoming>, busy: Busy, idle: Duration) -> Answer {
        Answer {
            content: Content::Guarded(Guarded::new(relay, Some(busy), idle)),
            busy: None,
        }
    }
}

impl<B> Guarded<B>
where
    B: Body<Error = BrokenOff> + Unpin + Send + 'static,
{
    fn new(body: B, busy: Option<Busy>, idle: Duration) -> Guarded<B> {
        Guarded(Arc::new(Mutex::new(Taken {
            body: Some(body),
            busy,
            waits: None,
            idle,
            guarded: false,
        })))
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BrokenOff>>> {
        let mut taken = lock(&self.0);
        taken.waits = None;
        let Some(body) = &mut taken.body else {
            return Poll::Ready(Some(Err(BrokenOff(End::ClientGone))));
        };
        let frame = Pin::new(&mut *body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(_))) = &frame {
            if body.is_end_stream() {
                taken.busy = None;
            } else {
                taken.waits = Some(Instant::now());
                if !std::mem::replace(&mut taken.guarded, true) {
                    tokio::spawn(guard(Arc::downgrade(&self.0)));
                }
            }
        }
        frame
    }
}

/// Ends a body whose client takes nothing for too long. It looks once in that time, so that a body that flows costs
/// no timer for each frame.
async fn guard<B>(of: Weak<Mutex<Taken<B>>>) {
    loop {
        let Some(taken) = of.upgrade() else { return };
        let at = {
            let mut taken = lock(&taken);
            let now = Instant::now();
            let over = taken.waits.unwrap_or(now) + taken.idle;
            if over <= now {
                // Closes the outcome and the upstream's side; the stream itself breaks off when hyper asks again.
                taken.body = None;
                taken.busy = None;
                return;
            }
            over
        };
        drop(taken);
        sleep_until(at).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = self.get_mut();
        match &mut this.content {
            Content::Own(own) => {
                // All of it is handed over: a client that leaves it doesn't keep the connection open.
                this.busy = None;
                Pin::new(own).poll_frame(cx).map_err(|never| match never {})
            }
            Content::Upstream(relay) => Pin::new(relay).poll_frame(cx),
            Content::Guarded(guarded) => guarded.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Own(own) => own.is_end_stream(),
            Content::Upstream(relay) => relay.is_end_stream(),
            Content::Guarded(Guarded(taken)) => {
                let taken = lock(taken);
                taken.body.as_ref().is_some_and(Body::is_end_stream)
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Own(own) => own.size_hint(),
            Content::Upstream(relay) => relay.size_hint(),
            Content::Guarded(Guarded(taken)) => {
                let taken = lock(taken);
                taken
                    .body
                    .as_ref()
                    .map_or_else(SizeHint::new, Body::size_hint)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    const IDLE: Duration = Duration::from_secs(60);

    /// A body of so many frames.
    fn frames(count: usize) -> impl Body<Data = Bytes, Error = BrokenOff> + Unpin + Send + 'static {
        let frame = || Ok(Frame::data(Bytes::from_static(b"frame")));
        StreamBody::new(futures_util::stream::iter(
            std::iter::repeat_with(frame).take(count),
        ))
    }

    fn poll<B>(guarded: &Guarded<B>) -> Option<Result<Bytes, BrokenOff>>
    where
        B: Body<Data = Bytes, Error = BrokenOff> + Unpin + Send + 'static,
    {
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        match guarded.poll(cx) {
            Poll::Ready(frame) => frame.map(|f| f.map(|f| f.into_data().unwrap())),
            Poll::Pending => panic!("always ready"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_no_more_ends_the_body() {
        let guarded = Guarded::new(frames(9), None, IDLE);
        // As long as it takes something in time, it may take all the time it needs.
        for _ in 0..5 {
            assert_eq!(poll(&guarded).unwrap().unwrap(), "frame");
            tokio::time::sleep(IDLE * 3 / 4).await;
        }
        tokio::time::sleep(IDLE * 2).await;
        assert!(lock(&guarded.0).body.is_none(), "ended unasked");
        assert_eq!(poll(&guarded), Some(Err(BrokenOff(End::ClientGone))));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_of_the_upstream_is_not_the_clients() {
        let silent =
            futures_util::stream::once(async { Ok(Frame::data(Bytes::from_static(b"a"))) });
        let silent = futures_util::StreamExt::chain(silent, futures_util::stream::pending());
        let guarded = Guarded::new(StreamBody::new(Box::pin(silent)), None, IDLE);
        assert_eq!(poll(&guarded).unwrap().unwrap(), "a");
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        assert!(guarded.poll(cx).is_pending());
        tokio::time::sleep(IDLE * 3).await;
        assert!(guarded.poll(cx).is_pending());
    }

    #[tokio::test]
    async fn the_last_frame_leaves_nothing_open() {
        let pulse = Arc::new(crate::proxy::wire::Pulse::default());
        let full = Full::new(Bytes::from_static(b"all")).map_err(|never| match never {});
        let guarded = Guarded::new(full, Some(pulse.begin()), IDLE);
        assert!(pulse.busy());
        assert_eq!(poll(&guarded).unwrap().unwrap(), "all");
        assert!(!pulse.busy());
    }
}
