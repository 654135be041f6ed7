use http_body_util::{Empty, Full};
use jiff::SignedDuration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::config::Protocol;
use crate::policy::PolicySet;
use crate::proxy::streams::Streams;
use crate::proxy::testing::*;
use crate::proxy::upstream::Upstream;

/// SHA-256 over a text.
fn sha256(text: &str) -> [u8; 32] {
    digest::digest(&digest::SHA256, text.as_bytes())
        .as_ref()
        .try_into()
        .unwrap()
}

/// An upstream that answers with these bytes, then does what `after` says.
async fn answering(text: &'static str, stays: bool) -> std::sync::Arc<Upstream> {
    let address = raw(move |mut socket, _| async move {
        head(&mut socket).await;
        socket.write_all(text.as_bytes()).await.unwrap();
        if stays {
            rest(&mut socket).await;
        }
    })
    .await;
    Upstream::new(&config(&[&format!("http://{address}")]))
}

async fn relay(
    upstream: &std::sync::Arc<Upstream>,
    deadline: Option<Deadline>,
    ticket: Option<Ticket>,
) -> (Response<Relay<Incoming>>, oneshot::Receiver<Told>) {
    let sent = upstream.send(get("/")).await.unwrap();
    let (closing, told) = closing();
    (Relay::response(sent, deadline, ticket, closing), told)
}

#[tokio::test]
async fn the_end_is_told_with_bytes_and_digest() {
    let cases = [
        (
            "content-length: 5\r\n\r\nhello",
            true,
            Ok("hello"),
            End::Complete,
            "hello",
        ),
        ("content-length: 0\r\n\r\n", true, Ok(""), End::Complete, ""),
        (
            "transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
            true,
            Ok("hello"),
            End::Complete,
            "hello",
        ),
        ("\r\nhello", false, Ok("hello"), End::Complete, "hello"),
        // promised more than came
        (
            "content-length: 9\r\n\r\nhello",
            false,
            Err(End::UpstreamFailed),
            End::UpstreamFailed,
            "hello",
        ),
        (
            "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            false,
            Err(End::UpstreamFailed),
            End::UpstreamFailed,
            "hello",
        ),
        (
            "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz",
            true,
            Err(End::UpstreamFailed),
            End::UpstreamFailed,
            "hello",
        ),
        (
            "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\ntransfer-encoding: a\r\ncontent-length: 7\r\n\r\n",
            true,
            Ok("hello"),
            End::Complete,
            "hello",
        ),
        // more than promised: what is over is no part of it
        (
            "content-length: 5\r\n\r\nhello world",
            true,
            Ok("hello"),
            End::Complete,
            "hello",
        ),
    ];
    for (index, (answer, stays, seen, end, relayed)) in cases.into_iter().enumerate() {
        let text = Box::leak(format!("HTTP/1.1 200 OK\r\n{answer}").into_boxed_str());
        let (response, told) = relay(&answering(text, stays).await, None, None).await;
        let result = collect(response.into_body()).await;
        if let Ok((_, Some(trailers))) = &result {
            assert_eq!((trailers.len(), &trailers["x"]), (1, &"y".parse().unwrap()));
        }
        let result = result.map(|(text, _)| text).map_err(|BrokenOff(end)| end);
        assert_eq!(result, seen.map(String::from), "{index}");
        let told = told.await.unwrap();
        assert_eq!(
            told,
            (end, relayed.len() as u64, sha256(relayed)),
            "{index}"
        );
    }
}

#[tokio::test]
async fn what_hyper_never_polls_is_complete_and_what_it_drops_is_not() {
    let (closes, told) = closing();
    drop(Relay::new(Empty::new(), None, Bounds::default(), closes));
    assert_eq!(told.await.unwrap(), (End::Complete, 0, sha256("")));

    let (closes, told) = closing();
    drop(Relay::new(
        Full::new(Bytes::from("abc")),
        None,
        Bounds::default(),
        closes,
    ));
    assert_eq!(told.await.unwrap(), (End::ClientGone, 0, sha256("")));

    // the last frame is handed over: complete without another poll
    let (closes, told) = closing();
    let mut relay = Relay::new(
        Full::new(Bytes::from("abc")),
        None,
        Bounds::default(),
        closes,
    );
    assert_eq!(relay.size_hint().exact(), Some(3));
    let cx = &mut Context::from_waker(std::task::Waker::noop());
    assert!(matches!(
        Pin::new(&mut relay).poll_frame(cx),
        Poll::Ready(Some(Ok(_)))
    ));
    assert_eq!(told.await.unwrap(), (End::Complete, 3, sha256("abc")));
    assert!(matches!(
        Pin::new(&mut relay).poll_frame(cx),
        Poll::Ready(None)
    ));
}

