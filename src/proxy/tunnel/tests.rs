use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::super::relay::Deadline;
use super::super::streams::Streams;
use super::super::upstream::{RequestBody, Upstream};
use super::*;
use crate::proxy::relay::Relay;
use crate::proxy::testing::*;

/// The example of RFC 6455, 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn handshake(extra: &str) -> String {
    format!(
        "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\n{extra}\r\n"
    )
}

/// What a miniature proxy reports: the end of a tunnel, or why there is none.
type Report = Result<Told, String>;

/// A proxy that tunnels to this upstream.
async fn proxy(
    upstream: Arc<Upstream>,
    streams: Streams,
    patience: Option<Duration>,
) -> (TcpStream, mpsc::UnboundedReceiver<Report>) {
    let (tell, told) = mpsc::unbounded_channel();
    let address = hyper_server(false, move |request: Request<Incoming>| {
        let (upstream, streams, tell) = (Arc::clone(&upstream), streams.clone(), tell.clone());
        async move {
            let (head, body) = request.into_parts();
            let shake = Handshake::read(&head.method, head.version, &head.headers).unwrap();
            let mut out = get("/chat").map(|_| RequestBody::Empty);
            *out.headers_mut() = head.headers.clone();
            let client = hyper::upgrade::on(Request::from_parts(head, body));
            let sent = upstream.send(out).await.unwrap();
            let (closing, end) = closing();
            let bounds = Bounds {
                deadline: Deadline::first(None, patience),
                ticket: Some(streams.register(Arc::new(|_, _| true))),
                idle: None,
            };
            if sent.response.status() != StatusCode::SWITCHING_PROTOCOLS {
                let _ = tell.send(Err("relayed".into()));
                let relay = Relay::response(sent, None, None, closing);
                return relay.map(http_body_util::Either::Left);
            }
            let accepted = match accept(&shake, sent) {
                Ok(accepted) => accepted,
                Err(error) => {
                    let _ = tell.send(Err(error.to_string()));
                    let mut response = Response::new(http_body_util::Either::Right(Empty::new()));
                    *response.status_mut() = StatusCode::BAD_GATEWAY;
                    return response;
                }
            };
            tokio::spawn(async move { tell.send(Ok(end.await.unwrap())) });
            upgrade(accepted, client, bounds, closing).map(http_body_util::Either::Right)
        }
    })
    .await;
    (TcpStream::connect(address).await.unwrap(), told)
}

/// An upstream that answers a handshake with `answer`, and hands its socket over.
async fn upstream(answer: String) -> (Arc<Upstream>, mpsc::UnboundedReceiver<TcpStream>) {
    let (give, take) = mpsc::unbounded_channel();
    let address = raw(move |mut socket, _| {
        let (give, answer) = (give.clone(), answer.clone());
        async move {
            head(&mut socket).await.unwrap();
            socket.write_all(answer.as_bytes()).await.unwrap();
            give.send(socket).unwrap();
        }
    })
    .await;
    (
        Upstream::new(&config(&[&format!("http://{address}")])),
        take,
    )
}

fn switching() -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: {ACCEPT}\r\nsec-websocket-protocol: chat\r\n\r\n"
    )
}

#[test]
fn handshakes_are_read_strictly() {
    let pairs = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", KEY),
    ];
    let read = |change: &dyn Fn(&mut HeaderMap), method, version| {
        let mut headers: HeaderMap = pairs
            .iter()
            .map(|&(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)))
            .collect();
        change(&mut headers);
        Handshake::read(&method, version, &headers).map(|h| h.accept)
    };
    let get = |change: &dyn Fn(&mut HeaderMap)| read(change, Method::GET, Version::HTTP_11);
    assert_eq!(get(&|_| ()).as_deref(), Some(ACCEPT));
    assert_eq!(read(&|_| (), Method::POST, Version::HTTP_11), None);
    assert_eq!(read(&|_| (), Method::GET, Version::HTTP_10), None);
    for (name, value) in pairs {
        let missing = |headers: &mut HeaderMap| drop(headers.remove(name));
        assert_eq!(get(&missing), None, "without {name}");
        let wrong = |headers: &mut HeaderMap| {
            headers.insert(name, HeaderValue::from_static("h2c"));
        };
        assert_eq!(get(&wrong), None, "a wrong {name}");
        if name != "connection" {
            let twice = |headers: &mut HeaderMap| {
                headers.append(name, HeaderValue::from_static(value));
            };
            assert_eq!(get(&twice), None, "{name} twice");
        }
    }
    let framed = [
        ("transfer-encoding", "chunked"),
        ("content-length", "5"),
        ("sec-websocket-key", "AAAA"),
    ];
    for (name, value) in framed {
        let more = |headers: &mut HeaderMap| {
            headers.insert(name, HeaderValue::from_static(value));
        };
        assert_eq!(get(&more), None, "{name}: {value}");
    }
}

