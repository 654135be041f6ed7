//! TLS at the door: protocols, names, client certificates, tokens bound to them, and certificates that change.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::{
    Answer, Gateway, POLICIES, Setup, bare, exchange, of_kind, request, token_with, until,
};
use crate::pki::{Authority, Issued};
use crate::streams::{Scripted, soon};

const HOST: &str = "api.example.com";

/// A gateway behind TLS, with what its files are.
struct Door {
    server: Authority,
    clients: Authority,
    gateway: Gateway,
}

const PLAIN: &str = ", tls: { certificate: server.pem, key: server.key }";
const REQUIRED: &str = ", tls: { certificate: server.pem, key: server.key, clients: { ca: clients.pem, crl: clients.crl } }";
const OPTIONAL: &str = ", tls: { certificate: server.pem, key: server.key, clients: { ca: clients.pem, mode: optional } }";

impl Door {
    async fn open(listener: &str, policies: &str) -> Door {
        Door::before(listener, policies, &[]).await
    }

    async fn before(listener: &str, policies: &str, addresses: &[String]) -> Door {
        let (server, clients) = (Authority::new(), Authority::new());
        let own = server.issue(&["dns:api.example.com", "dns:other.example.com"], 1, 2090);
        let files = [
            ("server.pem", own.pem.clone()),
            ("server.key", own.key.serialize_pem()),
            ("clients.pem", clients.pem()),
            ("clients.crl", clients.crl(&[666])),
        ];
        let setup = Setup {
            listener,
            policies,
            addresses,
            files: &files,
            ..Setup::default()
        };
        let gateway = setup.start().await;
        Door {
            server,
            clients,
            gateway,
        }
    }

    async fn connect(&self, config: Arc<ClientConfig>, name: &str) -> TlsStream<TcpStream> {
        let tcp = TcpStream::connect(self.gateway.address).await.unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        TlsConnector::from(config).connect(name, tcp).await.unwrap()
    }

    /// One request with this certificate; `None` where the handshake or what follows it is refused.
    async fn call(&self, own: Option<&Issued>, asked: Request<Full<Bytes>>) -> Option<Answer> {
        let config = self.server.client(own, &["http/1.1"]);
        let tcp = TcpStream::connect(self.gateway.address).await.unwrap();
        let name = ServerName::try_from(HOST).unwrap();
        // With TLS 1.3 the client is through before the server looked at its certificate.
        let stream = TlsConnector::from(config).connect(name, tcp).await.ok()?;
        exchange(TokioIo::new(stream), asked).await.ok()
    }
}

fn with_token(path: &str, token: &str) -> Request<Full<Bytes>> {
    let mut asked = bare(Method::GET, path, "");
    let value = format!("Bearer {token}").parse().unwrap();
    asked.headers_mut().insert("authorization", value);
    asked
}

