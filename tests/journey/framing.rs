//! Two framings of one message.
//!
//! hyper takes chunks before a length (RFC 9112, section 6.3) and merges equal lengths, and hides both from who
//! serves the request; so such heads can't be told from good ones here, and aren't refused as DESIGN 4 wants. The
//! wire below hyper can't tell either without being a second parser of HTTP: where a head begins depends on how
//! the body before it was framed. What keeps them harmless is shown here: the message is framed anew for the
//! upstream, by its body as it was read, and nothing that follows chunks with a length on the connection is taken
//! for a request.

use crate::harness::{Gateway, token};

#[tokio::test]
async fn a_length_beside_chunks_smuggles_nothing() {
    let bearer = format!("authorization: Bearer {}", token("agent/7"));
    let inner = "GET /open HTTP/1.1\r\nhost: smuggled\r\n\r\n";
    for framing in [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
        "content-length: 5\r\ncontent-length: 5\r\ntransfer-encoding: chunked",
    ] {
        for path in ["/items", "/files/f"] {
            let gateway = Gateway::start().await;
            let method = if path == "/items" { "POST" } else { "PUT" };
            let head = format!(
                "{method} {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n{bearer}\r\n{framing}\r\n\r\n"
            );
            let body = format!("d\r\n{{\"name\":\"ok\"}}\r\n0\r\n\r\n{inner}");
            let answer = gateway.raw(format!("{head}{body}").as_bytes()).await;
            assert_eq!(
                answer.matches("HTTP/1.1 ").count(),
                1,
                "{framing}: {answer}"
            );
            let seen = gateway.upstream.seen.lock().unwrap().clone();
            assert_eq!(seen.len(), 1, "{framing}");
            assert_eq!(
                (&*seen[0].target, &seen[0].body[..]),
                (path, &br#"{"name":"ok"}"#[..])
            );
            // One framing, by the body that was read: never both.
            let framed = ["content-length", "transfer-encoding"]
                .map(|name| seen[0].headers.get_all(name).iter().count());
            assert_eq!(
                framed.iter().sum::<usize>(),
                1,
                "{framing}: {:?}",
                seen[0].headers
            );
        }
    }
}

#[tokio::test]
async fn equal_lengths_are_one_and_others_are_refused() {
    let bearer = format!("authorization: Bearer {}", token("agent/7"));
    let body = r#"{"name":"ok"}"#;
    for (framing, fine) in [
        ("content-length: 13\r\ncontent-length: 13", true),
        ("content-length: 13\r\ncontent-length: 5", false),
        ("content-length: 13, 13", false),
        ("content-length: +13", false),
        ("content-length: 0x0d", false),
        ("content-length: -1", false),
        ("transfer-encoding: gzip, chunked, identity", false),
        ("transfer-encoding: identity", false),
    ] {
        let gateway = Gateway::start().await;
        let head = format!(
            "POST /items HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\n{bearer}\r\n{framing}\r\n\r\n{body}"
        );
        let answer = gateway.raw(head.as_bytes()).await;
        let status = if fine {
            "HTTP/1.1 200 "
        } else {
            "HTTP/1.1 400 "
        };
        assert!(answer.starts_with(status), "{framing}: {answer}");
        if fine {
            let seen = gateway.upstream.only();
            let lengths: Vec<_> = seen.headers.get_all("content-length").iter().collect();
            assert_eq!(lengths, ["13"]);
            assert_eq!(seen.body, body);
        } else {
            assert_eq!(gateway.upstream.count(), 0, "{framing}");
        }
    }
}

#[tokio::test]
async fn chunks_that_are_no_chunks_end_the_request() {
    let bearer = format!("authorization: Bearer {}", token("agent/7"));
    for chunks in [
        "xyz\r\n{\"name\":\"ok\"}\r\n0\r\n\r\n",
        "-d\r\n{\"name\":\"ok\"}\r\n0\r\n\r\n",
        "fffffffffffffffffffff\r\n{\"name\":\"ok\"}\r\n0\r\n\r\n",
        "d\r\n{\"name\":\"ok\"}xx0\r\n\r\n",
    ] {
        let gateway = Gateway::start().await;
        let head = format!(
            "POST /items HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n{bearer}\r\ntransfer-encoding: chunked\r\n\r\n{chunks}GET /open HTTP/1.1\r\nhost: a\r\n\r\n"
        );
        let answer = gateway.raw(head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{chunks}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{chunks}: {answer}");
        assert_eq!(gateway.upstream.count(), 0, "{chunks}");
    }
}
