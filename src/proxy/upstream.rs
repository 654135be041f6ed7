//! An upstream: servers behind one name, and the connections that this worker keeps to them.
//!
//! [`Upstream::send`] takes a request to a server and comes back with the head of its response. It never sends
//! a request twice that a server may have seen: another server, or another connection, is tried only while no
//! byte was written, which hyper tells by handing the request back. So an idempotent request isn't repeated
//! either; a use of a grant is one attempt.
//!
//! Deliberately absent: active health checks, retries by status, hyper-util's client (this one is made for a
//! worker that shares nothing).

mod balance;
mod body;
mod connect;
mod error;
mod pool;
#[cfg(test)]
mod tests;

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use tokio::time::{Instant, sleep_until};

pub use body::{BodyFault, BodyState, RequestBody, StreamBody, Turn};
pub use error::UpstreamError;

use crate::config::{self, Protocol};
use balance::{Pending, Servers};
use connect::Target;
use pool::{Lease, Pool, Stream};

/// An upstream, as one worker has it.
pub struct Upstream {
    context: Context,
    servers: Servers,
    protocol: Protocol,
    scheme: Scheme,
    response_timeout: Duration,
    idle_timeout: Option<Duration>,
}

/// The head of a response, and what its body needs.
pub struct Sent {
    /// The response as the upstream framed it.
    pub response: Response<Incoming>,
    /// Scheme and authority of the server that answered.
    pub address: Arc<str>,
    /// Holds the connection and the server's pending count: to be kept until the response body was read or
    /// is no longer wanted, and dropped after it.
    pub pending: PendingGuard,
    /// The longest silence of the body.
    pub idle_timeout: Option<Duration>,
}

/// A request under way. Dropped, it ends what is left of the request, and gives back the connection if request
/// and response are both through.
pub struct PendingGuard {
    body: Option<Arc<BodyState>>,
    // fields drop in this order: the connection before the count
    _connection: Connection,
    _pending: Pending,
}

/// Who wants to know what happens, for metrics and logs. Called on the request's way: be quick.
pub trait UpstreamObserver: Send + Sync {
    /// A server began (`out`) or ended its rest.
    fn ejected(&self, upstream: &str, address: &str, out: bool);
    /// A connection to a server was opened or closed.
    fn connection(&self, upstream: &str, address: &str, open: bool);
    /// A response's head came, so many seconds after its request was sent.
    fn answered(&self, upstream: &str, seconds: f64);
}

/// What is common to all connections of an upstream.
struct Context {
    name: Arc<str>,
    connect_timeout: Duration,
    observer: Arc<dyn UpstreamObserver>,
}

enum Connection {
    Http1(Lease),
    Http2(Stream),
}

/// How one attempt ended.
enum Attempt {
    Answered(Response<Incoming>),
    /// Not a byte was written: here is the request again.
    Unsent(Request<RequestBody>, hyper::Error),
    Failed(UpstreamError),
}

impl Upstream {
    /// An upstream that nobody observes.
    pub fn new(config: &config::Upstream) -> Arc<Upstream> {
        Upstream::observed(config, Arc::new(()))
    }

    /// An upstream and its observer. Opens nothing yet.
    pub fn observed(
        config: &config::Upstream,
        observer: Arc<dyn UpstreamObserver>,
    ) -> Arc<Upstream> {
        let servers = config.addresses.iter().map(|address| {
            let target = Target::new(address, config.tls.as_ref());
            (
                Arc::clone(&target.address),
                Pool::new(target, config.keep_idle),
            )
        });
        Arc::new(Upstream {
            servers: Servers::new(
                Arc::clone(&config.name),
                servers,
                config.balance,
                config.ejection,
                Arc::clone(&observer),
            ),
            context: Context {
                name: Arc::clone(&config.name),
                connect_timeout: config.connect_timeout,
                observer,
            },
            protocol: config.protocol,
            scheme: match config.addresses.first().and_then(http::Uri::scheme) {
                Some(scheme) => scheme.clone(),
                None => Scheme::HTTP,
            },
            response_timeout: config.response_timeout,
            idle_timeout: config.idle_timeout,
        })
    }