#[tokio::test]
async fn bytes_pass_both_ways_even_those_that_came_early() {
    // the server's first frame comes with its 101, the client's with its handshake
    let (up, mut sockets) = upstream(format!("{}early", switching())).await;
    let (mut client, mut told) = proxy(up, Streams::new(), None).await;
    client
        .write_all((handshake("") + "first").as_bytes())
        .await
        .unwrap();
    let answer = head(&mut client).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    for line in [
        "connection: Upgrade",
        "upgrade: websocket",
        ACCEPT,
        "sec-websocket-protocol: chat",
    ] {
        assert!(answer.contains(line), "{line} in {answer}");
    }
    expect(&mut client, "early").await;
    let mut server = sockets.recv().await.unwrap();
    expect(&mut server, "first").await;
    let big = "x".repeat(100_000);
    let ((), written) = tokio::join!(
        async { expect(&mut client, &big).await },
        server.write_all(big.as_bytes())
    );
    written.unwrap();
    client.write_all(b"bye").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut server).await, "bye");
    server.write_all(b"!").await.unwrap();
    drop(server);
    assert_eq!(rest(&mut client).await, "!");
    let (end, bytes, hash) = told.recv().await.unwrap().unwrap();
    assert_eq!((end, bytes), (End::Complete, 100_006));
    let all = format!("early{big}!");
    assert_eq!(
        hash,
        digest::digest(&digest::SHA256, all.as_bytes()).as_ref()
    );
}

#[tokio::test]
async fn no_client_byte_goes_up_before_the_101() {
    let (seen, mut bytes) = mpsc::unbounded_channel();
    let address = raw(move |mut socket, _| {
        let seen = seen.clone();
        async move {
            head(&mut socket).await.unwrap();
            let early = socket.try_read(&mut [0; 9]).map_err(|e| e.kind());
            seen.send(early).unwrap();
            socket
                .write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno")
                .await
                .unwrap();
            seen.send(Ok(rest(&mut socket).await.len())).unwrap();
        }
    })
    .await;
    let up = Upstream::new(&config(&[&format!("http://{address}")]));
    let (mut client, mut told) = proxy(up, Streams::new(), None).await;
    client
        .write_all((handshake("") + "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let answer = head(&mut client).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    expect(&mut client, "no").await;
    assert_eq!(told.recv().await.unwrap().unwrap_err(), "relayed");
    drop(client);
    assert_eq!(
        bytes.recv().await.unwrap(),
        Err(std::io::ErrorKind::WouldBlock)
    );
}

#[tokio::test]
async fn a_101_that_does_not_fit_is_refused() {
    let cases = [
        (
            switching().replace(ACCEPT, "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            "wrong Sec-WebSocket-Accept",
        ),
        (
            switching().replace("sec-websocket-accept", "x"),
            "wrong Sec-WebSocket-Accept",
        ),
        (
            switching().replace(
                "sec-websocket-protocol: chat",
                &format!("sec-websocket-accept: {ACCEPT}"),
            ),
            "wrong Sec-WebSocket-Accept",
        ),
        (
            switching().replace("upgrade: websocket", "upgrade: h2c"),
            "something else than websocket",
        ),
    ];
    for (answer, why) in cases {
        let (up, _sockets) = upstream(answer).await;
        let (mut client, mut told) = proxy(up, Streams::new(), None).await;
        client.write_all(handshake("").as_bytes()).await.unwrap();
        assert!(
            head(&mut client)
                .await
                .unwrap()
                .starts_with("HTTP/1.1 502 ")
        );
        let error = told.recv().await.unwrap().unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}

#[tokio::test]
async fn a_tunnel_ends_by_cut_deadline_silence_or_failure() {
    let short = Duration::from_millis(300);
    let cases = [
        ("cut", None, None, End::Aborted),
        ("late", Some(short), None, End::Aborted),
        ("silent", None, Some(short), End::Aborted),
        ("reset", None, None, End::ClientGone),
    ];
    for (how, patience, idle, expected) in cases {
        let (give, mut take) = mpsc::unbounded_channel();
        let address = raw(move |mut socket, _| {
            let give = give.clone();
            async move {
                head(&mut socket).await.unwrap();
                socket.write_all(switching().as_bytes()).await.unwrap();
                give.send(socket).unwrap();
            }
        })
        .await;
        let mut config = config(&[&format!("http://{address}")]);
        config.idle_timeout = idle;
        let streams = Streams::new();
        let (mut client, mut told) = proxy(Upstream::new(&config), streams.clone(), patience).await;
        client.write_all(handshake("").as_bytes()).await.unwrap();
        assert!(
            head(&mut client)
                .await
                .unwrap()
                .starts_with("HTTP/1.1 101 ")
        );
        let mut server = take.recv().await.unwrap();
        server.write_all(b"hi").await.unwrap();
        expect(&mut client, "hi").await;
        match how {
            "cut" => assert_eq!(streams.cut_all(), 1),
            "reset" => {
                socket2::SockRef::from(&client)
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
                drop(client);
                let (end, bytes, _) = told.recv().await.unwrap().unwrap();
                assert_eq!((end, bytes), (expected, 2), "{how}");
                continue;
            }
            _ => {}
        }
        let (end, bytes, _) = told.recv().await.unwrap().unwrap();
        assert_eq!((end, bytes), (expected, 2), "{how}");
        assert_eq!(
            server.read(&mut [0; 1]).await.unwrap_or(0),
            0,
            "closed upstream too"
        );
        assert_eq!(client.read(&mut [0; 1]).await.unwrap_or(0), 0);
        assert!(streams.is_empty());
    }
}
