//! From a listening socket to a request: connections, TLS, the protocol, and the clocks around them.
//!
//! Each worker has its own sockets (SO_REUSEPORT) and serves what the kernel gives it; a connection never
//! changes its worker. What hyper's parser rejects never becomes a request: it is counted, not recorded.
//!
//! Deliberately absent: PROXY protocol, HTTP/3, upgrades to h2c.

use std::convert::Infallible;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use jiff::Timestamp;
use prometheus::IntGauge;
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::answer::Answer;
use super::framing::Heads;
use super::handle;
use super::identify::PeerCertificate;
use super::wire::{Protocol, Pulse, Wire, protocol};
use super::worker::{Phase, Shared, Snapshot, Worker};
use crate::audit::Early;
use crate::config::ListenerTls;

/// What is known of a client's connection.
#[derive(Debug)]
pub struct Connection {
    /// The peer.
    pub client: SocketAddr,
    /// Whether it came by TLS.
    pub tls: bool,
    /// The name that the TLS handshake asked for (SNI), lower-cased.
    pub server_name: Option<Box<str>>,
    /// The verified client certificate.
    pub certificate: Option<PeerCertificate>,
    /// What goes on on it.
    pub pulse: Arc<Pulse>,
    /// What its heads look like; HTTP/1.1 only.
    pub heads: Option<Arc<Heads>>,
    listener: usize,
    /// The certificate as it came, with those above it.
    chain: Vec<CertificateDer<'static>>,
    /// The generation of the snapshot under which the client was last accepted.
    vouched: AtomicU64,
    /// The second, since 1970, from which it has to be accepted again.
    vouched_until: AtomicI64,
    slot: Slot,
}

impl Connection {
    /// Whether the client would be accepted under this snapshot, which may be newer than the handshake: an authority
    /// taken out, a certificate on a new revocation list, or one that is asked for by now and didn't come, ends open
    /// connections' rights as well. So do the ends of an authority's certificate and of a revocation list.
    pub fn vouched(&self, snapshot: &Snapshot) -> bool {
        let until = self.vouched_until.load(Ordering::Relaxed);
        if self.vouched.load(Ordering::Relaxed) == snapshot.generation
            && (until == i64::MAX || Timestamp::now().as_second() < until)
        {
            return true;
        }
        let listener = snapshot.config.listeners.get(self.listener);
        let tls = listener.and_then(|listener| listener.tls.as_ref());
        let verifier = tls.and_then(|tls| tls.clients.as_ref());
        let accepted = match (verifier, self.chain.split_first()) {
            (None, None) => true,
            (None, Some(_)) => false,
            (Some(verifier), None) => !verifier.client_auth_mandatory(),
            (Some(verifier), Some((own, above))) => verifier
                .verify_client_cert(own, above, UnixTime::now())
                .is_ok(),
        };
        if accepted {
            let until = self.accepted_until(tls, Timestamp::now());
            self.vouched_until.store(until, Ordering::Relaxed);
            self.vouched.store(snapshot.generation, Ordering::Relaxed);
        }
        accepted
    }

    /// Until when a verification of the certificate at this moment holds: what is past its time already didn't matter
    /// to it. (The certificate's own end is looked at with every request.)
    fn accepted_until(&self, tls: Option<&ListenerTls>, now: Timestamp) -> i64 {
        let Some(certificate) = &self.certificate else {
            return i64::MAX;
        };
        let lists = tls.and_then(|tls| tls.lists_end);
        let ends = certificate.above_end.iter().copied().chain(lists);
        // The last second counts still.
        ends.map(|last| last.saturating_add(1))
            .filter(|end| *end > now.as_second())
            .min()
            .unwrap_or(i64::MAX)
    }

    /// The snapshot in force, which may be newer than the one that a request of this connection began under.
    pub fn newest(&self) -> Arc<Snapshot> {
        self.slot.shared.snapshot()
    }
}

