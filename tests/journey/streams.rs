//! What goes through piece by piece: events, uploads, the go-ahead; and bodies that don't end well.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::harness::{Gateway, PATIENCE, POLICIES, Setup, of_kind, request, token, until};

type Piece = Result<Frame<Bytes>, Infallible>;

/// A server that tells what it gets, and sends what it is told to.
pub struct Scripted {
    pub address: String,
    /// Pieces of the request's body, as they come; `None` at its end.
    got: mpsc::UnboundedReceiver<Option<Bytes>>,
    /// Pieces of the response's body.
    send: mpsc::UnboundedSender<Piece>,
}

impl Scripted {
    pub async fn start() -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (tell, got) = mpsc::unbounded_channel();
        let (send, pieces) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let pieces = std::sync::Mutex::new(Some(pieces));
            let service = service_fn(|request: Request<Incoming>| {
                let mut pieces = pieces.lock().unwrap().take().unwrap();
                let tell = tell.clone();
                async move {
                    tokio::spawn(async move {
                        let mut body = request.into_body();
                        while let Some(Ok(frame)) = body.frame().await {
                            let _ = tell.send(frame.into_data().ok());
                        }
                        let _ = tell.send(None);
                    });
                    let stream = futures_util::stream::poll_fn(move |cx| pieces.poll_recv(cx));
                    Ok::<_, Infallible>(
                        Response::builder()
                            .header("content-type", "text/event-stream")
                            .body(StreamBody::new(stream))
                            .unwrap(),
                    )
                }
            });
            let io = TokioIo::new(stream);
            let serving = hyper::server::conn::http1::Builder::new().serve_connection(io, service);
            let _ = serving.await;
        });
        Scripted { address, got, send }
    }

    pub fn send(&self, text: &'static str) {
        self.send
            .send(Ok(Frame::data(Bytes::from_static(text.as_bytes()))))
            .unwrap();
    }
}

pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("in time")
}

const STREAMS: &str = r#"
version: 1
policies:
  - { id: events, who: any, do: "GET /events" }
  - { id: upload, who: any, do: "PUT /files/{file}", body: any }
"#;

#[tokio::test]
async fn an_event_arrives_before_the_next_is_sent() {
    for http2 in [false, true] {
        let upstream = Scripted::start().await;
        let setup = Setup {
            policies: STREAMS,
            addresses: std::slice::from_ref(&upstream.address),
            ..Setup::default()
        };
        let mut gateway = setup.start().await;
        let io = TokioIo::new(TcpStream::connect(gateway.address).await.unwrap());
        let mut response = if http2 {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                    .await
                    .unwrap();
            tokio::spawn(connection);
            let mut asked = request(Method::GET, "http://api.example.com/events", "");
            asked.headers_mut().remove("host");
            soon(sender.send_request(asked)).await.unwrap()
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            let asked = request(Method::GET, "/events", "");
            soon(sender.send_request(asked)).await.unwrap()
        };
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        for event in ["data: one\n\n", "data: two\n\n"] {
            upstream.send(event);
            let frame = soon(response.frame()).await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), event);
        }
        assert!(
            of_kind(&gateway.records(), "outcome").is_empty(),
            "still open"
        );
        drop(upstream);
        let rest = soon(response.body_mut().collect())
            .await
            .expect("a clean end");
        assert_eq!(rest.to_bytes(), "");
        drop(response);
        let records = gateway.stop().await;
        let outcome = of_kind(&records, "outcome")[0];
        assert_eq!(
            (&outcome["end"], &outcome["bytes"]),
            (&"complete".into(), &22.into())
        );
    }
}

