//! Attacks that need more than a few requests: sessions carried from one door to another, rights that end while
//! they are remembered, and floods.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::ask::{self, Answer, Back};
use super::authorities::{Client, FAR};
use super::data::Token;
use super::world::World;
use crate::harness::{PATIENCE, of_kind};

fn head(path: &str, host: &str, token: Option<&str>) -> Vec<u8> {
    let token = token.map(|token| format!("authorization: Bearer {token}\r\n"));
    let token = token.unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{token}connection: close\r\n\r\n").into_bytes()
}

fn with(claims: &[(&str, &str)], token: Token) -> Token {
    let claims = claims.iter();
    Token {
        with: claims
            .map(|(name, value)| ((*name).into(), Some((*value).into())))
            .collect(),
        ..token
    }
}

async fn plain(world: &World, path: &str, token: &str) -> Answer {
    let tcp = TcpStream::connect(world.address("plain")).await.unwrap();
    match ask::http1(tcp, &head(path, "a", Some(token))).await {
        Back::Answer(answer) => answer,
        Back::Closed(how) => panic!("{how}"),
    }
}

const HOST: &str = "api.example.com";

/// A session's ticket is offered to every other door, under its own name and another: it opens none of them.
#[tokio::test]
async fn a_session_of_one_listener_gives_no_identity_on_another() {
    let mut world = World::start().await;
    let own = world.authorities.named["own"].clone();
    for tls in ["1.3", "1.2"] {
        for (from, to, certificate, expected) in [
            // The control: where nobody is asked for a certificate, sessions are resumed.
            ("tls", "tls", None, "resumed 401"),
            ("tls", "optional", None, "full 401"),
            ("tls", "required", None, "CertificateRequired"),
            ("tls", "optional", Some(&own), "full 200"),
            ("tls", "strangers", Some(&own), "DecryptError"),
            ("optional", "optional", None, "full 401"),
            ("optional", "optional", Some(&own), "full 200"),
            ("optional", "tls", Some(&own), "full 401"),
            ("optional", "required", Some(&own), "full 200"),
            ("optional", "strangers", Some(&own), "DecryptError"),
            ("required", "required", Some(&own), "full 200"),
            ("required", "foreign", Some(&own), "HandshakeFailure"),
        ] {
            let config = world.authorities.client(certificate, tls);
            let mut got = String::new();
            for door in [from, to] {
                let tcp = TcpStream::connect(world.address(door)).await.unwrap();
                got = match ask::tls(tcp, config.clone(), HOST).await {
                    Err(alert) => alert,
                    Ok(stream) => {
                        let kind = if ask::resumed(&stream) {
                            "resumed"
                        } else {
                            "full"
                        };
                        match ask::http1(stream, &head("/spiffe/session", HOST, None)).await {
                            Back::Answer(answer) => format!("{kind} {}", answer.status),
                            Back::Closed(how) => how,
                        }
                    }
                };
            }
            assert_eq!(got, expected, "TLS {tls}, from {from} to {to}");
        }
    }
    let (records, _) = world.stop().await;
    for decision in of_kind(&records, "decision") {
        let known = decision["principal"]["spiffe_id"] == "spiffe://corp/agent/7";
        assert_eq!(known, decision["decision"] == "permit", "{decision}");
    }
}

/// Over one connection, and over one that stands on another host's session, only the handshake's own host is asked.
#[tokio::test]
async fn a_session_or_a_connection_of_one_host_does_not_reach_another() {
    let world = World::start().await;
    let good = world.good();
    for tls in ["1.3", "1.2"] {
        let config = world.authorities.client(None, tls);
        for (name, host, status) in [
            ("api.example.com", "api.example.com", 200),
            // With the first one's session.
            ("other.example.com", "api.example.com", 421),
            ("other.example.com", "other.example.com", 200),
            ("api.example.com", "other.example.com", 421),
            ("api.example.com", "API.example.com:443", 200),
        ] {
            let tcp = TcpStream::connect(world.address("tls")).await.unwrap();
            let stream = ask::tls(tcp, config.clone(), name).await.unwrap();
            match ask::http1(stream, &head("/c/host", host, Some(&good))).await {
                Back::Answer(answer) => assert_eq!(answer.status, status, "{name} {host}"),
                Back::Closed(how) => panic!("{how}"),
            }
        }
        // HTTP/2 lets a client reuse a connection for whatever its certificate names (RFC 9113, section 9.1.1).
        let mut config = (*world.authorities.client(None, tls)).clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let tcp = TcpStream::connect(world.address("tls")).await.unwrap();
        let stream = ask::tls(tcp, config.into(), HOST).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http2::handshake(
            hyper_util::rt::TokioExecutor::new(),
            hyper_util::rt::TokioIo::new(stream),
        )
        .await
        .unwrap();
        tokio::spawn(connection);
        for (host, status) in [(HOST, 200), ("other.example.com", 421), (HOST, 200)] {
            let request = http::Request::get(format!("https://{host}/c/h2"))
                .header("authorization", format!("Bearer {good}"))
                .body(http_body_util::Full::<bytes::Bytes>::default());
            let answer = sender.send_request(request.unwrap()).await.unwrap();
            assert_eq!(answer.status(), status, "{host}");
        }
    }
}

