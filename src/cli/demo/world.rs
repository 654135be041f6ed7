//! What stands around the gateway in the demo: the sample upstream, and the issuer's JWK set over HTTP.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

/// The key that only the gateway and the upstream know.
pub(super) const UPSTREAM_KEY: &str = "Bearer key-of-the-upstream";

/// Serves the sample API: accounts and notes, with no rules of its own.
pub(super) async fn upstream() -> std::io::Result<SocketAddr> {
    serve(|request| async move {
        let key = request
            .headers()
            .get(header::AUTHORIZATION)
            .is_some_and(|value| value == UPSTREAM_KEY);
        let path = request.uri().path().to_owned();
        let body = match (request.method(), key) {
            (_, false) => json!({ "error": "the upstream wants its key" }),
            (&Method::GET, true) => {
                json!({ "path": path, "account": { "name": "Ada Lovelace", "plan": "pro" } })
            }
            (_, true) => json!({ "path": path, "saved": true }),
        };
        json_response(
            if key {
                StatusCode::OK
            } else {
                StatusCode::UNAUTHORIZED
            },
            body.to_string(),
        )
    })
    .await
}

/// Serves the issuer's keys at any path.
pub(super) async fn keys(jwks: String) -> std::io::Result<SocketAddr> {
    let jwks = Arc::new(jwks);
    serve(move |_| {
        let jwks = jwks.clone();
        async move { json_response(StatusCode::OK, jwks.to_string()) }
    })
    .await
}

/// One call over a connection of its own: status and body.
pub(super) async fn call(
    to: SocketAddr,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<(StatusCode, String)> {
    let io = TokioIo::new(TcpStream::connect(to).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), 1 << 20).collect().await;
    driver.abort();
    let body = body.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

fn json_response(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    response
}

/// Serves on a free loopback port until the process ends.
async fn serve<F, R>(answer: F) -> std::io::Result<SocketAddr>
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<Full<Bytes>>> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let answer = answer.clone();
                    async move { Ok::<_, Infallible>(answer(request).await) }
                });
                // A client that goes away is none of the demo's business.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    Ok(address)
}
