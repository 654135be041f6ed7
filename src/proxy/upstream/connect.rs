//! From an address to a connection that speaks HTTP: name, TCP, TLS, ALPN, handshake.
//!
//! Names are looked up for each new connection, in tokio's blocking pool; there is no cache of ours beside the
//! resolver's. Addresses of one name are tried in turn, each with its share of the time that is left.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::UpstreamObserver;
use super::body::RequestBody;
use super::error::UpstreamError;
use crate::config;

/// Where a server is, and how it is spoken to.
pub(super) struct Target {
    /// Scheme and authority, for records and metrics.
    pub(super) address: Arc<str>,
    host: Box<str>,
    /// The host, where it needs no lookup.
    literal: Option<IpAddr>,
    port: u16,
    tls: Option<Tls>,
}

struct Tls {
    connector: TlsConnector,
    /// `None`: the host is no name that a certificate could bear, so that nothing verifies.
    name: Option<ServerName<'static>>,
}

/// A connection for one request at a time, and the task that drives it.
pub(super) struct Http1 {
    pub(super) sender: http1::SendRequest<RequestBody>,
    pub(super) driver: AbortHandle,
}

/// A connection for many requests.
pub(super) struct Http2 {
    pub(super) sender: http2::SendRequest<RequestBody>,
    /// How many streams the server admits at once.
    pub(super) room: Arc<AtomicUsize>,
}

enum Io {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl Target {
    /// Reads an address of the config, which has a scheme and an authority.
    pub(super) fn new(address: &Uri, tls: Option<&config::UpstreamTls>) -> Target {
        let host = address.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let https = address.scheme() == Some(&Scheme::HTTPS);
        let tls = tls.filter(|_| https).map(|tls| Tls {
            connector: TlsConnector::from(Arc::clone(&tls.client)),
            name: match &tls.server_name {
                Some(name) => Some(name.clone()),
                None => ServerName::try_from(host.to_owned()).ok(),
            },
        });
        Target {
            address: Arc::from(address.to_string().trim_end_matches('/')),
            host: host.into(),
            literal: host.parse().ok(),
            port: address.port_u16().unwrap_or(if https { 443 } else { 80 }),
            tls,
        }
    }

    /// Opens an HTTP/1.1 connection.
    pub(super) async fn http1(&self, context: &super::Context) -> Result<Http1, UpstreamError> {
        match self.dial(context.connect_timeout, false).await? {
            Io::Plain(io) => http1_over(io, self.open(context)).await,
            Io::Tls(io) => http1_over(io, self.open(context)).await,
        }
    }

    /// Opens an HTTP/2 connection.
    pub(super) async fn http2(&self, context: &super::Context) -> Result<Http2, UpstreamError> {
        match self.dial(context.connect_timeout, true).await? {
            Io::Plain(io) => http2_over(io, self.open(context)).await,
            Io::Tls(io) => http2_over(io, self.open(context)).await,
        }
    }

    /// The account of a connection that was just made.
    fn open(&self, context: &super::Context) -> Open {
        let (upstream, address) = (&context.name, &self.address);
        context.observer.connection(upstream, address, true);
        Open {
            observer: Arc::clone(&context.observer),
            upstream: Arc::clone(upstream),
            address: Arc::clone(address),
        }
    }

    async fn dial(&self, within: Duration, http2: bool) -> Result<Io, UpstreamError> {
        let deadline = Instant::now() + within;
        let tcp = self.tcp(deadline).await?;
        // an answer or a frame that waits for a full segment would wait for the peer's delayed ACK
        tcp.set_nodelay(true).map_err(UpstreamError::Connect)?;
        let Some(tls) = &self.tls else {
            return Ok(Io::Plain(tcp));
        };
        let name = tls.name.clone().ok_or_else(|| {
            let text = "the host is no valid server name";
            UpstreamError::Tls(io::Error::new(io::ErrorKind::InvalidInput, text))
        })?;
        let stream = timeout_at(deadline, tls.connector.connect(name, tcp))
            .await
            .map_err(|_| UpstreamError::ConnectTimeout)?
            .map_err(UpstreamError::Tls)?;
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        if h2 != http2 {
            return Err(UpstreamError::Alpn);
        }
        Ok(Io::Tls(Box::new(stream)))
    }