#[tokio::test]
async fn hop_headers_stay_behind() {
    let text = "HTTP/1.1 200 OK\r\nconnection: x\r\nkeep-alive: timeout=5\r\nx-kept: 1\r\ncontent-length: 0\r\n\r\n";
    let (response, _) = relay(&answering(text, true).await, None, None).await;
    let names: Vec<_> = response
        .headers()
        .keys()
        .map(http::HeaderName::as_str)
        .collect();
    assert!(
        !names.contains(&"connection") && !names.contains(&"keep-alive"),
        "{names:?}"
    );
    assert!(names.contains(&"x-kept") && names.contains(&"content-length"));
}

#[tokio::test]
async fn silence_deadline_and_cut_end_a_stream() {
    const OPEN: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let soon = Duration::from_millis(30);
    let window = Some(SignedDuration::from_millis(30));
    let over = Some(SignedDuration::from_secs(-1));
    let long = Some(Duration::from_secs(60));
    let cases = [
        (Some(soon), None, None, End::UpstreamFailed),
        (None, window, None, End::Cut),
        (None, over, None, End::Cut),
        (None, None, Some(soon), End::Aborted),
        (long, window, long, End::Cut),
    ];
    for (idle, until, longest, end) in cases {
        let upstream = answering(OPEN, true).await;
        let sent = upstream.send(get("/")).await.unwrap();
        let (closing, told) = closing();
        let bounds = Bounds {
            idle,
            deadline: Deadline::first(until.map(|left| Timestamp::now() + left), longest),
            ticket: None,
        };
        let body = sent.response.into_body();
        let relay = Relay::new(body, Some(sent.pending), bounds, closing);
        assert_eq!(collect(relay).await.unwrap_err(), BrokenOff(end));
        let (told, bytes, _) = told.await.unwrap();
        assert_eq!(told, end, "{idle:?} {until:?} {longest:?}");
        assert!(
            until != over || bytes == 0,
            "a window that has ended lets nothing pass"
        );
    }
    assert!(Deadline::first(None, None).is_none());
}

#[tokio::test]
async fn a_stream_that_no_longer_holds_is_cut() {
    let address = raw(|mut socket, _| async move {
        head(&mut socket).await;
        let text = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
        socket.write_all(text.as_bytes()).await.unwrap();
        assert_eq!(rest(&mut socket).await, "", "our side closes");
    })
    .await;
    let witness = std::sync::Arc::new(Witness::default());
    let config = config(&[&format!("http://{address}")]);
    let upstream = Upstream::observed(&config, std::sync::Arc::clone(&witness) as _);
    let (streams, set) = (Streams::new(), PolicySet::load(&[]).unwrap());
    let ticket = streams.register(std::sync::Arc::new(|_, _| false));
    let (mut response, told) = relay(&upstream, None, Some(ticket)).await;
    let first = std::future::poll_fn(|cx| Pin::new(response.body_mut()).poll_frame(cx)).await;
    assert_eq!(first.unwrap().unwrap().into_data().unwrap(), "hello");
    let rest = tokio::spawn(collect(response.into_body()));
    tokio::task::yield_now().await;
    assert_eq!(streams.rejudge(&set, Timestamp::UNIX_EPOCH), 1);
    assert_eq!(rest.await.unwrap().unwrap_err(), BrokenOff(End::Cut));
    assert_eq!(told.await.unwrap().0, End::Cut);
    assert!(streams.is_empty());
    witness.open_is(0).await;
}

/// A proxy without policies in front of an upstream; each relayed response's end is sent on.
async fn proxy(
    upstream: std::sync::Arc<Upstream>,
    http2: bool,
) -> (std::net::SocketAddr, mpsc::UnboundedReceiver<Told>) {
    let (tell, told) = mpsc::unbounded_channel();
    let address = hyper_server(http2, move |request| {
        let (upstream, tell) = (std::sync::Arc::clone(&upstream), tell.clone());
        async move {
            let mut out = get(&request.uri().to_string());
            *out.method_mut() = request.method().clone();
            let sent = upstream.send(out).await.unwrap();
            let (closing, end) = closing();
            tokio::spawn(async move { tell.send(end.await.unwrap()) });
            Relay::response(sent, None, None, closing)
        }
    })
    .await;
    (address, told)
}

