//! The body of whatever the client gets: an answer of our own, or the upstream's response.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;

use super::relay::{BrokenOff, Relay};
use super::wire::Busy;

/// A response body, and the sign that its exchange is still open.
#[derive(Debug)]
pub struct Answer {
    content: Content,
    _busy: Busy,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every answer is the upstream's, and a box would cost each an allocation"
)]
enum Content {
    Own(Full<Bytes>),
    Upstream(Relay<Incoming>),
}

impl Answer {
    /// An answer of our own.
    pub fn own(bytes: Bytes, busy: Busy) -> Answer {
        Answer {
            content: Content::Own(Full::new(bytes)),
            _busy: busy,
        }
    }

    /// The upstream's.
    pub fn upstream(relay: Relay<Incoming>, busy: Busy) -> Answer {
        Answer {
            content: Content::Upstream(relay),
            _busy: busy,
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match &mut self.get_mut().content {
            Content::Own(own) => Pin::new(own).poll_frame(cx).map_err(|never| match never {}),
            Content::Upstream(relay) => Pin::new(relay).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Own(own) => own.is_end_stream(),
            Content::Upstream(relay) => relay.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Own(own) => own.size_hint(),
            Content::Upstream(relay) => relay.size_hint(),
        }
    }
}
