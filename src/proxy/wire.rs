//! A client's connection as hyper reads and writes it, with the clocks that hyper doesn't have.
//!
//! - A reader that takes no more of a response for `timeouts.idle` loses the connection.
//! - On HTTP/1.1, a request's head that has begun ends within `timeouts.header`; hyper's own timer also runs
//!   between requests, where `timeouts.keep_alive` holds.
//! - Bytes that were read to tell HTTP/2 from HTTP/1.1 are given back first.
//! - On HTTP/1.1, every byte passes by [`Framing`] before hyper sees it, and none that breaks a body's framing.
//!
//! Neither clock costs anything while the socket is ready.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::framing::{Followed, Framing, Heads};

/// What goes on on a connection: how many exchanges there were, and how many are open.
#[derive(Debug, Default)]
pub struct Pulse {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// An exchange under way; its end is its drop.
#[derive(Debug)]
pub struct Busy(Arc<Pulse>);

impl Pulse {
    /// Opens an exchange.
    pub fn begin(self: &Arc<Self>) -> Busy {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }

    /// Whether an exchange is open.
    pub fn busy(&self) -> bool {
        self.begun.load(Ordering::Relaxed) != self.ended.load(Ordering::Relaxed)
    }

    /// Grows with every begin and every end of an exchange.
    pub fn activity(&self) -> u64 {
        let begun = self.begun.load(Ordering::Relaxed);
        begun.wrapping_add(self.ended.load(Ordering::Relaxed))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// The wrapped connection.
#[derive(Debug)]
pub struct Wire<S> {
    inner: S,
    /// Bytes that were read already.
    before: Bytes,
    /// Where messages begin and end; HTTP/1.1 only.
    follower: Option<Follower>,
    write: Clock,
    idle: Duration,
}

#[derive(Debug)]
struct Follower {
    framing: Framing,
    heads: Arc<Heads>,
    /// A body's framing broke: there is no more to read.
    broken: bool,
    pulse: Arc<Pulse>,
    limit: Duration,
    /// Of the head that has begun.
    clock: Clock,
    /// How many heads had ended when the clock was last looked at.
    seen: u64,
}

/// A timer that is made at the first wait and used again after that.
#[derive(Debug, Default)]
struct Clock {
    sleep: Option<Pin<Box<Sleep>>>,
    running: bool,
}

impl Clock {
    /// Runs from the first call until [`stop`](Self::stop); ready when the time is over.
    fn poll(&mut self, limit: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !self.running {
            self.running = true;
            sleep.as_mut().reset(Instant::now() + limit);
        }
        sleep.as_mut().poll(cx)
    }

    fn stop(&mut self) {
        self.running = false;
    }
}

impl<S> Wire<S> {
    /// Wraps a connection of which these bytes were read already.
    pub fn new(inner: S, before: Bytes, idle: Duration) -> Wire<S> {
        Wire {
            inner,
            before,
            follower: None,
            write: Clock::default(),
            idle,
        }
    }

    /// Follows the framing of what is read: a head takes at most so many bytes, and so long.
    pub fn with_framing(
        mut self,
        heads: Arc<Heads>,
        most: usize,
        pulse: Arc<Pulse>,
        limit: Duration,
    ) -> Wire<S> {
        self.follower = Some(Follower {
            framing: Framing::new(most),
            heads,
            broken: false,
            pulse,
            limit,
            clock: Clock::default(),
            seen: 0,
        });
        self
    }

    /// Lets a write end only in time.
    fn timed<T>(
        &mut self,
        wrote: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.write.stop();
            return wrote;
        }
        ready!(self.write.poll(self.idle, cx));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let filled = buf.filled().len();
        let read = if this.before.is_empty() {
            Pin::new(&mut this.inner).poll_read(cx, buf)
        } else {
            let fits = this.before.len().min(buf.remaining());
            buf.put_slice(&this.before.split_to(fits));
            Poll::Ready(Ok(()))
        };
        if let Some(follower) = &mut this.follower {
            follower.follow(buf, filled)?;
            follower.in_time(read.is_pending(), cx)?;
        }
        read
    }
}

impl Follower {
    /// Follows what was read behind `filled`, and takes away again what must not be handed on.
    fn follow(&mut self, buf: &mut ReadBuf<'_>, filled: usize) -> io::Result<()> {
        let came = buf.filled().get(filled..).unwrap_or_default();
        let fine = match self.framing.follow(came, &self.heads) {
            _ if self.broken => 0,
            Followed::All => return Ok(()),
            Followed::Broken(fine) => fine,
        };
        self.broken = true;
        buf.set_filled(filled + fine);
        if fine == 0 {
            return Err(ErrorKind::InvalidData.into());
        }
        Ok(())
    }