#[tokio::test]
async fn events_arrive_one_by_one() {
    let (next, mut wanted) = mpsc::unbounded_channel::<()>();
    let (give, mut take) = mpsc::unbounded_channel();
    let address = raw(move |mut socket, _| {
        let give = give.clone();
        async move {
            head(&mut socket).await;
            let text = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            socket.write_all(text.as_bytes()).await.unwrap();
            give.send(socket).unwrap();
        }
    })
    .await;
    let mut config = config(&[&format!("http://{address}")]);
    config.idle_timeout = None;
    let (address, mut told) = proxy(Upstream::new(&config), false).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    assert!(
        head(&mut client)
            .await
            .unwrap()
            .contains("text/event-stream")
    );
    let mut socket = take.recv().await.unwrap();
    let events = tokio::spawn(async move {
        // an event is sent only after the one before was seen
        while wanted.recv().await.is_some() {
            socket.write_all(b"9\r\ndata: 1\n\n\r\n").await.unwrap();
        }
        socket.write_all(b"0\r\n\r\n").await.unwrap();
    });
    for _ in 0..3 {
        next.send(()).unwrap();
        expect(&mut client, "9\r\ndata: 1\n\n\r\n").await;
    }
    drop(next);
    expect(&mut client, "0\r\n\r\n").await;
    events.await.unwrap();
    let (end, bytes, digest) = told.recv().await.unwrap();
    assert_eq!(
        (end, bytes, digest),
        (End::Complete, 27, sha256(&"data: 1\n\n".repeat(3)))
    );
}

#[tokio::test]
async fn a_broken_response_is_broken_for_the_client_too() {
    for (text, read) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", "hello"),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "5\r\nhello\r\n",
        ),
    ] {
        let (address, mut told) = proxy(answering(text, false).await, false).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        client
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        head(&mut client).await.unwrap();
        let rest = rest(&mut client).await;
        // what hyper had not flushed may be lost with the connection, but never is there a clean end
        assert!(read.starts_with(&rest), "{rest:?}");
        assert_eq!(told.recv().await.unwrap().0, End::UpstreamFailed);
    }
}

#[tokio::test]
async fn a_head_request_keeps_its_length_and_completes() {
    let text = "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n";
    let (address, mut told) = proxy(answering(text, true).await, false).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client
        .write_all(b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    assert!(
        head(&mut client)
            .await
            .unwrap()
            .contains("content-length: 99")
    );
    assert_eq!(told.recv().await.unwrap(), (End::Complete, 0, sha256("")));
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_upstreams_connection() {
    let text = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello";
    let (address, mut told) = proxy(answering(text, true).await, false).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    head(&mut client).await.unwrap();
    expect(&mut client, "hello").await;
    drop(client);
    assert_eq!(
        told.recv().await.unwrap(),
        (End::ClientGone, 5, sha256("hello"))
    );
}

#[tokio::test]
async fn trailers_pass_as_grpc_needs_them() {
    let address = hyper_server(true, |_| async {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
        let body = Full::new(Bytes::from("message"));
        let trailers = std::future::ready(Some(Ok(trailers)));
        Response::new(http_body_util::BodyExt::with_trailers(body, trailers))
    })
    .await;
    let mut config = config(&[&format!("http://{address}")]);
    config.protocol = Protocol::Http2;
    let (address, mut told) = proxy(Upstream::new(&config), true).await;
    let mut config = config.clone();
    config.addresses = vec![format!("http://{address}").parse().unwrap()];
    let client = Upstream::new(&config);
    let sent = client.send(get("http://api.test/Call")).await.unwrap();
    let (body, trailers) = collect(sent.response.into_body()).await.unwrap();
    assert_eq!(
        (&*body, &trailers.unwrap()["grpc-status"]),
        ("message", &"0".parse().unwrap())
    );
    assert_eq!(
        told.recv().await.unwrap(),
        (End::Complete, 7, sha256("message"))
    );
}
