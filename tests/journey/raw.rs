//! Requests as bytes, for which a client library is too polite: what they end in, and that nothing else leaves.

use crate::harness::{Gateway, token};

/// A head (or more) that ends in this status; none: the connection ends without an answer.
const HEADS: &[(&str, u16)] = &[
    ("GET /open HTTP/1.1\r\nhost: a\r\n", 200),
    // The target.
    ("GET http://a/open HTTP/1.1\r\nhost: a\r\n", 200),
    ("GET http://b/open HTTP/1.1\r\nhost: a\r\n", 400),
    ("GET http://u@a/open HTTP/1.1\r\nhost: a\r\n", 400),
    ("GET http://u@a/open HTTP/1.1\r\nhost: u@a\r\n", 400),
    ("GET //open HTTP/1.1\r\nhost: a\r\n", 400),
    ("GET /x//open HTTP/1.1\r\nhost: a\r\n", 400),
    ("GET /x/../open HTTP/1.1\r\nhost: a\r\n", 400),
    ("GET /%2e/open HTTP/1.1\r\nhost: a\r\n", 400),
    ("GET /x%2fopen HTTP/1.1\r\nhost: a\r\n", 400),
    ("GET /open%00 HTTP/1.1\r\nhost: a\r\n", 400),
    ("GET /open%ff HTTP/1.1\r\nhost: a\r\n", 400),
    ("GET /open\\ HTTP/1.1\r\nhost: a\r\n", 400),
    ("GET /open;a=b HTTP/1.1\r\nhost: a\r\n", 400),
    ("GET /%6fpen HTTP/1.1\r\nhost: a\r\n", 200),
    ("GET /OPEN HTTP/1.1\r\nhost: a\r\n", 401),
    ("GET /open/ HTTP/1.1\r\nhost: a\r\n", 401),
    ("GET /open?a=b HTTP/1.1\r\nhost: a\r\n", 401),
    ("GET /open#a HTTP/1.1\r\nhost: a\r\n", 400),
    ("GET open HTTP/1.1\r\nhost: a\r\n", 400),
    ("GET * HTTP/1.1\r\nhost: a\r\n", 400),
    ("OPTIONS * HTTP/1.1\r\nhost: a\r\n", 400),
    // The method.
    ("get /open HTTP/1.1\r\nhost: a\r\n", 400),
    ("G_T /open HTTP/1.1\r\nhost: a\r\n", 400),
    ("HEAD /open HTTP/1.1\r\nhost: a\r\n", 401),
    ("TRACE /open HTTP/1.1\r\nhost: a\r\n", 400),
    ("CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n", 400),
    (
        "GET /open HTTP/1.1\r\nhost: a\r\nx-http-method-override: DELETE\r\n",
        400,
    ),
    (
        "GET /open HTTP/1.1\r\nhost: a\r\nx-method-override: DELETE\r\n",
        400,
    ),
    // The host.
    ("GET /open HTTP/1.1\r\n", 400),
    ("GET /open HTTP/1.1\r\nhost:\r\n", 400),
    ("GET /open HTTP/1.1\r\nhost: a\r\nhost: a\r\n", 400),
    ("GET /open HTTP/1.1\r\nhost: a\r\nhost: b\r\n", 400),
    ("GET /open HTTP/1.1\r\nhost: a.\r\n", 400),
    ("GET /open HTTP/1.1\r\nhost: a, b\r\n", 400),
    ("GET /open HTTP/1.1\r\nhost: a/open\r\n", 400),
    ("GET /open HTTP/1.1\r\nhost: A:8080\r\n", 200),
    ("GET /open HTTP/1.1\r\nhost: a:99999\r\n", 400),
    // Headers.
    ("GET /open HTTP/1.1\r\nhost: a\r\nx_a: b\r\n", 400),
    ("GET /open HTTP/1.1\r\nhost: a\r\nx-a : b\r\n", 400),
    ("GET /open HTTP/1.1\r\nhost: a\r\n x-a: b\r\n", 400),
    ("GET /open HTTP/1.1\r\nhost: a\r\nx-a: b\0c\r\n", 400),
    ("GET /open HTTP/1.1\r\nhost: a\r\nx-a: b\rc\r\n", 400),
    ("GET /open HTTP/1.1\r\nhost: a\r\nx-a\r\n", 400),
    (
        "GET /open HTTP/1.1\r\nhost: a\r\nconnection: authorization\r\n",
        400,
    ),
    (
        "GET /open HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, x-a\r\nx-a: b\r\n",
        400,
    ),
    (
        "GET /open HTTP/1.1\r\nhost: a\r\nauthorization: Bearer a\r\nauthorization: Bearer b\r\n",
        400,
    ),
    (
        "GET /open HTTP/1.1\r\nhost: a\r\nauthorization: Basic YTpi\r\n",
        401,
    ),
    (
        "GET /open HTTP/1.1\r\nhost: a\r\ncontent-type: a/b\r\ncontent-type: a/b\r\n",
        400,
    ),
    // A body where the permit has none.
    (
        "GET /open HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n",
        200,
    ),
    (
        "GET /open HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
        401,
    ),
    (
        "GET /open HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        401,
    ),
    // The version.
    ("GET /open HTTP/2.0\r\nhost: a\r\n", 400),
    ("GET /open HTTP/1.2\r\nhost: a\r\n", 400),
    ("GET /open\r\nhost: a\r\n", 400),
    ("GET  /open HTTP/1.1\r\nhost: a\r\n", 400),
];

