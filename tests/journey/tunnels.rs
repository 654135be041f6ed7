//! WebSockets: only under a policy, and no longer than it.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::{SignedDuration, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::harness::{Gateway, PATIENCE, Setup, of_kind, token, until};

const POLICIES: &str = r#"
version: 1
policies:
  - { id: chat, who: { agent: { glob: "agent/*" } }, do: "GET /chat", upgrade: websocket }
  - { id: plain, who: any, do: "GET /plain" }
"#;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A server that takes every handshake, and then sends back what it gets.
async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let head = head(&mut stream).await;
                let key = head.lines().find_map(|line| {
                    let (name, value) = line.split_once(": ")?;
                    name.eq_ignore_ascii_case("sec-websocket-key")
                        .then(|| value.to_owned())
                });
                let Some(key) = key else {
                    return;
                };
                let hash = aws_lc_rs::digest::digest(
                    &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY,
                    format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes(),
                );
                let accept = BASE64_STANDARD.encode(hash);
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = tokio::time::timeout(PATIENCE, stream.read_u8()).await;
        match byte.expect("in time") {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// Asks for a tunnel; the stream and the answer's head.
async fn knock(gateway: &Gateway, path: &str, more: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let asked = format!(
        "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\nauthorization: Bearer {}\r\n{more}\r\n",
        token("agent/7")
    );
    stream.write_all(asked.as_bytes()).await.unwrap();
    let answer = head(&mut stream).await;
    (stream, answer)
}

async fn echoes(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut back = vec![0; text.len()];
    let read = stream.read_exact(&mut back);
    tokio::time::timeout(PATIENCE, read)
        .await
        .expect("in time")
        .unwrap();
    assert_eq!(back, text.as_bytes());
}

/// Whatever still comes, and that then nothing more does.
async fn ends(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let read = stream.read_to_end(&mut rest);
    let _end_or_reset = tokio::time::timeout(PATIENCE, read).await.expect("in time");
    assert!(rest.is_empty(), "{rest:?}");
}

async fn start(policies: &str) -> Gateway {
    let addresses = [echo().await];
    let setup = Setup {
        policies,
        addresses: &addresses,
        ..Setup::default()
    };
    setup.start().await
}

#[tokio::test]
async fn a_tunnel_carries_both_ways_and_is_on_record() {
    let mut gateway = start(POLICIES).await;
    let (mut stream, answer) = knock(&gateway, "/chat", "").await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(
        answer
            .to_lowercase()
            .contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=")
    );
    echoes(&mut stream, "hello").await;
    echoes(&mut stream, "again").await;
    assert!(
        of_kind(&gateway.records(), "outcome").is_empty(),
        "still open"
    );
    drop(stream);
    until("an outcome", || {
        !of_kind(&gateway.records(), "outcome").is_empty()
    })
    .await;
    let records = gateway.stop().await;
    let outcome = of_kind(&records, "outcome")[0];
    assert_eq!(
        (&outcome["status"], &outcome["bytes"]),
        (&101.into(), &10.into()),
        "{outcome}"
    );
}

#[tokio::test]
async fn without_a_policy_for_it_there_is_no_tunnel() {
    let mut gateway = start(POLICIES).await;
    let (_, answer) = knock(&gateway, "/plain", "").await;
    assert!(
        answer.starts_with("HTTP/1.1 403 "),
        "a permit without `upgrade`: {answer}"
    );
    let (_, answer) = knock(&gateway, "/nowhere", "").await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let (_, answer) = knock(&gateway, "/chat", "content-length: 5\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 400 "),
        "a body beside it: {answer}"
    );
    // A permit with `upgrade` is for the upgrade alone.
    assert_eq!(
        gateway.get("/chat").await.reason(),
        (403, "no_policy".into())
    );
    let h2c = format!(
        "GET /plain HTTP/1.1\r\nhost: a\r\nconnection: Upgrade, HTTP2-Settings, close\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQCAAAAAAIAAAAA\r\nauthorization: Bearer {}\r\n\r\n",
        token("agent/7")
    );
    let answer = gateway.raw(h2c.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let records = gateway.stop().await;
    assert!(of_kind(&records, "outcome").is_empty());
}

#[tokio::test]
async fn a_reload_that_withdraws_the_policy_cuts_the_tunnel() {
    let mut gateway = start(POLICIES).await;
    let (mut stream, _) = knock(&gateway, "/chat", "").await;
    echoes(&mut stream, "hello").await;
    gateway.running().reload().await.unwrap();
    echoes(&mut stream, "still here").await;
    std::fs::write(
        gateway.file("policy.yaml"),
        POLICIES.replace("agent/*", "other/*"),
    )
    .unwrap();
    gateway.running().reload().await.unwrap();
    ends(&mut stream).await;
    let records = gateway.stop().await;
    assert_eq!(of_kind(&records, "outcome")[0]["end"], "cut");
}

#[tokio::test]
async fn a_reload_that_takes_the_agent_from_its_provider_cuts_the_tunnel() {
    let mut gateway = start(POLICIES).await;
    let (mut stream, _) = knock(&gateway, "/chat", "").await;
    echoes(&mut stream, "hello").await;
    let path = gateway.file("portcullis.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("agent/**", "other/**")).unwrap();
    gateway.running().reload().await.unwrap();
    ends(&mut stream).await;
    let records = gateway.stop().await;
    assert_eq!(of_kind(&records, "outcome")[0]["end"], "cut");
}

#[tokio::test]
async fn a_tunnel_ends_with_its_window() {
    // Long enough to be opened on a busy machine; only this and the next test wait.
    let until = Timestamp::now() + SignedDuration::from_secs(2);
    let window = format!("upgrade: websocket, when: {{ until: \"{until}\" }}");
    let mut gateway = start(&POLICIES.replace("upgrade: websocket", &window)).await;
    let (mut stream, answer) = knock(&gateway, "/chat", "").await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    echoes(&mut stream, "hello").await;
    ends(&mut stream).await;
    assert!(Timestamp::now() >= until);
    let (_, answer) = knock(&gateway, "/chat", "").await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let records = gateway.stop().await;
    assert_eq!(of_kind(&records, "outcome")[0]["end"], "cut");
    assert_eq!(of_kind(&records, "decision")[1]["reason"], "outside_window");
}

/// A forbid that began, or whose lift ended, while a tunnel was open was passed over.
#[tokio::test]
async fn a_tunnel_ends_where_a_forbid_begins() {
    for forbid in [
        "  - { id: no, effect: forbid, do: GET /chat, when: { from: \"{T}\" } }\n",
        "  - { id: no, effect: forbid, do: GET /chat, unless: lift }
  - { id: lift, who: any, do: GET /chat, upgrade: websocket, when: { until: \"{T}\" } }\n",
    ] {
        let until = Timestamp::now() + SignedDuration::from_secs(2);
        let forbid = forbid.replace("{T}", &until.to_string());
        let mut gateway = start(&format!("{POLICIES}{forbid}")).await;
        let (mut stream, answer) = knock(&gateway, "/chat", "").await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        echoes(&mut stream, "hello").await;
        ends(&mut stream).await;
        assert!(Timestamp::now() >= until);
        let records = gateway.stop().await;
        assert_eq!(of_kind(&records, "outcome")[0]["end"], "cut");
    }
}

/// A server that takes no handshake, when it is told to, and sends a second answer with its refusal.
async fn refuses(reached: Arc<Notify>, release: Arc<Notify>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (reached, release) = (reached.clone(), release.clone());
            tokio::spawn(async move {
                loop {
                    let head = head(&mut stream).await.to_lowercase();
                    let answer = if head.is_empty() {
                        return;
                    } else if head.contains("upgrade: websocket") {
                        reached.notify_one();
                        release.notified().await;
                        let mut early = [0; 64];
                        match stream.try_read(&mut early) {
                            Err(_) => {
                                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"
                            }
                            Ok(_) => "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly",
                        }
                    } else {
                        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine"
                    };
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_handshake_that_is_not_taken_leaves_no_byte_on_either_side() {
    let (reached, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let addresses = [refuses(reached.clone(), release.clone()).await];
    let setup = Setup {
        policies: POLICIES,
        addresses: &addresses,
        ..Setup::default()
    };
    let mut gateway = setup.start().await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let frames = "\u{1}\u{5}hello\r\n\r\n";
    let asked = format!(
        "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\nauthorization: Bearer {}\r\n\r\n{frames}",
        token("agent/7")
    );
    stream.write_all(asked.as_bytes()).await.unwrap();
    tokio::time::timeout(PATIENCE, reached.notified())
        .await
        .expect("in time");
    // Time enough for the frames to go up, if they did.
    stream.write_all(frames.as_bytes()).await.unwrap();
    for _ in 0..8 {
        assert_eq!(gateway.get("/plain").await.text(), "fine");
    }
    release.notify_one();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let _end_or_reset = tokio::time::timeout(PATIENCE, read).await.expect("in time");
    let answer = String::from_utf8(answer).unwrap();
    let (_, rest) = answer.split_once("\r\n\r\n").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(rest.starts_with("okHTTP/1.1 400 "), "{answer}");
    assert!(!rest.contains("evil"), "{answer}");
    // What came after the answer is nobody's answer.
    for _ in 0..8 {
        assert_eq!(gateway.get("/plain").await.text(), "fine");
    }
    let records = gateway.stop().await;
    let decisions = of_kind(&records, "decision");
    assert_eq!(decisions.len(), 17, "the frames are no request");
    let ends = of_kind(&records, "outcome");
    assert!(ends.iter().all(|end| end["end"] == "complete"), "{ends:?}");
}
