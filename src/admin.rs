//! The admin listener: metrics, health and the policies in force, to be read and never changed.
//!
//! It has no authentication, so it listens on loopback by default, and there it answers only to loopback's
//! own names: a web page that has its own name resolve to 127.0.0.1 (DNS rebinding) gets nothing. Nothing
//! here holds a secret. Connections serve one request each, and all they can take is bounded: their number,
//! their head's size and time, and their whole time.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | Prometheus' text format |
//! | `/healthz` | 200 while the process lives |
//! | `/readyz` | 200 `[]`, or 503 and a JSON list of what isn't ready |
//! | `/policies` | JSON: digest, count, when loaded, and each policy's id, effect, mode and about |

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// What the admin listener shows.
pub trait AdminView: Send + Sync {
    /// What isn't ready (`keys`, `audit`, `policies`, `draining`); empty: requests are served.
    fn ready(&self) -> Vec<String>;
    /// Digest, count, when loaded, and each policy's id, effect, mode and about.
    fn policies(&self) -> serde_json::Value;
    /// Prometheus' text format.
    fn metrics(&self) -> String;
}

/// What the admin listener works with.
pub struct AdminState {
    view: Box<dyn AdminView>,
    header_timeout: Duration,
}

impl AdminState {
    /// Shows this.
    pub fn new(view: impl AdminView + 'static) -> AdminState {
        AdminState {
            view: Box::new(view),
            header_timeout: HEADER_TIMEOUT,
        }
    }
}

impl fmt::Debug for AdminState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminState(…)")
    }
}

/// Serves until `shutdown`, then lets requests under way end within a second.
pub async fn serve(
    listener: TcpListener,
    state: Arc<AdminState>,
    shutdown: impl Future<Output = ()>,
) {
    let Ok(local) = listener.local_addr() else {
        tracing::error!("the admin listener has no address; it is not served");
        return;
    };
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let accept = async {
            // room first: who can't be served waits in the backlog, where it costs nothing
            let permit = Arc::clone(&room).acquire_owned().await.ok()?;
            Some((listener.accept().await, permit))
        };
        let (accepted, permit) = tokio::select! {
            () = &mut shutdown => break,
            Some(accepted) = accept => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                let state = Arc::clone(&state);
                connections.spawn(async move {
                    serve_connection(stream, state, local).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin listener can't accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let rest = async { while connections.join_next().await.is_some() {} };
    // what is still there after this is aborted with the set
    let _ = tokio::time::timeout(SHUTDOWN, rest).await;
}

async fn serve_connection(stream: TcpStream, state: Arc<AdminState>, local: SocketAddr) {
    let header_timeout = state.header_timeout;
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(&request, &*state.view, local);
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "admin connection"),
        Err(_) => tracing::debug!("admin connection took too long"),
    }
}

type Answer = Response<Full<Bytes>>;

fn answer<B>(request: &Request<B>, view: &dyn AdminView, local: SocketAddr) -> Answer {
    if let Err(status) = check_host(request, local) {
        return text(status, "this listener has another name\n");
    }
    let path = request.uri().path();
    if !PATHS.contains(&path) {
        return text(StatusCode::NOT_FOUND, INDEX);
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n");
        let allow = HeaderValue::from_static("GET, HEAD");
        answer.headers_mut().insert(header::ALLOW, allow);
        return answer;
    }
    match path {
        "/metrics" => respond(StatusCode::OK, METRICS, view.metrics()),
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => {
            let missing = view.ready();
            let status = if missing.is_empty() {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            respond(status, JSON, serde_json::Value::from(missing).to_string())
        }
        "/policies" => respond(StatusCode::OK, JSON, view.policies().to_string()),
        _ => text(StatusCode::NOT_FOUND, INDEX),
    }
}

/// On loopback only loopback's names, with this listener's port, in the request target as in `Host`.
fn check_host<B>(request: &Request<B>, local: SocketAddr) -> Result<(), StatusCode> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host,
        (None, _) | (_, Some(_)) => return Err(StatusCode::BAD_REQUEST),
    };
    let host = host.to_str().map_err(|_| StatusCode::BAD_REQUEST)?;
    let host: Authority = host.parse().map_err(|_| StatusCode::BAD_REQUEST)?;
    let target = request.uri().authority();
    if local.ip().is_loopback()
        && ![Some(&host), target]
            .into_iter()
            .flatten()
            .all(|name| is_loopback(name, local))
    {
        return Err(StatusCode::MISDIRECTED_REQUEST);
    }
    Ok(())
}

fn is_loopback(name: &Authority, local: SocketAddr) -> bool {
    let host = name.host();
    let known = LOOPBACK
        .iter()
        .any(|known| host.eq_ignore_ascii_case(known))
        || host.parse::<IpAddr>().is_ok_and(|ip| ip == local.ip());
    // `Authority` lets userinfo and a bad port stand: then what is left isn't the whole
    let port = match name.as_str().strip_prefix(host) {
        Some("") => local.port() == 80,
        Some(port) => port.strip_prefix(':') == Some(local.port().to_string().as_str()),
        None => false,
    };
    known && port
}

fn text(status: StatusCode, text: &'static str) -> Answer {
    respond(status, "text/plain; charset=utf-8", text)
}

fn respond(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        answer
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    answer
}

const PATHS: [&str; 4] = ["/metrics", "/healthz", "/readyz", "/policies"];
const INDEX: &str = "here are /metrics, /healthz, /readyz and /policies\n";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];
const CONNECTIONS: usize = 64;
const HEAD_BYTES: usize = 16 << 10;
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Head, answer and a reader that takes its time.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const SHUTDOWN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