    async fn tcp(&self, deadline: Instant) -> Result<TcpStream, UpstreamError> {
        let addresses: Vec<SocketAddr> = match self.literal {
            Some(ip) => vec![SocketAddr::new(ip, self.port)],
            None => timeout_at(deadline, lookup_host((&*self.host, self.port)))
                .await
                .map_err(|_| UpstreamError::ConnectTimeout)?
                .map_err(UpstreamError::Connect)?
                .collect(),
        };
        let mut last = UpstreamError::Connect(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no address",
        ));
        for (tried, address) in addresses.iter().enumerate() {
            // a share each, so that one address that swallows packets doesn't eat the others' time
            let left = deadline.saturating_duration_since(Instant::now());
            let shares = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
            let until = Instant::now() + left / shares;
            match timeout_at(until, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = UpstreamError::Connect(error),
                Err(_) => last = UpstreamError::ConnectTimeout,
            }
        }
        Err(last)
    }
}

async fn http1_over<T>(io: T, open: Open) -> Result<Http1, UpstreamError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(BUFFER)
        .max_header_size(RESPONSE_HEAD)
        .handshake(TokioIo::new(Paced { io, reads: 0 }))
        .await
        .map_err(UpstreamError::Unsent)?;
    let task = tokio::spawn(async move {
        let _open = open;
        // what goes wrong reaches the request that it concerns; an idle connection has nobody to tell
        let _ = connection.with_upgrades().await;
    });
    Ok(Http1 {
        sender,
        driver: task.abort_handle(),
    })
}

async fn http2_over<T>(io: T, open: Open) -> Result<Http2, UpstreamError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, mut connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_WITHIN)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(RESPONSE_HEAD as u32)
        .handshake(TokioIo::new(io))
        .await
        .map_err(UpstreamError::Unsent)?;
    let room = Arc::new(AtomicUsize::new(connection.current_max_send_streams()));
    let seen = Arc::clone(&room);
    tokio::spawn(async move {
        let _open = open;
        let _ = poll_fn(|cx| {
            let result = Pin::new(&mut connection).poll(cx);
            // the server's settings come with the first frames, and may change
            seen.store(connection.current_max_send_streams(), Relaxed);
            result
        })
        .await;
    });
    Ok(Http2 { sender, room })
}

/// A connection that lets others have their turn after a few reads. hyper reads on for as long as something comes, and
/// interim responses, which it drops, give it no pause: a flood of them held a worker, its timers with it.
struct Paced<T> {
    io: T,
    reads: u8,
}

impl<T: AsyncRead + Unpin> AsyncRead for Paced<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.reads >= READS {
            self.reads = 0;
            // Not a mere wake: a task that wakes itself comes again 61 times before sockets and timers are looked at.
            let turn = std::pin::pin!(tokio::task::yield_now());
            let _first_is_pending = turn.poll(cx);
            return Poll::Pending;
        }
        let read = Pin::new(&mut self.io).poll_read(cx, to);
        self.reads = if read.is_ready() { self.reads + 1 } else { 0 };
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Paced<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Tells the observer that a connection stands, and, dropped with the task that drives it, that it doesn't.
struct Open {
    observer: Arc<dyn UpstreamObserver>,
    upstream: Arc<str>,
    address: Arc<str>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.observer
            .connection(&self.upstream, &self.address, false);
    }
}

/// Bytes that hyper reads ahead and writes behind on an HTTP/1.1 connection.
const BUFFER: usize = 64 * 1024;
/// Reads of up to [`BUFFER`] in a row.
const READS: u8 = 4;
/// Bytes of a response's head or trailers. (Their number is bounded to 100 by hyper's default.)
const RESPONSE_HEAD: usize = 64 * 1024;
/// A silent HTTP/2 connection with open streams is asked whether it lives.
const PING_EVERY: Duration = Duration::from_secs(20);
/// No answer to that for so long, and it is closed.
const PING_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of one response that an upstream may send ahead of a slow client.
const STREAM_WINDOW: u32 = 1 << 19;
/// Likewise of all responses of a connection.
const CONNECTION_WINDOW: u32 = 1 << 22;