#[tokio::test]
async fn heads_end_as_they_should() {
    let gateway = Gateway::start().await;
    let mut wrong = Vec::new();
    for (head, expected) in HEADS {
        let before = gateway.upstream.count();
        let sent = match head.split_once("\r\n\r\n") {
            Some((head, body)) => format!("{head}\r\nconnection: close\r\n\r\n{body}\r\n"),
            None => format!("{head}connection: close\r\n\r\n"),
        };
        let answer = gateway.raw(sent.as_bytes()).await;
        let status = answer
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest[..3].parse().ok());
        let forwarded = gateway.upstream.count() - before;
        if status != Some(*expected) || forwarded != usize::from(*expected == 200) {
            wrong.push(format!("{head:?}: {status:?}, {forwarded} forwarded"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let seen = gateway.upstream.seen.lock().unwrap();
    assert!(seen.iter().all(|seen| seen.target == "/open"), "{seen:?}");
}

/// Lines that end in LF alone may be a line to one parser and none to the next; HTTP/1.0's messages have other ends.
#[tokio::test]
async fn old_forms_are_refused() {
    let gateway = Gateway::start().await;
    for (head, version) in [
        ("GET /open HTTP/1.1\nhost: a\nconnection: close\n\n", "1.1"),
        ("GET /open HTTP/1.0\r\nhost: a\r\n\r\n", "1.0"),
    ] {
        let answer = gateway.raw(head.as_bytes()).await;
        let status = format!("HTTP/{version} 400 ");
        assert!(answer.starts_with(&status), "{answer}");
        assert!(answer.contains(r#""detail":"framing""#), "{answer}");
    }
    assert_eq!(gateway.upstream.count(), 0);
}

#[tokio::test]
async fn what_follows_a_refused_body_is_not_read_as_a_request() {
    let gateway = Gateway::start().await;
    let bearer = format!("authorization: Bearer {}", token("agent/7"));
    let inner = "GET /open HTTP/1.1\r\nhost: a\r\n\r\n";
    // Its length says that the inner request is its body.
    let outer = format!(
        "POST /nowhere HTTP/1.1\r\nhost: a\r\n{bearer}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{inner}",
        inner.len()
    );
    let answer = gateway.raw(outer.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    // A body over what is read away closes the connection.
    let outer = format!(
        "POST /nowhere HTTP/1.1\r\nhost: a\r\n{bearer}\r\ncontent-length: 10000000\r\n\r\n{}",
        "x".repeat(600_000)
    );
    let answer = gateway.raw(outer.as_bytes()).await;
    assert!(
        answer.is_empty() || answer.matches("HTTP/1.1 ").count() == 1,
        "{answer}"
    );
    assert_eq!(gateway.upstream.count(), 0);
}
