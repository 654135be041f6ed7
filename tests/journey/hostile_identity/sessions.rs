//! TLS from door to door: sessions carried to another listener or host, and connections that outlive what their
//! identity stands on.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::ask::{self, Back, HOST, another, head};
use super::authorities::{Client, FAR};
use super::world::World;
use crate::harness::{PATIENCE, of_kind};

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

/// What a connection's identity stands on may end while it is open: the certificate, an authority's above it, a list.
#[tokio::test]
async fn an_open_connection_ends_with_what_its_certificate_stands_on() {
    let mut world = World::start().await;
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
        let first = another(&mut stream, "/spiffe/open", None).await;
        assert_eq!(first.unwrap().0, 200);
        open.push((stream, detail));
    }
    let begun = Instant::now();
    let mut cut = 0;
    for (stream, detail) in &mut open {
        let Some(detail) = detail else {
            let last = another(stream, "/spiffe/open", None).await;
            assert_eq!(last.unwrap().0, 200);
            continue;
        };
        loop {
            match another(stream, "/spiffe/open", None).await {
                Some((200, _)) => {}
                Some((_, body)) => {
                    // It may also end between who asks and what for.
                    let meanwhile = body.contains("outside_window");
                    assert!(meanwhile || body.contains(*detail), "{body}");
                    break;
                }
                // Under way at that moment, which is on record.
                None => {
                    cut += 1;
                    break;
                }
            }
            assert!(begun.elapsed() < PATIENCE, "it never ends: {detail}");
        }
    }
    let (records, _) = world.stop().await;
    let ends = of_kind(&records, "outcome");
    let ends = ends.iter().filter(|outcome| outcome["end"] == "cut");
    // One that ended amid its last bytes may have reached the client whole.
    assert!((cut..=3).contains(&ends.count()), "{cut}");
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
        assert_eq!(another(&mut stream, path, token).await.unwrap().0, 200);
        open.push((stream, path, token));
    }
    let path = world.file("portcullis.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let required = text.replacen("mode: optional", "mode: required", 1);
    world.change("portcullis.yaml", &required).await;
    for ((mut stream, path, token), status) in open.into_iter().zip([401, 200]) {
        assert_eq!(
            another(&mut stream, path, token).await.unwrap().0,
            status,
            "{path}"
        );
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

async fn open_connection(world: &World, door: &str, own: Option<&Client>) -> TlsStream<TcpStream> {
    let config = world.authorities.client(own, "1.3");
    let tcp = TcpStream::connect(world.address(door)).await.unwrap();
    ask::tls(tcp, config, HOST).await.unwrap()
}
