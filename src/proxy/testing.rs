//! What the tests of this part share: servers with a script, a proxy in miniature, and witnesses.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};

use super::relay::Closing;
use super::upstream::{RequestBody, UpstreamObserver};
use crate::audit::End;
use crate::config::{self, Balance, Ejection, Protocol};

/// An upstream over HTTP/1.1 at these addresses.
pub(super) fn config(addresses: &[&str]) -> config::Upstream {
    config::Upstream {
        name: Arc::from("api"),
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        balance: Balance::RoundRobin,
        protocol: Protocol::Http1,
        tls: None,
        ejection: Ejection {
            failures: 3,
            rest: Duration::from_secs(3600),
        },
        keep_idle: 8,
        connect_timeout: Duration::from_secs(10),
        response_timeout: Duration::from_secs(10),
        idle_timeout: Some(Duration::from_secs(10)),
    }
}

/// A GET without a body.
pub(super) fn get(uri: &str) -> Request<RequestBody> {
    let mut request = Request::new(RequestBody::Empty);
    *request.uri_mut() = uri.parse().unwrap();
    let host = http::HeaderValue::from_static("test");
    request.headers_mut().insert("host", host);
    request
}

/// A server that does what the script says with each connection, told which one it is.
pub(super) async fn raw<F, Fut>(script: F) -> SocketAddr
where
    F: Fn(TcpStream, usize) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for count in 1.. {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(script(socket, count));
        }
    });
    address
}

/// A server that answers each request of each connection with the connection's number.
pub(super) async fn numbering() -> SocketAddr {
    raw(|mut socket, count| async move {
        while head(&mut socket).await.is_some() {
            let text = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{count}");
            socket.write_all(text.as_bytes()).await.unwrap();
        }
    })
    .await
}

/// Reads up to the end of a head; `None` where the other side closed before one.
pub(super) async fn head(socket: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return None,
        }
    }
    Some(String::from_utf8(head).unwrap())
}

/// Reads until the other side closes or resets.
pub(super) async fn rest(socket: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest).await;
    String::from_utf8(rest).unwrap()
}

/// Reads exactly this text.
pub(super) async fn expect(socket: &mut TcpStream, text: &str) {
    let mut read = vec![0; text.len()];
    socket.read_exact(&mut read).await.unwrap();
    assert_eq!(String::from_utf8(read).unwrap(), text);
}

/// An HTTP server of hyper's, for one side or the other.
pub(super) async fn hyper_server<F, Fut, B>(http2: bool, service: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    raw(move |socket, _| serve(socket, http2, service.clone())).await
}

/// Serves one connection.
pub(super) async fn serve<T, F, Fut, B>(io: T, http2: bool, service: F)
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let service = service_fn(move |request| {
        let answer = service(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let io = TokioIo::new(io);
    if http2 {
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = server.serve_connection(io, service).await;
    } else {
        let server = hyper::server::conn::http1::Builder::new();
        let _ = server.serve_connection(io, service).with_upgrades().await;
    }
}

/// A body read to its end: its bytes and trailers, or how it broke off.
pub(super) async fn collect<B>(mut body: B) -> Result<(String, Option<HeaderMap>), B::Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    let (mut bytes, mut trailers) = (Vec::new(), None);
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame?.into_data() {
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((String::from_utf8(bytes).unwrap(), trailers))
}

/// What a stream's end told.
pub(super) type Told = (End, u64, [u8; 32]);

/// A closing guard and the wait for what it is told.
pub(super) fn closing() -> (Box<dyn Closing>, oneshot::Receiver<Told>) {
    struct Tells(oneshot::Sender<Told>);
    impl Closing for Tells {
        fn close(self: Box<Self>, end: End, bytes: u64, digest: [u8; 32]) {
            let _ = self.0.send((end, bytes, digest));
        }
    }
    let (tells, told) = oneshot::channel();
    (Box::new(Tells(tells)), told)
}

/// Sees what an upstream does.
#[derive(Default)]
pub(super) struct Witness {
    /// Connections open now.
    pub(super) open: AtomicUsize,
    /// Heads of responses.
    pub(super) answered: AtomicUsize,
    /// Servers that went to rest (`true`) and came back.
    pub(super) ejected: Mutex<Vec<(String, bool)>>,
    changed: Notify,
}

impl Witness {
    /// Waits until so many connections are open.
    pub(super) async fn open_is(&self, count: usize) {
        loop {
            let changed = self.changed.notified();
            if self.open.load(SeqCst) == count {
                return;
            }
            changed.await;
        }
    }
}

impl UpstreamObserver for Witness {
    fn ejected(&self, upstream: &str, address: &str, out: bool) {
        assert_eq!(upstream, "api");
        self.ejected.lock().unwrap().push((address.to_owned(), out));
    }

    fn connection(&self, _: &str, address: &str, open: bool) {
        assert!(address.starts_with("http"), "{address}");
        match open {
            true => self.open.fetch_add(1, SeqCst),
            false => self.open.fetch_sub(1, SeqCst),
        };
        self.changed.notify_waiters();
    }

    fn answered(&self, _: &str, seconds: f64) {
        assert!(seconds >= 0.0);
        self.answered.fetch_add(1, SeqCst);
    }
}
