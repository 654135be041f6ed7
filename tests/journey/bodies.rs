//! Bodies: judged ones go byte for byte, others are streamed and never held.

use std::io::Write;

use http::Method;
use jiff::Timestamp;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Gateway, POLICIES, of_kind, request, token_with, until};

#[tokio::test]
async fn a_judged_body_goes_byte_for_byte() {
    let gateway = Gateway::start().await;
    let body = "{ \"name\" : \"ok\\u0021\" }\n";
    assert_eq!(
        gateway
            .call(request(Method::POST, "/items", body))
            .await
            .status,
        200
    );
    let seen = gateway.upstream.only();
    assert_eq!(seen.body, body);
    assert_eq!(seen.headers["content-length"], body.len().to_string());
}

#[tokio::test]
async fn a_gzip_body_is_judged_and_forwarded_decoded() {
    let gateway = Gateway::start().await;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(br#"{"name":"ok"}"#).unwrap();
    let mut asked = request(Method::POST, "/items", encoder.finish().unwrap());
    asked
        .headers_mut()
        .insert("content-encoding", "gzip".parse().unwrap());
    assert_eq!(gateway.call(asked).await.status, 200);
    let seen = gateway.upstream.only();
    assert_eq!(seen.body, r#"{"name":"ok"}"#);
    assert!(!seen.headers.contains_key("content-encoding"));

    let mut asked = request(Method::POST, "/items", "xx");
    asked
        .headers_mut()
        .insert("content-encoding", "br".parse().unwrap());
    assert_eq!(
        gateway.call(asked).await.reason(),
        (415, "unsupported_body".into())
    );
}

#[tokio::test]
async fn bodies_are_bounded() {
    let more = "limits: { judged_body: 1KiB, body: 4KiB }";
    let mut gateway = Gateway::with(POLICIES, more).await;
    let large = format!(r#"{{"name":"ok{}"}}"#, "x".repeat(2000));
    let answer = gateway
        .call(request(Method::POST, "/items", large.clone()))
        .await;
    assert_eq!(answer.reason(), (413, "body_too_large".into()));
    let chunked = format!(
        "POST /items HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nauthorization: Bearer {}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
        crate::harness::token("agent/7"),
        large.len(),
    );
    let answer = gateway.raw(chunked.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(gateway.upstream.count(), 0);
    let answer = gateway.call(request(Method::PUT, "/files/f", large)).await;
    assert_eq!(answer.status, 200, "not judged, within limits.body");
    let answer = gateway
        .call(request(Method::PUT, "/files/f", vec![b'x'; 5000]))
        .await;
    assert_eq!(answer.reason(), (413, "body_too_large".into()));
    let records = gateway.stop().await;
    let decisions = of_kind(&records, "decision");
    let permits = decisions
        .iter()
        .filter(|d| d["decision"] == "permit")
        .count();
    assert_eq!((permits, of_kind(&records, "outcome").len()), (2, 2));
}

#[tokio::test]
async fn a_large_body_that_nobody_judges_is_streamed() {
    let gateway = Gateway::start().await;
    let body = vec![7u8; 3 << 20];
    let answer = gateway
        .call(request(Method::PUT, "/files/big", body.clone()))
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(gateway.upstream.only().body, body);
}

#[tokio::test]
async fn a_right_that_ends_while_a_body_comes_in_forwards_nothing() {
    const POLICY: &str = "version: 1
policies:
  - id: items.while
    who: { agent: { glob: \"agent/*\" } }
    do: POST /items
    body: { /name: ok }
    when: { until: $claims/until }
";
    let mut gateway = Gateway::with(POLICY, "").await;
    let cases = [
        (1, 600, "outside_window"),
        // Half a minute of leeway, of which a second or two are left.
        (600, -29, "invalid_token"),
    ];
    for (window, expires, reason) in cases {
        let now = Timestamp::now().as_second();
        let token = token_with("agent/7", expires, json!({ "until": now + window }));
        let mut client = TcpStream::connect(gateway.running().addresses[0])
            .await
            .unwrap();
        let head = format!(
            "POST /items HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nauthorization: Bearer {token}\r\ncontent-length: 13\r\nconnection: close\r\n\r\n{{\"name\":"
        );
        client.write_all(head.as_bytes()).await.unwrap();
        until("the right ended", || Timestamp::now().as_second() > now + 2).await;
        client.write_all(b"\"ok\"}").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.contains(&format!("\"reason\":\"{reason}\"")),
            "{answer}"
        );
    }
    assert_eq!(gateway.upstream.count(), 0);
    let records = gateway.stop().await;
    assert!(
        of_kind(&records, "decision")
            .iter()
            .all(|d| d["decision"] == "deny")
    );
}

#[tokio::test]
async fn heads_alone_hold_no_room_for_judged_bodies() {
    let more = "limits: { judged_body: 64KiB, judged_bodies: 64KiB }\ntimeouts: { body: 60s }";
    let gateway = Gateway::with(POLICIES, more).await;
    let address = gateway.running().addresses[0];
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let mut client = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /items HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nauthorization: Bearer {}\r\ncontent-length: 60000\r\nexpect: 100-continue\r\n\r\n",
            crate::harness::token("agent/7"),
        );
        client.write_all(head.as_bytes()).await.unwrap();
        // The gateway wants the body, so it is past the place where room was taken.
        let mut come = [0; 12];
        client.read_exact(&mut come).await.unwrap();
        assert_eq!(&come, b"HTTP/1.1 100");
        waiting.push(client);
    }
    let answer = gateway
        .call(request(Method::POST, "/items", r#"{"name":"ok"}"#))
        .await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_key_that_goes_while_a_body_comes_in_forwards_nothing() {
    let mut gateway = Gateway::with(POLICIES, "").await;
    let mut client = TcpStream::connect(gateway.running().addresses[0])
        .await
        .unwrap();
    let head = format!(
        "POST /items HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nauthorization: Bearer {}\r\ncontent-length: 13\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n",
        crate::harness::token("agent/7"),
    );
    client.write_all(head.as_bytes()).await.unwrap();
    // The gateway wants the body, so the token was found good before its key goes.
    let mut come = [0; 25];
    client.read_exact(&mut come).await.unwrap();
    assert_eq!(&come, b"HTTP/1.1 100 Continue\r\n\r\n");
    let other = "another-secret-that-is-long-enough-too!!";
    std::fs::write(gateway.file("shared.secret"), other).unwrap();
    gateway.running().reload().await.unwrap();
    client.write_all(b"{\"name\":\"ok\"}").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains(r#""detail":"bad_signature""#), "{answer}");
    assert_eq!(gateway.upstream.count(), 0);
    let records = gateway.stop().await;
    assert_eq!(of_kind(&records, "decision")[0]["detail"], "bad_signature");
}