#[tokio::test]
async fn events_end_with_the_policy_that_permits_them() {
    let upstream = Scripted::start().await;
    let setup = Setup {
        policies: STREAMS,
        addresses: std::slice::from_ref(&upstream.address),
        ..Setup::default()
    };
    let mut gateway = setup.start().await;
    let io = TokioIo::new(TcpStream::connect(gateway.address).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let asked = request(Method::GET, "/events", "");
    let mut response = soon(sender.send_request(asked)).await.unwrap();
    upstream.send("data: one\n\n");
    soon(response.frame()).await.unwrap().unwrap();
    // A reload that leaves it standing leaves the stream alone.
    gateway.running().reload().await.unwrap();
    upstream.send("data: two\n\n");
    soon(response.frame()).await.unwrap().unwrap();
    std::fs::write(gateway.file("policy.yaml"), POLICIES).unwrap();
    gateway.running().reload().await.unwrap();
    assert!(
        soon(response.frame()).await.unwrap().is_err(),
        "a broken end, never a clean one"
    );
    let records = gateway.stop().await;
    assert_eq!(of_kind(&records, "outcome")[0]["end"], "cut");
}

#[tokio::test]
async fn an_upload_reaches_the_upstream_while_it_is_sent() {
    let mut upstream = Scripted::start().await;
    let setup = Setup {
        policies: STREAMS,
        addresses: std::slice::from_ref(&upstream.address),
        ..Setup::default()
    };
    let mut gateway = setup.start().await;
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!(
        "PUT /files/f HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\ntransfer-encoding: chunked\r\n\r\n",
        token("agent/7"),
    );
    client.write_all(head.as_bytes()).await.unwrap();
    for piece in ["one", "two"] {
        let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
        client.write_all(chunk.as_bytes()).await.unwrap();
        assert_eq!(soon(upstream.got.recv()).await.unwrap().unwrap(), piece);
    }
    client
        .write_all(b"0\r\nx-trailer: dropped\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(
        soon(upstream.got.recv()).await.unwrap(),
        None,
        "no trailers, just the end"
    );
    upstream.send("thanks");
    let mut start = [0; 12];
    soon(client.read_exact(&mut start)).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    drop((client, upstream));
    let records = gateway.stop().await;
    let outcome = of_kind(&records, "outcome")[0];
    assert_eq!(outcome["request_bytes"], 6, "{outcome}");
}

#[tokio::test]
async fn a_go_ahead_is_given_when_the_body_is_wanted() {
    let gateway = Gateway::start().await;
    let bearer = format!("authorization: Bearer {}", token("agent/7"));
    let head = |path: &str, more: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-type: application/json\r\ncontent-length: 13\r\nconnection: close\r\n{more}\r\n\r\n"
        )
    };
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    client
        .write_all(head("/items", &bearer).as_bytes())
        .await
        .unwrap();
    let mut ahead = [0; 25];
    soon(client.read_exact(&mut ahead)).await.unwrap();
    assert_eq!(&ahead, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(br#"{"name":"ok"}"#).await.unwrap();
    let mut rest = String::new();
    soon(client.read_to_string(&mut rest)).await.unwrap();
    assert!(rest.starts_with("HTTP/1.1 200 "), "{rest}");
    let seen = gateway.upstream.only();
    assert_eq!(seen.body, r#"{"name":"ok"}"#);
    assert!(!seen.headers.contains_key("expect"));

    // Who is refused for the head alone is not asked for the body.
    for (path, more) in [("/items", "x-no: token"), ("/nowhere", &*bearer)] {
        let answer = gateway.raw(head(path, more).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 40"), "{answer}");
        assert!(!answer.contains("100 Continue"), "{answer}");
    }
    assert_eq!(gateway.upstream.count(), 1);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_never_taken_for_whole() {
    let mut gateway = Gateway::start().await;
    let bearer = format!("authorization: Bearer {}", token("agent/7"));
    // Judged: refused, and nothing was forwarded. (A half-closed connection still takes the answer.)
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!(
        "POST /items HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 50\r\n{bearer}\r\n\r\n{{\"name\":\"ok\"}}"
    );
    client.write_all(head.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    let _ = soon(client.read_to_string(&mut answer)).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
        "{answer}"
    );
    assert_eq!(gateway.upstream.count(), 0);
    until("a record", || {
        !of_kind(&gateway.records(), "decision").is_empty()
    })
    .await;

    // Streamed: the upstream sees a broken body, and the record says who went.
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!(
        "PUT /files/f HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n{bearer}\r\n\r\n5\r\nhello\r\n"
    );
    client.write_all(head.as_bytes()).await.unwrap();
    until("a permit", || {
        of_kind(&gateway.records(), "decision").len() == 2
    })
    .await;
    drop(client);
    until("an outcome", || {
        !of_kind(&gateway.records(), "outcome").is_empty()
    })
    .await;
    let records = gateway.stop().await;
    let decisions = of_kind(&records, "decision");
    assert_eq!(
        decisions[0]["detail"], "body_incomplete",
        "{}",
        decisions[0]
    );
    assert_eq!(of_kind(&records, "outcome")[0]["end"], "client_gone");
}

const BESIDE: &str = r#"
version: 1
policies:
  - { id: small, who: any, do: "POST /items", body: { /name: ok } }
  - { id: whole, who: any, do: "POST /items", headers: { x-raw: { present: true } }, body: any }
"#;

#[tokio::test]
async fn a_body_too_large_to_judge_goes_whole_where_another_permit_takes_any() {
    let mut gateway = Gateway::with(BESIDE, "limits: { judged_body: 1KiB }").await;
    let large = format!(r#"{{"name":"ok","more":"{}"}}"#, "x".repeat(5000));
    let answer = gateway
        .call(request(Method::POST, "/items", large.clone()))
        .await;
    assert_eq!(answer.reason(), (413, "body_too_large".into()));
    let mut asked = request(Method::POST, "/items", large.clone());
    asked.headers_mut().insert("x-raw", "yes".parse().unwrap());
    let answer = gateway.call(asked).await;
    assert_eq!(answer.status, 200);
    assert_eq!(gateway.upstream.only().body, large);
    let records = gateway.stop().await;
    let decisions = of_kind(&records, "decision");
    assert_eq!(
        decisions[1]["policies"],
        serde_json::json!(["whole"]),
        "{}",
        decisions[1]
    );
}

#[tokio::test]
async fn http2_streams_and_heads_are_bounded() {
    let more = "limits: { streams: 2, header_bytes: 8KiB }";
    let gateway = Gateway::with(POLICIES, more).await;
    let io = TokioIo::new(TcpStream::connect(gateway.address).await.unwrap());
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    // Once, so that the client knows the limit; a stream over it would be refused.
    let mut first = request(Method::GET, "http://api.example.com/items/1", "");
    first.headers_mut().remove("host");
    let first = soon(sender.clone().send_request(first)).await.unwrap();
    assert_eq!(first.status(), 200);
    let slow = || {
        let mut asked = request(Method::GET, "http://api.example.com/slow", "");
        asked.headers_mut().remove("host");
        let mut sender = sender.clone();
        tokio::spawn(async move { sender.send_request(asked).await.unwrap().status().as_u16() })
    };
    let all = [slow(), slow(), slow()];
    until("two streams", || gateway.upstream.count() == 3).await;
    // Round trips to the admin listener, in which a third would have come.
    for _ in 0..20 {
        gateway.admin("/healthz").await;
    }
    assert_eq!(gateway.upstream.count(), 3, "the third waits");
    until("three answers", || {
        gateway.upstream.release.notify_one();
        all.iter().all(tokio::task::JoinHandle::is_finished)
    })
    .await;
    for answer in all {
        assert_eq!(answer.await.unwrap(), 200);
    }
    assert_eq!(gateway.upstream.count(), 4);

    let large = format!(
        "GET /open HTTP/1.1\r\nhost: a\r\nx-large: {}\r\n\r\n",
        "x".repeat(20_000)
    );
    let answer = gateway.raw(large.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let mut large = request(Method::GET, "http://api.example.com/items/1", "");
    large.headers_mut().remove("host");
    let value = "x".repeat(20_000).parse().unwrap();
    large.headers_mut().insert("x-large", value);
    assert_eq!(gateway.call2(large).await.status, 431);
    assert_eq!(gateway.upstream.count(), 4);
}
