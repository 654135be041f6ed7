//! Request bodies on their way to an upstream: none, one that was read and judged, or one that is streamed.
//!
//! A streamed body is bounded in bytes and in silence, and tells through [`BodyState`] how far it came: the
//! caller learns from it why it broke off, and the wait for a response learns whose turn it is. Request
//! trailers are dropped: no policy sees them.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

/// What is sent upstream after the head.
pub enum RequestBody {
    /// Nothing.
    Empty,
    /// Bytes that were judged, as they came.
    Full(Bytes),
    /// A body that nobody judged, while it comes in.
    Stream(StreamBody),
}

/// A client's body while it comes in.
#[derive(Debug)]
pub struct StreamBody {
    incoming: Incoming,
    state: Arc<BodyState>,
    limit: u64,
    idle: Duration,
    /// Armed only when the client is first waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

/// Why a streamed body broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// Longer than the limit.
    #[error("the request body is over the limit")]
    TooLarge,
    /// The client was silent for too long.
    #[error("the request body was silent for too long")]
    Idle,
    /// The client went away, or what it sent is no valid framing.
    #[error("the request body stopped before its end")]
    Broken,
    /// The response ended first: nobody wants the rest.
    #[error("the request body is no longer wanted")]
    Abandoned,
}

/// How far a streamed body came; shared with whoever waits for it.
#[derive(Debug)]
pub struct BodyState(Mutex<Progress>);

/// Whose turn it is while a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The client owes the rest of its body.
    Client,
    /// The upstream does, since then: it has the whole request, or takes no more of it.
    Upstream(Instant),
}

impl RequestBody {
    /// Whether there is nothing to send, as far as it is known.
    pub fn is_empty(&self) -> bool {
        match self {
            RequestBody::Empty => true,
            RequestBody::Full(bytes) => bytes.is_empty(),
            RequestBody::Stream(stream) => stream.length() == Some(0),
        }
    }
}

impl StreamBody {
    /// Wraps the body of a request. `limit` bounds its bytes, `idle` the client's longest silence before the response
    /// begins.
    pub fn new(incoming: Incoming, limit: Option<u64>, idle: Duration) -> StreamBody {
        let state = Arc::new(BodyState(Mutex::new(Progress {
            bytes: 0,
            turn: Turn::Upstream(Instant::now()),
            fault: None,
            answered: false,
            abandoned: false,
            waker: None,
        })));
        StreamBody {
            incoming,
            state,
            limit: limit.unwrap_or(u64::MAX),
            idle,
            timer: None,
        }
    }

    /// What is known of this body, now and after it was sent.
    pub fn state(&self) -> &Arc<BodyState> {
        &self.state
    }

    /// The length that the client announced.
    pub fn length(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }

    /// Whether it is already known to be longer than the limit.
    pub fn exceeds_limit(&self) -> bool {
        self.incoming.size_hint().lower() > self.limit
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyFault>>> {
        if self.state.lock().abandoned {
            return Poll::Ready(Some(Err(self.state.fail(BodyFault::Abandoned))));
        }
        loop {
            match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else {
                        continue; // trailers end the body, which the next poll tells
                    };
                    let mut progress = self.state.lock();
                    progress.bytes = progress.bytes.saturating_add(data.len() as u64);
                    if progress.bytes > self.limit {
                        drop(progress);
                        return Poll::Ready(Some(Err(self.state.fail(BodyFault::TooLarge))));
                    }
                    progress.turn = Turn::Upstream(Instant::now());
                    return Poll::Ready(Some(Ok(data)));
                }
                Poll::Ready(Some(Err(_))) => {
                    return Poll::Ready(Some(Err(self.state.fail(BodyFault::Broken))));
                }
                Poll::Ready(None) => {
                    self.state.lock().turn = Turn::Upstream(Instant::now());
                    return Poll::Ready(None);
                }
                Poll::Pending => return self.poll_silence(cx).map(|fault| Some(Err(fault))),
            }
        }
    }

    /// Bounds the client's silence, counted from when it was first waited for.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<BodyFault> {
        let mut progress = self.state.lock();
        let first = progress.turn != Turn::Client;
        progress.turn = Turn::Client;
        // so that an upstream that is done can end a body whose client is silent
        if !progress
            .waker
            .as_ref()
            .is_some_and(|w| w.will_wake(cx.waker()))
        {
            progress.waker = Some(cx.waker().clone());
        }
        if progress.answered {
            // A call of two streams: its client may be silent for as long as the response lasts, whose own bounds
            // end both.
            return Poll::Pending;
        }
        drop(progress);
        let idle = self.idle;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
        if first {
            timer.as_mut().reset(Instant::now() + idle);
        }
        timer
            .as_mut()
            .poll(cx)
            .map(|()| self.state.fail(BodyFault::Idle))
    }
}

impl BodyState {
    /// Why the body broke off, if it did.
    pub fn fault(&self) -> Option<BodyFault> {
        self.lock().fault
    }

    /// Bytes of the body so far.
    pub fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// Whose turn it is.
    pub fn turn(&self) -> Turn {
        self.lock().turn
    }

    /// Notes that the response has begun; from then on the client's silence is no fault.
    pub(super) fn answered(&self) {
        self.lock().answered = true;
    }

    /// Drops the rest of the body.
    pub(super) fn abandon(&self) {
        let waker = {
            let mut progress = self.lock();
            progress.abandoned = true;
            progress.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Keeps the first fault, which is the cause of the later ones.
    fn fail(&self, fault: BodyFault) -> BodyFault {
        *self.lock().fault.get_or_insert(fault)
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = self.get_mut();
        match this {
            RequestBody::Empty => Poll::Ready(None),
            RequestBody::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *this = RequestBody::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            RequestBody::Stream(stream) => stream
                .poll_data(cx)
                .map(|item| item.map(|result| result.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Empty => true,
            RequestBody::Full(bytes) => bytes.is_empty(),
            RequestBody::Stream(stream) => stream.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            RequestBody::Stream(stream) => stream.incoming.size_hint(),
        }
    }
}

// lengths only: a body is nobody's to log
impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestBody::Empty => f.write_str("Empty"),
            RequestBody::Full(bytes) => write!(f, "Full({} bytes)", bytes.len()),
            RequestBody::Stream(stream) => write!(f, "Stream({:?} bytes)", stream.length()),
        }
    }
}

#[derive(Debug)]
struct Progress {
    bytes: u64,
    turn: Turn,
    fault: Option<BodyFault>,
    answered: bool,
    abandoned: bool,
    waker: Option<Waker>,
}
