//! Upstreams that answer with secrets.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// What upstreams got.
pub type Seen = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

/// An upstream that keeps what it saw, and answers with secrets of its own.
pub async fn upstream(http2: bool, seen: &Seen, answer: &(String, String)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, answer) = (seen.clone(), answer.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (seen, (cookie, body)) = (seen.clone(), answer.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (seen, cookie, body) = (seen.clone(), cookie.clone(), body.clone());
                async move {
                    let (head, sent) = request.into_parts();
                    let sent = sent
                        .collect()
                        .await
                        .map(|b| b.to_bytes())
                        .unwrap_or_default();
                    seen.lock().unwrap().push((head.headers, sent));
                    let response =
                        Response::builder().header("set-cookie", format!("session={cookie}"));
                    let body = Full::new(Bytes::from(format!("answer-{body}")));
                    Ok::<_, Infallible>(response.body(body).unwrap())
                }
            });
            tokio::spawn(async move {
                let io = TokioIo::new(stream);
                let _ended = match http2 {
                    true => {
                        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                            .serve_connection(io, service)
                            .await
                    }
                    false => {
                        hyper::server::conn::http1::Builder::new()
                            .serve_connection(io, service)
                            .await
                    }
                };
            });
        }
    });
    address
}

/// An upstream that answers with these bytes.
pub async fn breaking(bytes: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let _read = stream.read(&mut head).await;
            let _written = stream.write_all(bytes.as_bytes()).await;
        }
    });
    address
}