    /// Its name in records and metrics.
    pub fn name(&self) -> &Arc<str> {
        &self.context.name
    }

    /// The HTTP that is spoken to it.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The scheme of its servers.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// How many of its servers rest after failures.
    pub fn ejected(&self) -> usize {
        self.servers.ejected()
    }

    /// Sends a request and waits for the head of its response. The URI is in origin form for HTTP/1.1, with
    /// scheme and authority for HTTP/2; headers are sent as they are. Dropping the future ends the request.
    pub async fn send(
        self: &Arc<Self>,
        mut request: Request<RequestBody>,
    ) -> Result<Sent, UpstreamError> {
        let state = match request.body() {
            RequestBody::Stream(stream) if stream.exceeds_limit() => {
                return Err(UpstreamError::BodyTooLarge);
            }
            RequestBody::Stream(stream) => Some(Arc::clone(stream.state())),
            RequestBody::Empty | RequestBody::Full(_) => None,
        };
        let alone = request
            .headers()
            .get(CONNECTION)
            .is_some_and(|v| v == "close");
        let mut tried = Vec::new();
        let mut fresh = false;
        let mut last = UpstreamError::Unsendable("the upstream has no server");
        while let Some(pending) = self.servers.choose(&tried) {
            let server = Arc::clone(&pending.0);
            let mut connection = match self.connect(&pending, fresh).await {
                Ok(connection) => connection,
                Err(error) => {
                    if error.blames_server() {
                        self.servers.failed(&server);
                    }
                    last = error;
                    tried.push(server);
                    if tried.len() >= self.servers.len().min(MOST_SERVERS) {
                        break;
                    }
                    continue;
                }
            };
            let started = Instant::now();
            match self
                .attempt(&mut connection, request, state.as_deref(), started)
                .await
            {
                Attempt::Answered(mut response) => {
                    self.servers.succeeded(&server);
                    if let Some(state) = &state {
                        state.answered();
                    }
                    let seconds = started.elapsed().as_secs_f64();
                    self.context.observer.answered(&self.context.name, seconds);
                    connection.heed(response.headers());
                    let two_framings = unframe(response.headers_mut());
                    if alone || two_framings {
                        connection.serves_no_other();
                    }
                    return Ok(Sent {
                        response,
                        address: Arc::clone(&server.address),
                        pending: PendingGuard {
                            body: state,
                            _connection: connection,
                            _pending: pending,
                        },
                        idle_timeout: self.idle_timeout,
                    });
                }
                // the server closed an idle connection just then: no fault of its own
                Attempt::Unsent(again, _) if connection.reused() && !fresh => {
                    request = again;
                    fresh = true;
                }
                Attempt::Unsent(again, error) => {
                    self.servers.failed(&server);
                    last = UpstreamError::Unsent(error);
                    request = again;
                    tried.push(server);
                    if tried.len() >= self.servers.len().min(MOST_SERVERS) {
                        break;
                    }
                }
                Attempt::Failed(error) => {
                    if error.blames_server() {
                        self.servers.failed(&server);
                    }
                    return Err(error);
                }
            }
        }
        Err(last)
    }

    async fn connect(&self, to: &Pending, fresh: bool) -> Result<Connection, UpstreamError> {
        let pool = &to.0.pool;
        match self.protocol {
            Protocol::Http1 => pool
                .http1(fresh, &self.context)
                .await
                .map(Connection::Http1),
            Protocol::Http2 => pool.http2(&self.context).await.map(Connection::Http2),
        }
    }

    async fn attempt(
        &self,
        connection: &mut Connection,
        request: Request<RequestBody>,
        body: Option<&BodyState>,
        started: Instant,
    ) -> Attempt {
        match connection {
            Connection::Http1(lease) => match lease.connection() {
                Some(http1) => {
                    let response = http1.sender.try_send_request(request);
                    self.head(response, body, started).await
                }
                None => Attempt::Failed(UpstreamError::Unsendable("the connection is gone")),
            },
            Connection::Http2(stream) => {
                let response = stream.sender.try_send_request(request);
                self.head(response, body, started).await
            }
        }
    }