#[tokio::test]
async fn both_protocols_are_agreed_on_by_alpn() {
    let door = Door::open(PLAIN, POLICIES).await;
    for (alpn, agreed) in [
        (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
        (&["http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let stream = door.connect(door.server.client(None, alpn), HOST).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), agreed);
        let io = TokioIo::new(stream);
        let answer = if agreed == Some(b"h2") {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                    .await
                    .unwrap();
            tokio::spawn(connection);
            let mut asked = request(Method::GET, "https://api.example.com/items/1", "");
            asked.headers_mut().remove("host");
            Answer::read(sender.send_request(asked).await.unwrap()).await
        } else {
            let asked = request(Method::GET, "/items/1", "");
            exchange(io, asked).await.unwrap()
        };
        assert_eq!(answer.status, 200, "{alpn:?}");
    }
    let seen = door.gateway.upstream.seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    assert!(
        seen.iter()
            .all(|s| s.headers["x-forwarded-proto"] == "https")
    );
}

#[tokio::test]
async fn a_request_for_another_host_than_the_handshake_is_misdirected() {
    let mut door = Door::open(PLAIN, POLICIES).await;
    for (name, status) in [(HOST, 200), ("other.example.com", 421)] {
        let config = door.server.client(None, &["http/1.1"]);
        let stream = door.connect(config, name).await;
        let answer = exchange(TokioIo::new(stream), request(Method::GET, "/items/1", ""));
        assert_eq!(answer.await.unwrap().status, status, "{name}");
    }
    assert_eq!(door.gateway.upstream.count(), 1);
    let records = door.gateway.stop().await;
    assert_eq!(of_kind(&records, "decision").len(), 2);
}

const BY_CERTIFICATE: &str = r#"
version: 1
policies:
  - { id: spiffe, who: { cert/spiffe_id: { glob: "spiffe://corp/agent/*" } }, do: "GET /spiffe" }
  - { id: workload, who: { workload: "spiffe://corp/agent/7" }, do: "GET /workload" }
  - { id: dns, who: { cert/dns: { some: agent.corp.example } }, do: "GET /dns" }
  - { id: email, who: { cert/email: { some: agent@corp.example } }, do: "GET /email" }
  - { id: print, who: { cert/fingerprint: "FINGERPRINT" }, do: "GET /print" }
  - { id: token, who: { agent: { glob: "agent/*" } }, do: "GET /token" }
  - { id: open, who: anonymous, do: "GET /open" }
"#;

#[tokio::test]
async fn a_certificate_is_an_identity() {
    let mut door = Door::open(REQUIRED, BY_CERTIFICATE).await;
    let spiffe = door.clients.issue(&["uri:spiffe://corp/agent/7"], 7, 2090);
    let foreign = door.clients.issue(&["uri:spiffe://other/agent/7"], 8, 2090);
    let named = door.clients.issue(
        &["dns:agent.corp.example", "email:agent@corp.example"],
        9,
        2090,
    );
    let fingerprint: String = named
        .thumbprint()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    std::fs::write(
        door.gateway.file("policy.yaml"),
        BY_CERTIFICATE.replace("FINGERPRINT", &fingerprint),
    )
    .unwrap();
    door.gateway.running().reload().await.unwrap();
    for (own, path, status) in [
        (&spiffe, "/spiffe", 200),
        (&spiffe, "/workload", 200),
        (&spiffe, "/dns", 403),
        (&spiffe, "/print", 403),
        (&foreign, "/spiffe", 403),
        (&foreign, "/workload", 403),
        (&named, "/dns", 200),
        (&named, "/email", 200),
        (&named, "/print", 200),
        (&named, "/spiffe", 403),
        (&named, "/token", 403),
    ] {
        let answer = door.call(Some(own), bare(Method::GET, path, "")).await;
        assert_eq!(answer.unwrap().status, status, "{path}");
    }
    let records = door.gateway.stop().await;
    let first = &of_kind(&records, "decision")[0]["principal"];
    assert_eq!(first["spiffe_id"], "spiffe://corp/agent/7", "{first}");
}

#[tokio::test]
async fn who_is_not_vouched_for_does_not_come_in() {
    let mut door = Door::open(REQUIRED, BY_CERTIFICATE).await;
    let id = &["uri:spiffe://corp/agent/7"][..];
    let stranger = Authority::new().issue(id, 7, 2090);
    let revoked = door.clients.issue(id, 666, 2090);
    let expired = door.clients.issue(id, 7, 2021);
    let two_ids = &["uri:spiffe://corp/agent/7", "uri:spiffe://corp/agent/8"];
    let two_ids = door.clients.issue(two_ids, 7, 2090);
    for (what, own) in [
        ("no certificate", None),
        ("another authority's", Some(&stranger)),
        ("revoked", Some(&revoked)),
        ("expired", Some(&expired)),
        ("two identities", Some(&two_ids)),
    ] {
        let answer = door.call(own, bare(Method::GET, "/open", "")).await;
        assert!(answer.is_none(), "{what}: {answer:?}");
    }
    assert_eq!(door.gateway.upstream.count(), 0);
    let (_, metrics) = door.gateway.admin("/metrics").await;
    let counted = metrics
        .lines()
        .any(|l| l.contains("handshake") && l.ends_with(" 5"));
    assert!(counted, "{metrics}");
    let records = door.gateway.stop().await;
    assert!(of_kind(&records, "decision").is_empty());
}

#[tokio::test]
async fn an_optional_certificate_may_be_missing_but_not_wrong() {
    let door = Door::open(OPTIONAL, BY_CERTIFICATE).await;
    let id = &["uri:spiffe://corp/agent/7"][..];
    let good = door.clients.issue(id, 7, 2090);
    let stranger = Authority::new().issue(id, 7, 2090);
    let asked = |path| bare(Method::GET, path, "");
    assert_eq!(door.call(None, asked("/open")).await.unwrap().status, 200);
    let answer = door.call(None, asked("/spiffe")).await.unwrap();
    assert_eq!(answer.reason(), (401, "no_credentials".into()));
    let answer = door.call(Some(&good), asked("/spiffe")).await;
    assert_eq!(answer.unwrap().status, 200);
    let answer = door.call(Some(&stranger), asked("/open")).await;
    assert!(answer.is_none(), "{answer:?}");
    let token = token_with("agent/7", 300, json!({}));
    let answer = door.call(None, with_token("/token", &token)).await;
    assert_eq!(answer.unwrap().status, 200);
}

#[tokio::test]
async fn a_bound_token_counts_with_its_certificate_only() {
    let door = Door::open(OPTIONAL, BY_CERTIFICATE).await;
    let id = &["uri:spiffe://corp/agent/7"][..];
    let own = door.clients.issue(id, 7, 2090);
    let other = door.clients.issue(id, 8, 2090);
    let thumbprint = BASE64_URL_SAFE_NO_PAD.encode(own.thumbprint());
    let bound = token_with("agent/7", 300, json!({ "cnf": { "x5t#S256": thumbprint } }));
    let bearer = token_with("agent/7", 300, json!({}));
    let strange = token_with("agent/7", 300, json!({ "cnf": { "jkt": thumbprint } }));
    // Each twice: the second may find the first's verified token.
    for (what, certificate, token, expected) in [
        ("its own", Some(&own), &bound, 200),
        ("none", None, &bound, 401),
        ("another", Some(&other), &bound, 401),
        (
            "a bearer token beside a certificate",
            Some(&own),
            &bearer,
            401,
        ),
        ("a bearer token alone", None, &bearer, 200),
        (
            "a binding that can't be verified",
            Some(&own),
            &strange,
            401,
        ),
        ("its own again", Some(&own), &bound, 200),
        ("none again", None, &bound, 401),
    ] {
        for _ in 0..2 {
            let answer = door.call(certificate, with_token("/token", token)).await;
            let answer = answer.unwrap();
            assert_eq!(answer.status, expected, "{what}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections() {
    let door = Door::open(PLAIN, POLICIES).await;
    let certificate = |stream: &TlsStream<TcpStream>| {
        let chain = stream.get_ref().1.peer_certificates().unwrap();
        chain[0].clone()
    };
    let config = door.server.client(None, &["http/1.1"]);
    let before = door.connect(config.clone(), HOST).await;
    let old = certificate(&before);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(before))
        .await
        .unwrap();
    tokio::spawn(connection);
    let asked = || request(Method::GET, "/items/1", "");
    let answer = Answer::read(sender.send_request(asked()).await.unwrap()).await;
    assert_eq!(answer.status, 200);

    let new = door.server.issue(&["dns:api.example.com"], 2, 2090);
    // The key alone doesn't fit the certificate: nothing changes.
    std::fs::write(door.gateway.file("server.key"), new.key.serialize_pem()).unwrap();
    door.gateway.running().reload().await.unwrap_err();
    let fresh = door.connect(config.clone(), HOST).await;
    assert_eq!(certificate(&fresh), old);
    std::fs::write(door.gateway.file("server.pem"), &new.pem).unwrap();
    door.gateway.running().reload().await.unwrap();

    let fresh = door.connect(config, HOST).await;
    assert_eq!(certificate(&fresh), new.der);
    let answer = exchange(TokioIo::new(fresh), asked()).await.unwrap();
    assert_eq!(answer.status, 200);
    sender.ready().await.unwrap();
    let answer = Answer::read(sender.send_request(asked()).await.unwrap()).await;
    assert_eq!(answer.status, 200, "an old connection goes on");
}

#[tokio::test]
async fn who_is_revoked_by_a_reload_stays_out() {
    let mut door = Door::open(REQUIRED, BY_CERTIFICATE).await;
    let own = door.clients.issue(&["uri:spiffe://corp/agent/7"], 7, 2090);
    let asked = || bare(Method::GET, "/spiffe", "");
    let other = door.clients.issue(&["uri:spiffe://corp/agent/8"], 8, 2090);
    let mut open = Vec::new();
    for certificate in [&own, &other] {
        let config = door.server.client(Some(certificate), &["http/1.1"]);
        let stream = door.connect(config, HOST).await;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let answer = Answer::read(sender.send_request(asked()).await.unwrap()).await;
        assert_eq!(answer.status, 200);
        open.push(sender);
    }
    let list = door.clients.crl(&[666, 7]);
    std::fs::write(door.gateway.file("clients.crl"), list).unwrap();
    door.gateway.running().reload().await.unwrap();
    assert!(door.call(Some(&own), asked()).await.is_none());
    assert!(door.call(Some(&other), asked()).await.is_some());
    // On connections that were open before, too; those of others go on.
    for (sender, status) in open.iter_mut().zip([401, 200]) {
        sender.ready().await.unwrap();
        let answer = Answer::read(sender.send_request(asked()).await.unwrap()).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        let untrusted = answer.text().contains("certificate_untrusted");
        assert_eq!(untrusted, status == 401, "{}", answer.text());
    }
    let records = door.gateway.stop().await;
    let denied = of_kind(&records, "decision")
        .into_iter()
        .find(|d| d["decision"] == "deny");
    assert_eq!(denied.unwrap()["reason"], "invalid_token");
}

#[tokio::test]
async fn a_request_under_way_ends_with_its_certificate() {
    let policies = "version: 1\npolicies: [{ id: slow, who: { cert/spiffe_id: { present: true } }, do: GET /slow }]\n";
    let mut door = Door::open(REQUIRED, policies).await;
    let own = door.clients.issue(&["uri:spiffe://corp/agent/7"], 7, 2090);
    let other = door.clients.issue(&["uri:spiffe://corp/agent/8"], 8, 2090);
    let asked = || bare(Method::GET, "/slow", "");
    let revoke = async {
        until("both wait", || door.gateway.upstream.count() == 2).await;
        let list = door.clients.crl(&[666, 7]);
        std::fs::write(door.gateway.file("clients.crl"), list).unwrap();
        door.gateway.running().reload().await.unwrap();
        door.gateway.upstream.release.notify_waiters();
    };
    let (first, second, ()) = tokio::join!(
        door.call(Some(&own), asked()),
        door.call(Some(&other), asked()),
        revoke,
    );
    assert_eq!(first.unwrap().reason(), (403, "revoked".into()));
    assert_eq!(second.unwrap().status, 200);
    let records = door.gateway.stop().await;
    let mut ends: Vec<_> = of_kind(&records, "outcome")
        .iter()
        .map(|o| o["end"].clone())
        .collect();
    ends.sort_by_key(ToString::to_string);
    assert_eq!(ends, ["complete", "cut"]);
}

#[tokio::test]
async fn an_open_stream_ends_with_its_certificate() {
    let policies = "version: 1\npolicies: [{ id: events, who: { cert/spiffe_id: { present: true } }, do: GET /events }]\n";
    for (what, listed, other_ca, goes_on) in [
        ("nothing new", 666, false, true),
        ("another is revoked", 8, false, true),
        ("it is revoked", 7, false, false),
        ("its authority is gone", 666, true, false),
    ] {
        let upstream = Scripted::start().await;
        let addresses = std::slice::from_ref(&upstream.address);
        let mut door = Door::before(REQUIRED, policies, addresses).await;
        let own = door.clients.issue(&["uri:spiffe://corp/agent/7"], 7, 2090);
        let config = door.server.client(Some(&own), &["http/1.1"]);
        let io = TokioIo::new(door.connect(config, HOST).await);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        let asked = bare(Method::GET, "/events", "");
        let mut response = soon(sender.send_request(asked)).await.unwrap();
        upstream.send("data: one\n\n");
        soon(response.frame()).await.unwrap().unwrap();
        let others = Authority::new();
        let authority = if other_ca { &others } else { &door.clients };
        std::fs::write(door.gateway.file("clients.pem"), authority.pem()).unwrap();
        std::fs::write(door.gateway.file("clients.crl"), authority.crl(&[listed])).unwrap();
        door.gateway.running().reload().await.unwrap();
        if goes_on {
            upstream.send("data: two\n\n");
        }
        let next = soon(response.frame()).await.unwrap();
        assert_eq!(next.is_ok(), goes_on, "{what}");
        drop((response, sender, upstream));
        let records = door.gateway.stop().await;
        let cut = of_kind(&records, "outcome")[0]["end"] == "cut";
        assert_eq!(cut, !goes_on, "{what}");
    }
}