async fn by_certificate(world: &World, door: &str, own: Option<&Client>, tls: &str) -> String {
    let config = world.authorities.client(own, tls);
    let tcp = TcpStream::connect(world.address(door)).await.unwrap();
    let stream = match ask::tls(tcp, config, HOST).await {
        Ok(stream) => stream,
        Err(alert) => return alert,
    };
    match ask::http1(stream, &head("/spiffe/again", HOST, None)).await {
        Back::Answer(answer) => answer.status.to_string(),
        Back::Closed(how) => how,
    }
}

/// A client that was in yesterday brings its session along: it is asked for its certificate, and that is looked at.
#[tokio::test]
async fn who_was_revoked_or_lost_its_authority_does_not_come_back_by_a_session() {
    let world = World::start().await;
    let own = world.authorities.named["own"].clone();
    for tls in ["1.3", "1.2"] {
        // One configuration, so one memory of sessions, over all that follows.
        let config = world.authorities.client(Some(&own), tls);
        let again = async |door: &str| {
            let tcp = TcpStream::connect(world.address(door)).await.unwrap();
            let stream = match ask::tls(tcp, config.clone(), HOST).await {
                Ok(stream) => stream,
                Err(alert) => return alert,
            };
            assert!(!ask::resumed(&stream), "{door}");
            match ask::http1(stream, &head("/spiffe/again", HOST, None)).await {
                Back::Answer(answer) => answer.status.to_string(),
                Back::Closed(how) => how,
            }
        };
        assert_eq!(again("required").await, "200");
        assert_eq!(again("optional").await, "200");
        let list = world.authorities.crl("clients", &[7, 666]);
        world.change("clients.crl", &list).await;
        assert_eq!(again("required").await, "CertificateRevoked");
        // No list is kept at that door.
        assert_eq!(again("optional").await, "200");
        let list = world.authorities.crl("clients", &[666]);
        world.change("clients.crl", &list).await;
        assert_eq!(again("required").await, "200");
        let stranger = world.authorities.pem("stranger");
        world.change("clients.pem", &stranger).await;
        assert_eq!(again("required").await, "DecryptError");
        assert_eq!(again("optional").await, "DecryptError");
        let clients = world.authorities.pem("clients");
        world.change("clients.pem", &clients).await;
        assert_eq!(again("required").await, "200");
    }
    assert_eq!(by_certificate(&world, "optional", None, "1.3").await, "401");
}

async fn open_connection(world: &World, door: &str, own: Option<&Client>) -> TlsStream<TcpStream> {
    let config = world.authorities.client(own, "1.3");
    let tcp = TcpStream::connect(world.address(door)).await.unwrap();
    ask::tls(tcp, config, HOST).await.unwrap()
}

/// One more request over a connection that is kept: status, and the body.
async fn another<S>(stream: &mut S, path: &str, token: Option<&str>) -> (u16, String)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let asked = String::from_utf8(head(path, HOST, token)).unwrap();
    let asked = asked.replace("connection: close\r\n", "");
    stream.write_all(asked.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = Vec::new();
    // Each body ends in the upstream's word or in a problem's brace.
    while !answer.ends_with(b"\r\n\r\nok") && !answer.ends_with(b"}") {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "{path}");
    }
    let text = String::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head["HTTP/1.1 ".len()..][..3].parse().unwrap();
    (status, body.to_owned())
}