/// Accepts on one socket until the process drains. `alive` is held by every connection, so that its last drop
/// tells that none is open.
pub async fn serve(
    socket: TcpListener,
    listener: usize,
    worker: Arc<Worker>,
    alive: mpsc::Sender<()>,
) {
    let mut phase = worker.shared.phase.subscribe();
    let mut pause = Duration::ZERO;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = phase.wait_for(|phase| *phase > Phase::Serving) => return,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, client)) => {
                pause = Duration::ZERO;
                let snapshot = worker.shared.snapshot();
                if let Some(slot) = Slot::take(&worker.shared, &snapshot, listener, &alive) {
                    let worker = worker.clone();
                    tokio::spawn(connection(stream, client, listener, worker, snapshot, slot));
                }
            }
            // The client was gone before its turn came.
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error) => {
                // No file descriptors, no memory: the next try would fail as well.
                pause = (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                tracing::warn!(%error, "can't accept; trying again in {pause:?}");
                sleep(pause).await;
            }
        }
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A place among the open connections; its drop gives it back.
#[derive(Debug)]
struct Slot {
    shared: Arc<Shared>,
    open: IntGauge,
    _alive: mpsc::Sender<()>,
}

impl Slot {
    fn take(
        shared: &Arc<Shared>,
        snapshot: &Snapshot,
        listener: usize,
        alive: &mpsc::Sender<()>,
    ) -> Option<Slot> {
        let name = snapshot.config.listeners.get(listener).map(|l| &*l.name);
        let open = shared.metrics.connections_open(name.unwrap_or_default());
        let before = shared.connections.fetch_add(1, Ordering::Relaxed);
        open.inc();
        let slot = Slot {
            shared: shared.clone(),
            open,
            _alive: alive.clone(),
        };
        if before < snapshot.config.limits.connections {
            return Some(slot);
        }
        shared.metrics.connections_refused().inc();
        shared.audit.count_refused(Early::Connection);
        None
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
        self.open.dec();
    }
}

async fn connection(
    stream: TcpStream,
    client: SocketAddr,
    listener: usize,
    worker: Arc<Worker>,
    snapshot: Arc<Snapshot>,
    slot: Slot,
) {
    // A response goes out at once; hyper writes whole buffers anyway.
    let _best_effort = stream.set_nodelay(true);
    let tls = snapshot.config.listeners.get(listener);
    let tls = tls.and_then(|listener| listener.tls.as_ref());
    let mut connection = Connection {
        client,
        tls: tls.is_some(),
        server_name: None,
        certificate: None,
        pulse: Arc::default(),
        heads: None,
        listener,
        chain: Vec::new(),
        vouched: AtomicU64::new(snapshot.generation),
        vouched_until: AtomicI64::new(i64::MAX),
        slot,
    };
    let in_time = snapshot.config.timeouts.header;
    let Some(tls) = tls else {
        let mut stream = stream;
        if let Ok(Ok((spoken, before))) = timeout(in_time, protocol(&mut stream)).await
            && !before.is_empty()
        {
            exchange(stream, spoken, before, worker, snapshot, connection).await;
        }
        return;
    };
    let handshake = TlsAcceptor::from(tls.server.clone()).accept(stream);
    let stream = match timeout(in_time, handshake).await {
        Ok(Ok(stream)) => stream,
        failed => return refused(&worker, Early::Handshake, failed.err().map(|_| "late")),
    };
    let (_, session) = stream.get_ref();
    connection.server_name = session
        .server_name()
        .map(|name| name.trim_end_matches('.').to_ascii_lowercase().into());
    if let Some(chain) = session.peer_certificates() {
        match PeerCertificate::read(chain) {
            Ok(certificate) => {
                connection.certificate = Some(certificate);
                let until = connection.accepted_until(Some(tls), Timestamp::now());
                connection.vouched_until = AtomicI64::new(until);
                connection.chain = chain.iter().map(|der| der.clone().into_owned()).collect();
            }
            Err(_) => return refused(&worker, Early::Handshake, Some("certificate")),
        }
    }
    let spoken = match session.alpn_protocol() {
        Some(b"h2") => Protocol::Http2,
        _ => Protocol::Http1,
    };
    exchange(stream, spoken, Bytes::new(), worker, snapshot, connection).await;
}

fn refused(worker: &Worker, cause: Early, detail: Option<&str>) {
    tracing::debug!(cause = cause.code(), detail, "a connection was refused");
    worker.shared.audit.count_refused(cause);
}

