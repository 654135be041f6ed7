//! What can go wrong on the way to an upstream, by culprit.

use std::io;

use super::body::BodyFault;
use crate::policy::{Fault, Reason};

/// Why no response came. Texts name no header, body or credential, so they may be logged.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The name isn't known, nothing listens, or nothing can be reached there.
    #[error("can't connect: {0}")]
    Connect(io::Error),
    /// No connection stood in time.
    #[error("no connection in time")]
    ConnectTimeout,
    /// The TLS handshake failed: a certificate that doesn't verify, say.
    #[error("TLS failed: {0}")]
    Tls(io::Error),
    /// TLS stands, but the server speaks another HTTP than the one configured.
    #[error("the server doesn't speak the configured protocol")]
    Alpn,
    /// The connection was closed before any byte of the request was written.
    #[error("closed before the request was sent: {0}")]
    Unsent(hyper::Error),
    /// The connection broke after bytes were written and before a response came.
    #[error("broke off before a response: {0}")]
    Reset(hyper::Error),
    /// What came is no valid response.
    #[error("not a valid response: {0}")]
    Protocol(hyper::Error),
    /// A response that has no meaning here.
    #[error("a response that nobody asked for: {0}")]
    Unexpected(&'static str),
    /// No response came in time, or the upstream took no more of the request.
    #[error("no response in time")]
    Timeout,
    /// The client's body broke off.
    #[error("{0}")]
    RequestBody(BodyFault),
    /// The client's body is known to be over the limit; nothing was sent.
    #[error("the request body is over the limit")]
    BodyTooLarge,
    /// The permit ended while the request was under way.
    #[error("the permit ended before a response")]
    Expired,
    /// What was judged can't be sent unchanged to this upstream; ours to prevent.
    #[error("the request can't be sent as it was judged: {0}")]
    Unsendable(&'static str),
}

impl UpstreamError {
    /// The reason that the caller sees.
    pub fn reason(&self) -> Reason {
        match self {
            UpstreamError::Connect(_)
            | UpstreamError::Tls(_)
            | UpstreamError::Alpn
            | UpstreamError::Unsent(_)
            | UpstreamError::Reset(_)
            | UpstreamError::Protocol(_)
            | UpstreamError::Unexpected(_)
            | UpstreamError::Unsendable(_) => Reason::UpstreamFailed,
            UpstreamError::ConnectTimeout | UpstreamError::Timeout => Reason::UpstreamTimeout,
            UpstreamError::RequestBody(BodyFault::TooLarge) | UpstreamError::BodyTooLarge => {
                Reason::BodyTooLarge
            }
            UpstreamError::RequestBody(
                BodyFault::Idle | BodyFault::Broken | BodyFault::Abandoned,
            ) => Reason::AmbiguousRequest,
            UpstreamError::Expired => Reason::OutsideWindow,
        }
    }

    /// What was wrong with the request, where the client is the culprit.
    pub fn fault(&self) -> Option<Fault> {
        if self.reason() == Reason::BodyTooLarge {
            Some(Fault::BodyTooLarge)
        } else {
            matches!(self, UpstreamError::RequestBody(_)).then_some(Fault::BodyIncomplete)
        }
    }

    /// Whether a byte of the request may have been written: a use is then taken, and nothing is sent again.
    pub fn written(&self) -> bool {
        match self {
            UpstreamError::Connect(_)
            | UpstreamError::ConnectTimeout
            | UpstreamError::Tls(_)
            | UpstreamError::Alpn
            | UpstreamError::Unsent(_)
            | UpstreamError::BodyTooLarge
            | UpstreamError::Unsendable(_) => false,
            UpstreamError::Reset(_)
            | UpstreamError::Protocol(_)
            | UpstreamError::Unexpected(_)
            | UpstreamError::Timeout
            | UpstreamError::RequestBody(_)
            | UpstreamError::Expired => true,
        }
    }

    /// Whether the server is to blame, which counts towards its ejection.
    pub(super) fn blames_server(&self) -> bool {
        match self {
            UpstreamError::Connect(error) => !own_want(error),
            UpstreamError::ConnectTimeout
            | UpstreamError::Tls(_)
            | UpstreamError::Alpn
            | UpstreamError::Unsent(_)
            | UpstreamError::Reset(_)
            | UpstreamError::Protocol(_)
            | UpstreamError::Unexpected(_)
            | UpstreamError::Timeout => true,
            UpstreamError::RequestBody(_)
            | UpstreamError::BodyTooLarge
            | UpstreamError::Expired
            | UpstreamError::Unsendable(_) => false,
        }
    }
}

/// Whether this process has no file descriptor, port or memory left: no server can help that.
fn own_want(error: &io::Error) -> bool {
    /// All the process's, or all the system's: the same numbers on every Unix, for which there are no kinds.
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
        || matches!(
            error.kind(),
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::OutOfMemory
        )
}