/// Who asked last over a connection says nothing about who asks next.
#[tokio::test]
async fn a_connection_keeps_no_credential() {
    let world = World::start().await;
    let good = world.good();
    let bad = Token {
        key: "attacker".into(),
        ..Token::default()
    };
    let bad = world.token(&bad).text();
    let mut stream = TcpStream::connect(world.address("plain")).await.unwrap();
    for (token, status) in [
        (Some(&good), 200),
        (None, 401),
        (Some(&good), 200),
        (Some(&bad), 401),
        (None, 401),
        (Some(&good), 200),
    ] {
        let token = token.map(String::as_str);
        assert_eq!(another(&mut stream, "/seven/kept", token).await.0, status);
    }
    // Trailers come after the request was judged, and nobody reads them.
    let trailing = format!(
        "POST /form/trailers HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\ntrailer: authorization\r\nconnection: close\r\n\r\n1\r\nx\r\n0\r\nauthorization: Bearer {good}\r\n\r\n"
    );
    match ask::http1(stream, trailing.as_bytes()).await {
        Back::Answer(answer) => assert_eq!(answer.status, 401, "{answer:?}"),
        Back::Closed(how) => panic!("{how}"),
    }
    assert_eq!(world.upstream.heads.lock().unwrap().len(), 3);
}

/// What a connection's identity stands on may end while it is open: the certificate, an authority's above it, a list.
#[tokio::test]
async fn an_open_connection_ends_with_what_its_certificate_stands_on() {
    let world = World::start().await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let soon = now.as_secs() + 8;
    let list = world.authorities.crl_until("clients", &[], soon);
    world.change("clients.crl", &list).await;
    let own = world.authorities.named["own"].clone();
    let by_authority = world.authorities.short_lived(soon, FAR);
    let by_itself = world.authorities.short_lived(FAR, soon);
    let mut open = Vec::new();
    for (door, client, detail) in [
        ("optional", &by_itself, Some("certificate_expired")),
        ("optional", &by_authority, Some("certificate_untrusted")),
        ("required", &own, Some("certificate_untrusted")),
        ("optional", &own, None),
    ] {
        let mut stream = open_connection(&world, door, Some(client)).await;
        assert_eq!(another(&mut stream, "/spiffe/open", None).await.0, 200);
        open.push((stream, detail));
    }
    let begun = Instant::now();
    for (stream, detail) in &mut open {
        let Some(detail) = detail else {
            assert_eq!(another(stream, "/spiffe/open", None).await.0, 200);
            continue;
        };
        loop {
            let (status, body) = another(stream, "/spiffe/open", None).await;
            if status != 200 {
                assert!(body.contains(*detail), "{body}");
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "it never ends: {detail}");
        }
    }
}