    /// Runs the clock of a head that has begun, from its first wait to its end; an exchange under way stops it.
    fn in_time(&mut self, waits: bool, cx: &mut Context<'_>) -> io::Result<()> {
        let before = std::mem::replace(&mut self.seen, self.framing.heads());
        let runs = self.framing.in_head() && !self.pulse.busy();
        if !runs || before != self.seen {
            self.clock.stop();
        }
        if waits && runs && self.clock.poll(self.limit, cx).is_ready() {
            return Err(ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wrote = Pin::new(&mut this.inner).poll_write(cx, buf);
        this.timed(wrote, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wrote = Pin::new(&mut this.inner).poll_write_vectored(cx, bufs);
        this.timed(wrote, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.inner).poll_flush(cx);
        this.timed(flushed, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = Pin::new(&mut this.inner).poll_shutdown(cx);
        this.timed(shut, cx)
    }
}

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, or anything else: hyper's parser will tell.
    Http1,
    /// HTTP/2.
    Http2,
}

/// The first bytes of an HTTP/2 connection (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Reads until it is clear what the client speaks, and gives back what was read.
///
/// # Errors
/// The connection failed.
pub async fn protocol<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<(Protocol, Bytes)> {
    let mut read = bytes::BytesMut::with_capacity(512);
    loop {
        let came = stream.read_buf(&mut read).await?;
        let overlap = read.len().min(PREFACE.len());
        let same = read.get(..overlap) == PREFACE.get(..overlap);
        if same && read.len() >= PREFACE.len() {
            return Ok((Protocol::Http2, read.freeze()));
        }
        if !same || came == 0 {
            return Ok((Protocol::Http1, read.freeze()));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn the_preface_tells_the_protocol_and_is_given_back() {
        let get = b"GET / HTTP/1.1\r\n\r\n".as_slice();
        let cases: &[(&[&[u8]], Protocol)] = &[
            (&[PREFACE], Protocol::Http2),
            (
                &[b"PRI * HT", b"TP/2.0\r\n\r\nSM\r\n\r\n...."],
                Protocol::Http2,
            ),
            (&[get], Protocol::Http1),
            (&[b"P", b"OST / HTTP/1.1\r\n\r\n"], Protocol::Http1),
            (&[b"PRI * HTTP/2.0\r\n\r\nXX"], Protocol::Http1),
            (&[b"PRI"], Protocol::Http1),
            (&[], Protocol::Http1),
        ];
        for (pieces, expected) in cases {
            let (mut client, mut server) = duplex(64);
            let all = pieces.concat();
            let write = async {
                for piece in *pieces {
                    client.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
                drop(client);
            };
            let read = async {
                let (protocol, before) = protocol(&mut server).await.unwrap();
                let mut wire = Wire::new(server, before, Duration::from_secs(1));
                let mut back = Vec::new();
                wire.read_to_end(&mut back).await.unwrap();
                (protocol, back)
            };
            let ((protocol, back), ()) = tokio::join!(read, write);
            assert_eq!((protocol, back), (*expected, all), "{pieces:?}");
        }
    }

    const SOON: Duration = Duration::from_secs(20);

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stops_loses_the_connection() {
        let (_client, server) = duplex(4);
        let mut wire = Wire::new(server, Bytes::new(), SOON);
        let error = wire.write_all(b"more than fits").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_begun_head_has_its_time_and_silence_has_not() {
        let (mut client, server) = duplex(64);
        let pulse = Arc::new(Pulse::default());
        let heads = Arc::<Heads>::default();
        let mut wire =
            Wire::new(server, Bytes::new(), SOON).with_framing(heads, 1024, pulse.clone(), SOON);
        let mut buf = [0; 64];
        let silence = tokio::time::timeout(SOON * 3, wire.read(&mut buf)).await;
        assert!(silence.is_err());
        client.write_all(b"GET /").await.unwrap();
        assert_eq!(wire.read(&mut buf).await.unwrap(), 5);
        let error = wire.read(&mut buf).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        // An exchange stops the clock.
        let busy = pulse.begin();
        let open = tokio::time::timeout(SOON * 3, wire.read(&mut buf)).await;
        assert!(open.is_err());
        drop(busy);
        // So does the end of the head, also where its exchange is over before the next read.
        client.write_all(b" HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!(wire.read(&mut buf).await.unwrap(), 13);
        drop(pulse.begin());
        let silence = tokio::time::timeout(SOON * 3, wire.read(&mut buf)).await;
        assert!(silence.is_err());
        // The next head has its time as well, also where it can't be one.
        for head in ["GET / HTTP/1.1\r\nho", "\n"] {
            client.write_all(head.as_bytes()).await.unwrap();
            assert_eq!(wire.read(&mut buf).await.unwrap(), head.len());
            let error = wire.read(&mut buf).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
        }
    }
}