    /// Waits for the head. The clock runs while it is the upstream's turn, and starts anew with each piece of
    /// the request that the upstream takes.
    async fn head(
        &self,
        response: impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>>,
        body: Option<&BodyState>,
        started: Instant,
    ) -> Attempt {
        let mut response = pin!(response);
        let mut timer = pin!(sleep_until(started + self.response_timeout));
        loop {
            tokio::select! {
                biased;
                result = &mut response => return match result {
                    Ok(response) => Attempt::Answered(response),
                    Err(mut error) => match error.take_message() {
                        Some(request) => Attempt::Unsent(request, error.into_error()),
                        None => Attempt::Failed(blame(error.into_error(), body)),
                    },
                },
                () = &mut timer => {
                    let now = Instant::now();
                    let again = match body.map(BodyState::turn) {
                        Some(Turn::Client) => now + self.response_timeout,
                        Some(Turn::Upstream(since)) => since.max(started) + self.response_timeout,
                        None => now,
                    };
                    if again <= now {
                        return Attempt::Failed(UpstreamError::Timeout);
                    }
                    timer.as_mut().reset(again);
                }
            }
        }
    }
}

impl Connection {
    fn reused(&self) -> bool {
        match self {
            Connection::Http1(lease) => lease.reused,
            Connection::Http2(_) => true,
        }
    }

    /// Reads what the server says of the connection itself.
    fn heed(&mut self, headers: &HeaderMap) {
        if let Connection::Http1(lease) = self
            && let Some(seconds) = keep_alive_timeout(headers)
        {
            lease.server_keeps(seconds);
        }
    }

    /// Keeps the connection from being used again, whatever the server makes of `Connection: close`.
    fn serves_no_other(&mut self) {
        if let Connection::Http1(lease) = self {
            lease.server_keeps(0);
        }
    }
}

impl PendingGuard {
    /// Why the request's body broke off, if it did: a response that breaks off with it isn't the upstream's fault.
    pub fn body_fault(&self) -> Option<BodyFault> {
        self.body.as_ref().and_then(|state| state.fault())
    }
}

impl Drop for PendingGuard {
    fn drop(&mut self) {
        if let Some(body) = &self.body {
            body.abandon();
        }
    }
}

impl UpstreamObserver for () {
    fn ejected(&self, _: &str, _: &str, _: bool) {}
    fn connection(&self, _: &str, _: &str, _: bool) {}
    fn answered(&self, _: &str, _: f64) {}
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("name", &self.context.name)
            .finish_non_exhaustive()
    }
}

// not the headers: cookies and tokens are among them
impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sent")
            .field("status", &self.response.status())
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PendingGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PendingGuard(…)")
    }
}

/// Whose fault an error after the first byte is.
fn blame(error: hyper::Error, body: Option<&BodyState>) -> UpstreamError {
    if let Some(fault) = body.and_then(BodyState::fault) {
        UpstreamError::RequestBody(fault)
    } else if error.is_parse() {
        UpstreamError::Protocol(error)
    } else {
        UpstreamError::Reset(error)
    }
}

/// A length beside chunks has no meaning and must not be passed on (RFC 9112, 6.3). Tells whether there was one: where
/// such a response ends is another matter to others.
fn unframe(headers: &mut HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING) && headers.remove(CONTENT_LENGTH).is_some()
}

/// `Keep-Alive: timeout=5, max=100`, a header of old that many servers still send.
fn keep_alive_timeout(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(KEEP_ALIVE)?.to_str().ok()?;
    value.split(',').find_map(|part| {
        let (name, seconds) = part.split_once('=')?;
        let named = name.trim().eq_ignore_ascii_case("timeout");
        named.then(|| seconds.trim().parse().ok()).flatten()
    })
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// Servers that are tried for one request, while not a byte of it was written.
const MOST_SERVERS: usize = 3;