/// A connection that came without a certificate, when none was required, doesn't outlive the change of that.
#[tokio::test]
async fn a_connection_without_a_certificate_ends_its_rights_where_one_is_required_by_now() {
    let mut world = World::start().await;
    let good = world.good();
    let own = world.authorities.named["own"].clone();
    let mut open = Vec::new();
    for (certificate, path, token) in [
        (None, "/seven/open", Some(good.as_str())),
        (Some(&own), "/spiffe/open", None),
    ] {
        let mut stream = open_connection(&world, "optional", certificate).await;
        assert_eq!(another(&mut stream, path, token).await.0, 200);
        open.push((stream, path, token));
    }
    let path = world.file("portcullis.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let required = text.replacen("mode: optional", "mode: required", 1);
    world.change("portcullis.yaml", &required).await;
    for ((mut stream, path, token), status) in open.into_iter().zip([401, 200]) {
        assert_eq!(another(&mut stream, path, token).await.0, status, "{path}");
    }
    let (records, _) = world.stop().await;
    let details: Vec<_> = of_kind(&records, "decision")
        .iter()
        .map(|decision| decision["detail"].clone())
        .collect();
    let none = Value::Null;
    let untrusted = Value::from("certificate_untrusted");
    assert_eq!(details, [none.clone(), none.clone(), untrusted, none]);
}

/// A token that is remembered ends with its time, its key and its issuer's right to name the agent.
#[tokio::test]
async fn a_token_that_is_remembered_ends_with_what_it_stands_on() {
    let mut world = World::start().await;
    let other_key = Token {
        header: r#"{"alg":"ES256","kid":"k5","typ":"at+jwt"}"#.into(),
        key: "es256b".into(),
        ..Token::default()
    };
    let (first, second) = (world.good(), world.token(&other_key).text());
    for token in [&first, &second, &first] {
        assert_eq!(plain(&world, "/seven/key", token).await.status, 200);
    }
    let fewer = world.keys.set("corp", &["k1"]);
    world.change("corp.json", &fewer).await;
    let answer = plain(&world, "/seven/key", &first).await;
    assert_eq!(answer.problem("detail").as_deref(), Some("unknown_key"));
    assert_eq!(plain(&world, "/seven/key", &second).await.status, 200);

    let short = with(
        &[
            ("iss", r#""shared""#),
            ("sub", r#""shared/1""#),
            ("exp", "{now+5}"),
        ],
        Token {
            header: r#"{"alg":"HS256","typ":"at+jwt"}"#.into(),
            key: "hs256".into(),
            ..Token::default()
        },
    );
    let short = world.token(&short).text();
    assert_eq!(plain(&world, "/c/short", &short).await.status, 200);
    let begun = Instant::now();
    let mut cut = 0;
    loop {
        let tcp = TcpStream::connect(world.address("plain")).await.unwrap();
        match ask::http1(tcp, &head("/c/short", "a", Some(&short))).await {
            Back::Answer(answer) if answer.status == 200 => {}
            Back::Answer(answer)
                if answer.problem("reason").as_deref() == Some("invalid_token") =>
            {
                assert_eq!(answer.problem("detail").as_deref(), Some("token_expired"));
                break;
            }
            // One that was under way at that moment.
            _ => cut += 1,
        }
        assert!(begun.elapsed() < PATIENCE, "it never ends");
    }
    let (records, _) = world.stop().await;
    let ends = of_kind(&records, "outcome");
    let ends = ends.iter().filter(|outcome| outcome["end"] == "cut");
    assert_eq!(ends.count(), cut);
}

/// Bad tokens cost their senders more than they cost here, and put nobody out.
#[tokio::test]
async fn ten_thousand_bad_tokens_neither_evict_nor_stall_a_good_one() {
    const SENDERS: usize = 8;
    const EACH: usize = 1250;
    let mut world = World::start().await;
    let good = world.good();
    let bad = Token {
        key: "attacker".into(),
        ..Token::default()
    };
    let parts = world.token(&bad);
    assert_eq!(plain(&world, "/seven/flood", &good).await.status, 200);
    let address = world.address("plain");
    let flood: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (head, body, signature) =
                (parts.head.clone(), parts.body.clone(), parts.signature.clone());
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let mut held = Vec::new();
                for number in 0..EACH {
                    // Another token each time, with a signature of the right form.
                    let own = format!("{sender:02}{number:06}");
                    let signature = format!("{own}{}", &signature[own.len()..]);
                    let text = format!(
                        "GET /seven/bad HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {head}.{body}.{signature}\r\n\r\n"
                    );
                    stream.write_all(text.as_bytes()).await.unwrap();
                    held.clear();
                    while !held.ends_with(b"}") {
                        assert!(stream.read_buf(&mut held).await.unwrap() > 0);
                    }
                    assert!(held.starts_with(b"HTTP/1.1 401 "));
                }
            })
        })
        .collect();
    let mut served = 1;
    while !flood.iter().all(tokio::task::JoinHandle::is_finished) {
        assert_eq!(plain(&world, "/seven/flood", &good).await.status, 200);
        served += 1;
    }
    for sender in flood {
        sender.await.unwrap();
    }
    assert_eq!(plain(&world, "/seven/flood", &good).await.status, 200);
    served += 1;
    let metrics = world.metrics().await;
    let hits = format!(
        "portcullis_token_cache_total{{result=\"hit\"}} {}\n",
        served - 1
    );
    assert!(metrics.contains(&hits), "{served} served: {metrics}");
    assert_eq!(world.upstream.heads.lock().unwrap().len(), served);
    let (records, _) = world.stop().await;
    let refused = of_kind(&records, "decision");
    let refused = refused.iter().filter(|d| d["detail"] == "bad_signature");
    assert_eq!(refused.count(), SENDERS * EACH);
}