/// Serves the requests of one connection.
async fn exchange<S>(
    stream: S,
    spoken: Protocol,
    before: Bytes,
    worker: Arc<Worker>,
    snapshot: Arc<Snapshot>,
    mut connection: Connection,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = &snapshot.config.limits;
    let timeouts = &snapshot.config.timeouts;
    let pulse = connection.pulse.clone();
    let head_bytes = limits.header_bytes.max(LEAST_BUFFER);
    let mut wire = Wire::new(stream, before, timeouts.idle);
    if spoken == Protocol::Http1 {
        let heads = Arc::<Heads>::default();
        connection.heads = Some(heads.clone());
        wire = wire.with_framing(heads, head_bytes, pulse.clone(), timeouts.header);
    }
    let connection = Arc::new(connection);
    let phase = worker.shared.phase.subscribe();
    let most = limits.headers;
    let service = {
        let worker = worker.clone();
        service_fn(move |request: Request<Incoming>| {
            let (worker, connection) = (worker.clone(), connection.clone());
            async move {
                Ok::<_, Infallible>(if request.headers().len() > most {
                    too_many_headers(&worker, &connection)
                } else {
                    handle(&worker, &connection, request).await
                })
            }
        })
    };
    let keep_alive = timeouts.keep_alive;
    let ended = match spoken {
        Protocol::Http1 => {
            // hyper's clock runs between requests as well; the wire's is the one that counts.
            let backstop = timeouts.header + keep_alive * 2;
            let serving = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(backstop)
                .max_headers(limits.headers)
                .max_buf_size(head_bytes)
                .serve_connection(TokioIo::new(wire), service)
                .with_upgrades();
            drive(
                serving,
                |c| c.graceful_shutdown(),
                &pulse,
                keep_alive,
                phase,
            )
            .await
        }
        Protocol::Http2 => {
            let header_bytes = u32::try_from(limits.header_bytes).unwrap_or(u32::MAX);
            let serving = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_concurrent_streams(limits.streams)
                .max_header_list_size(header_bytes)
                .max_pending_accept_reset_streams(MOST_PENDING_RESETS)
                .max_local_error_reset_streams(MOST_ERROR_RESETS)
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_send_buf_size(SEND_BUFFER)
                .keep_alive_interval(timeouts.idle)
                .keep_alive_timeout(timeouts.idle)
                .serve_connection(TokioIo::new(wire), service);
            drive(
                serving,
                |c| c.graceful_shutdown(),
                &pulse,
                keep_alive,
                phase,
            )
            .await
        }
    };
    match ended {
        Ok(()) => {}
        Err(error) if error.is_parse() || error.is_parse_too_large() => {
            refused(&worker, Early::Parser, None);
        }
        Err(error) => tracing::debug!(%error, "a connection ended"),
    }
}

/// hyper takes no smaller buffer.
const LEAST_BUFFER: usize = 8192;
/// Streams that a client opened and reset before they were looked at (CVE-2023-44487).
const MOST_PENDING_RESETS: usize = 32;
/// Streams reset for errors of the client's over a connection's life.
const MOST_ERROR_RESETS: usize = 256;
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of a response that wait for a client to read, for each stream: times `limits.streams`, what one connection that
/// reads nothing holds until its time is over. A socket that is read empties it faster than it fills.
const SEND_BUFFER: usize = 64 * 1024;

/// HTTP/2 has no bound of its own on the number of fields; HTTP/1.1 gets the same answer from hyper.
fn too_many_headers(worker: &Worker, connection: &Connection) -> Response<Answer> {
    refused(worker, Early::Parser, Some("headers"));
    let mut response = Response::new(Answer::own(Bytes::new(), connection.pulse.begin()));
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    response
}

/// Runs a connection to its end: the client's, or a graceful one when it is idle or the process drains.
async fn drive<C>(
    connection: C,
    shut: impl Fn(Pin<&mut C>),
    pulse: &Pulse,
    keep_alive: Duration,
    mut phase: watch::Receiver<Phase>,
) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut connection = pin!(connection);
    let mut idle = pin!(sleep(keep_alive));
    let mut seen = pulse.activity();
    let mut closing = false;
    loop {
        tokio::select! {
            biased;
            ended = &mut connection => return ended,
            _ = phase.wait_for(|phase| *phase > Phase::Serving), if !closing => {
                closing = true;
                shut(connection.as_mut());
            }
            () = &mut idle => {
                let now = pulse.activity();
                if now == seen && !pulse.busy() {
                    if closing {
                        // Told to end a whole period ago, and nothing went on since.
                        return Ok(());
                    }
                    closing = true;
                    shut(connection.as_mut());
                }
                seen = now;
                idle.as_mut().reset(Instant::now() + keep_alive);
            }
        }
    }
}

/// Binds an address for one worker.
///
/// # Errors
/// The system's.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Connections that wait for a busy worker; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
