//! A small, fast upstream to measure and try a proxy with: answers every request at once.
//!
//! `cargo run --release --example upstream -- 127.0.0.1:9000` prints its address and serves until it is ended. One
//! thread, HTTP/1.1; a request's body is read to its end and dropped. `?delay=MS` delays one answer, so that requests can
//! be caught under way. Deliberately absent: TLS, HTTP/2, anything configurable.

use std::convert::Infallible;
use std::error::Error;
use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or("127.0.0.1:9000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(
            http1::Builder::new()
                .pipeline_flush(true)
                .serve_connection(TokioIo::new(stream), service_fn(answer)),
        );
    }
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if !request.body().is_end_stream() {
        while let Some(Ok(_)) = request.body_mut().frame().await {}
    }
    if let Some(delay) = delay(request.uri()) {
        tokio::time::sleep(delay).await;
    }
    let mut response = Response::new(Full::new(Bytes::from_static(BODY)));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    Ok(response)
}

fn delay(uri: &Uri) -> Option<Duration> {
    let wanted = uri.query()?.strip_prefix("delay=")?;
    Some(Duration::from_millis(wanted.parse().ok()?))
}

/// A small API answer.
const BODY: &[u8] =
    br#"{"id":"42","tenant":"acme","name":"Ada Lovelace","plan":"pro","active":true,"created_at":"2026-01-01T00:00:00Z","n":12}"#;
