//! Connections: what is no HTTP, what is too much, what is idle.

use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Gateway, PATIENCE, POLICIES, bare, of_kind};

#[tokio::test]
async fn what_is_no_http_gets_no_record_and_no_upstream() {
    let mut gateway = Gateway::start().await;
    for bytes in [
        "hello\r\n\r\n".as_bytes(),
        b"GET / HTTP/1.1\r\nhost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\n folded\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
    ] {
        let answer = gateway.raw(bytes).await;
        let shown = String::from_utf8_lossy(bytes);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
            "{shown}: {answer}"
        );
    }
    assert_eq!(gateway.upstream.count(), 0);
    let records = gateway.stop().await;
    assert!(of_kind(&records, "outcome").is_empty());
}

/// A short one is read away, and the connection goes on: `tests/hostile/framing.yaml`.
#[tokio::test]
async fn a_long_refused_body_ends_the_connection() {
    let gateway = Gateway::start().await;
    let outer = format!(
        "POST /nowhere HTTP/1.1\r\nhost: a\r\ncontent-length: 10000000\r\n\r\n{}",
        "x".repeat(600_000)
    );
    let answer = gateway.raw(outer.as_bytes()).await;
    assert!(
        answer.is_empty() || answer.matches("HTTP/1.1 ").count() == 1,
        "{answer}"
    );
    assert_eq!(gateway.upstream.count(), 0);
}

#[tokio::test]
async fn over_the_limit_connections_close_at_once() {
    let gateway = Gateway::with(POLICIES, "limits: { connections: 1 }").await;
    let mut first = TcpStream::connect(gateway.address).await.unwrap();
    let asked = b"GET /open HTTP/1.1\r\nhost: a\r\n\r\n";
    first.write_all(asked).await.unwrap();
    let mut start = [0; 12];
    first.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    assert_eq!(gateway.raw(b"").await, "");
    drop(first);
}

#[tokio::test]
async fn a_slow_head_and_an_idle_connection_end() {
    let more = "timeouts: { header: 100ms, keep_alive: 100ms }";
    let gateway = Gateway::with(POLICIES, more).await;
    assert_eq!(gateway.raw(b"GET / HT").await, "", "a head that never ends");
    assert_eq!(gateway.raw(b"").await, "", "no head at all");
    assert_eq!(gateway.raw(b"PRI * HT").await, "", "half a preface");
    let answer = gateway.raw(b"GET /open HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 200 "),
        "and then idle: {answer}"
    );
}

#[tokio::test]
async fn too_many_headers_are_refused_on_both_protocols() {
    let gateway = Gateway::with(POLICIES, "limits: { headers: 10 }").await;
    let crowded = |path: &str| {
        let mut asked = bare(Method::GET, path, "");
        for n in 0..12 {
            let name: http::HeaderName = format!("x-{n}").parse().unwrap();
            asked.headers_mut().insert(name, "1".parse().unwrap());
        }
        asked
    };
    assert_eq!(gateway.call(crowded("/open")).await.status, 431);
    let mut asked = crowded("http://a/open");
    asked.headers_mut().remove("host");
    assert_eq!(gateway.call2(asked).await.status, 431);
}

#[tokio::test]
async fn a_client_that_goes_is_on_record() {
    let mut gateway = Gateway::start().await;
    let token = crate::harness::token("agent/7");
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let asked = format!("GET /slow HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n");
    stream.write_all(asked.as_bytes()).await.unwrap();
    tokio::time::timeout(PATIENCE, gateway.upstream.reached.notified())
        .await
        .unwrap();
    drop(stream);
    let gone = async {
        while of_kind(&gateway.records(), "outcome").is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
    gateway.upstream.release.notify_one();
    let records = gateway.stop().await;
    let outcome = of_kind(&records, "outcome")[0];
    assert_eq!(outcome["end"], "client_gone", "{outcome}");
}
