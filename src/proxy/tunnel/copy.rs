//! Bytes both ways between two connections, with what tokio's `copy_bidirectional` doesn't tell: which side failed,
//! how much had passed by then, and a bound on silence.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::super::relay::Meter;
use crate::audit::End;

/// Two connections and what is on its way between them.
pub(super) struct Copy<C, U> {
    client: C,
    upstream: U,
    out: Pipe,
    back: Pipe,
    idle: Option<Duration>,
    /// The longest silence; a short one once either side has closed.
    timer: Option<Pin<Box<Sleep>>>,
    moved_at: Instant,
}

/// One direction.
struct Pipe {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// The reader has ended.
    ended: bool,
    /// The writer was told.
    told: bool,
    /// Bytes moved in this poll.
    moved: bool,
}

/// Which end of a pipe failed.
enum Failed {
    Reader,
    Writer,
}

impl<C, U> Copy<C, U>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    pub(super) fn new(client: C, upstream: U, idle: Option<Duration>) -> Copy<C, U> {
        Copy {
            client,
            upstream,
            out: Pipe::new(),
            back: Pipe::new(),
            idle,
            timer: None,
            moved_at: Instant::now(),
        }
    }

    /// Copies what there is; ready at the end. The meter counts what goes to the client.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, meter: &mut Meter) -> Poll<End> {
        let back = self
            .back
            .poll(cx, &mut self.upstream, &mut self.client, Some(meter));
        let out = self
            .out
            .poll(cx, &mut self.client, &mut self.upstream, None);
        match (out, back) {
            // a clean end: TCP doesn't tell who had said goodbye
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(End::Complete),
            (_, Poll::Ready(Err(Failed::Reader))) | (Poll::Ready(Err(Failed::Writer)), _) => {
                return Poll::Ready(End::UpstreamFailed);
            }
            (_, Poll::Ready(Err(Failed::Writer))) | (Poll::Ready(Err(Failed::Reader)), _) => {
                return Poll::Ready(End::ClientGone);
            }
            (Poll::Pending, _) | (_, Poll::Pending) => {}
        }
        let closing = self.out.ended || self.back.ended;
        if std::mem::take(&mut self.out.moved) | std::mem::take(&mut self.back.moved) {
            self.moved_at = Instant::now();
        }
        self.poll_silence(cx, closing)
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>, closing: bool) -> Poll<End> {
        let longest = match (closing, self.idle) {
            (true, idle) => idle.unwrap_or(LINGER).min(LINGER),
            (false, Some(idle)) => idle,
            (false, None) => return Poll::Pending,
        };
        let Some(at) = self.moved_at.checked_add(longest) else {
            return Poll::Pending;
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if closing && timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if at <= Instant::now() {
                return Poll::Ready(if closing { End::Complete } else { End::Aborted });
            }
            timer.as_mut().reset(at); // bytes have moved since it was armed
        }
    }
}

impl Pipe {
    fn new() -> Pipe {
        Pipe {
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            ended: false,
            told: false,
            moved: false,
        }
    }

    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
        mut meter: Option<&mut Meter>,
    ) -> Poll<Result<(), Failed>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            while let Some(rest) = self
                .buffer
                .get(self.start..self.end)
                .filter(|r| !r.is_empty())
            {
                let written = match ready!(Pin::new(&mut *writer).poll_write(cx, rest)) {
                    Ok(written) if written > 0 => written,
                    Ok(_) | Err(_) => return Poll::Ready(Err(Failed::Writer)),
                };
                if let Some(meter) = meter.as_deref_mut() {
                    meter.count(rest.get(..written).unwrap_or_default());
                }
                self.start = self.start.saturating_add(written);
                self.moved = true;
            }
            if self.told {
                return Poll::Ready(Ok(()));
            }
            if self.ended {
                // the other side may be closed already, which is no failure
                let _ = ready!(Pin::new(&mut *writer).poll_shutdown(cx));
                self.told = true;
                continue;
            }
            let mut space = ReadBuf::new(&mut self.buffer);
            match Pin::new(&mut *reader).poll_read(cx, &mut space) {
                Poll::Ready(Ok(())) => {
                    (self.start, self.end) = (0, space.filled().len());
                    self.ended = self.end == 0;
                    self.moved = true;
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Failed::Reader)),
                Poll::Pending => {
                    // nothing more for now: what a TLS layer holds back must go
                    return match Pin::new(&mut *writer).poll_flush(cx) {
                        Poll::Ready(Err(_)) => Poll::Ready(Err(Failed::Writer)),
                        Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
                    };
                }
            }
        }
    }
}

/// Bytes of one direction that are on their way at once.
const BUFFER: usize = 8 * 1024;
/// How long the one side may go on after the other has closed.
const LINGER: Duration = Duration::from_secs(5);
