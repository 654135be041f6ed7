//! Fetching keys from servers on loopback that are slow, wrong, huge, or elsewhere.

use std::time::Duration;

use http::Uri;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::fetch::FetchError;
use super::*;

/// What a server answers to the n-th request (from 0) for a path; `None` never answers.
type Answer = dyn Fn(u32, &str) -> Option<Vec<u8>> + Send + Sync;

/// An HTTP server that counts.
pub(super) struct Server {
    pub(super) address: std::net::SocketAddr,
    pub(super) requests: Arc<AtomicU32>,
}

impl Server {
    pub(super) async fn start(
        answer: impl Fn(u32, &str) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Server {
        Server::start_with(None, Arc::new(answer)).await
    }

    async fn start_with(tls: Option<tokio_rustls::TlsAcceptor>, answer: Arc<Answer>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, counter, tls) = (answer.clone(), counter.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &*answer, &counter).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &*answer, &counter).await;
                            }
                        }
                    }
                });
            }
        });
        Server { address, requests }
    }

    pub(super) fn url(&self, path: &str) -> Uri {
        format!("http://{}{path}", self.address).parse().unwrap()
    }

    pub(super) fn count(&self) -> u32 {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: &Answer,
    count: &AtomicU32,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap();
    match answer(count.fetch_add(1, Ordering::SeqCst), path) {
        Some(bytes) => {
            // A client that has read enough hangs up; that is its right.
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        None => std::future::pending().await,
    }
}

/// A whole answer.
pub(super) fn ok(body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut answer =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}

pub(super) fn jwks(signers: &[&Signer]) -> String {
    serde_json::json!({"keys": signers.iter().map(|s| s.jwk()).collect::<Vec<_>>()}).to_string()
}

fn trusting(roots: &[rustls_pki_types::CertificateDer<'static>]) -> Arc<rustls::ClientConfig> {
    let mut store = rustls::RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).unwrap();
    }
    let crypto = rustls::crypto::aws_lc_rs::default_provider();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(crypto))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth();
    Arc::new(config)
}

pub(super) fn plain() -> Arc<rustls::ClientConfig> {
    trusting(&[])
}

#[tokio::test]
async fn answers_are_bounded_and_strict() {
    let signer = Signer::new("k1", Algorithm::ES256);
    let set = jwks(&[&signer]);
    let head = |status: &str, more: &str| {
        format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\n{more}\r\n{set}",
            set.len()
        )
        .into_bytes()
    };
    let chunked = |size: usize| {
        let mut answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for _ in 0..size / 4096 {
            answer.extend_from_slice(b"1000\r\n");
            answer.extend_from_slice(&[b' '; 4096]);
            answer.extend_from_slice(b"\r\n");
        }
        answer.extend_from_slice(format!("{:x}\r\n{set}\r\n0\r\n\r\n", set.len()).as_bytes());
        answer
    };
    let padded = |length: usize| ok(format!("{}{set}", " ".repeat(length - set.len())));
    let key = signer.jwk();
    let with = |name: &str, value: &str| {
        let mut key = key.clone();
        key[name] = value.into();
        ok(serde_json::json!({"keys": [key]}).to_string())
    };
    let many: Vec<_> = (0..257).map(|_| key.clone()).collect();
    use FetchError::*;
    let cases: Vec<(&str, Vec<u8>, Result<(), FetchError>)> = vec![
        ("as is", ok(&set), Ok(())),
        ("chunked", chunked(0), Ok(())),
        ("256 KiB", padded(256 * 1024), Ok(())),
        ("a byte more", padded(256 * 1024 + 1), Err(IssuerBody)),
        ("the same in chunks", chunked(256 * 1024), Err(IssuerBody)),
        (
            "shorter than it says",
            b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{}".to_vec(),
            Err(IssuerBody),
        ),
        (
            "redirect",
            head("302 Found", "location: /jwks\r\n"),
            Err(IssuerStatus(302)),
        ),
        (
            "permanent redirect",
            head("308 Permanent Redirect", "location: /jwks\r\n"),
            Err(IssuerStatus(308)),
        ),
        (
            "not found",
            head("404 Not Found", ""),
            Err(IssuerStatus(404)),
        ),
        (
            "part",
            head("206 Partial Content", ""),
            Err(IssuerStatus(206)),
        ),
        ("error", head("500 Oops", ""), Err(IssuerStatus(500))),
        (
            "encoded",
            head("200 OK", "content-encoding: gzip\r\n"),
            Err(IssuerEncoded),
        ),
        ("no HTTP", b"hello\r\n\r\n".to_vec(), Err(IssuerProtocol)),
        ("nothing", vec![], Err(IssuerProtocol)),
        (
            "endless head",
            [b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'x'; 1 << 20]].concat(),
            Err(IssuerProtocol),
        ),
        ("no JSON", ok("keys"), Err(IssuerKeys)),
        ("no set", ok("[]"), Err(IssuerKeys)),
        ("no keys", ok(r#"{"keys":[]}"#), Err(IssuerKeys)),
        (
            "duplicate",
            ok(set.replacen('{', r#"{"keys":[],"#, 1)),
            Err(IssuerKeys),
        ),
        (
            "only a symmetric key",
            ok(
                r#"{"keys":[{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","alg":"HS256"}]}"#,
            ),
            Err(IssuerKeys),
        ),
        (
            "too many keys",
            ok(serde_json::json!({"keys": many}).to_string()),
            Err(IssuerKeys),
        ),
        ("private half published", with("d", "AAAA"), Err(IssuerKeys)),
        ("for encryption", with("use", "enc"), Err(IssuerKeys)),
        (
            "of another algorithm",
            with("alg", "ES384"),
            Err(IssuerKeys),
        ),
        (
            "of an unknown algorithm",
            with("alg", "ES999"),
            Err(IssuerKeys),
        ),
        ("of its algorithm", with("alg", "ES256"), Ok(())),
        ("off the curve", with("x", &b64([1; 32])), Err(IssuerKeys)),
        ("of another curve", with("crv", "P-384"), Err(IssuerKeys)),
        (
            "of a curve for other keys",
            with("crv", "Ed25519"),
            Err(IssuerKeys),
        ),
        (
            "among keys that aren't known",
            ok(format!(r#"{{"keys":[{{"kty":"AKP"}},7,{key}]}}"#)),
            Ok(()),
        ),
    ];
    for (name, answer, expected) in cases {
        let server = Server::start(move |_, _| Some(answer.clone())).await;
        let got = Endpoint::new(server.url("/jwks"), None, &plain())
            .fetch()
            .await;
        assert_eq!(got.map(|_| ()), expected, "{name}");
        assert_eq!(server.count(), 1, "{name}: no second request");
    }
}

#[tokio::test]
async fn slow_servers_and_closed_ports() {
    let silent = Server::start(|_, _| None).await;
    let endpoint = Endpoint::new(silent.url("/"), None, &plain()).within(Duration::from_millis(50));
    assert_eq!(
        endpoint.fetch().await.map(|_| ()),
        Err(FetchError::IssuerSlow)
    );

    let half = Server::start(|_, path| (path == "/meta").then(|| ok("{}"))).await;
    let late = Endpoint::new(half.url("/other"), None, &plain()).within(Duration::from_millis(50));
    assert_eq!(late.fetch().await.map(|_| ()), Err(FetchError::IssuerSlow));

    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Uri = format!("http://{}/", closed.local_addr().unwrap())
        .parse()
        .unwrap();
    drop(closed);
    let got = Endpoint::new(url, None, &plain()).fetch().await.map(|_| ());
    assert_eq!(
        got,
        Err(FetchError::IssuerConnect(
            std::io::ErrorKind::ConnectionRefused
        ))
    );
}

#[tokio::test]
async fn only_https_or_loopback() {
    let cases = [
        "http://issuer.example/jwks",
        "http://10.0.0.1/jwks",
        "http://127.0.0.1.example/jwks",
        "http://0.0.0.0/jwks",
        "http://[::2]/jwks",
        "ftp://localhost/jwks",
        "http://ann@localhost/jwks",
        "https://ann:secret@issuer.example/jwks",
        "/jwks",
    ];
    for url in cases {
        let got = Endpoint::new(url.parse().unwrap(), None, &plain())
            .fetch()
            .await;
        assert_eq!(got.map(|_| ()), Err(FetchError::OursUrl), "{url}");
    }
}

#[tokio::test]
async fn metadata_must_be_the_issuers_own() {
    use FetchError::*;
    const ISSUER: &str = "https://issuer.example";
    let set = jwks(&[&Signer::new("k1", Algorithm::ES256)]);
    let cases = [
        (
            r#"{"issuer":"https://issuer.example","jwks_uri":"HERE/jwks"}"#,
            Ok(()),
        ),
        (
            r#"{"issuer":"https://issuer.example/","jwks_uri":"HERE/jwks"}"#,
            Err(IssuerOther),
        ),
        (
            r#"{"issuer":"https://evil.example","jwks_uri":"HERE/jwks"}"#,
            Err(IssuerOther),
        ),
        (r#"{"jwks_uri":"HERE/jwks"}"#, Err(IssuerMetadata)),
        (
            r#"{"issuer":"https://issuer.example"}"#,
            Err(IssuerMetadata),
        ),
        (
            r#"{"issuer":"https://issuer.example","jwks_uri":7}"#,
            Err(IssuerMetadata),
        ),
        (
            r#"{"issuer":"https://issuer.example","jwks_uri":""}"#,
            Err(IssuerMetadata),
        ),
        (
            r#"{"issuer":"https://issuer.example","issuer":"x","jwks_uri":"HERE/jwks"}"#,
            Err(IssuerMetadata),
        ),
        (
            r#"{"issuer":"https://issuer.example","jwks_uri":"http://10.0.0.1/jwks"}"#,
            Err(IssuerKeysUrl),
        ),
        (
            r#"{"issuer":"https://issuer.example","jwks_uri":"file:///etc/passwd"}"#,
            Err(IssuerMetadata),
        ),
        (
            r#"{"issuer":"https://issuer.example","jwks_uri":"/jwks"}"#,
            Err(IssuerKeysUrl),
        ),
        ("[]", Err(IssuerMetadata)),
    ];
    for (metadata, expected) in cases {
        let here = Arc::new(std::sync::OnceLock::new());
        let (answer_here, answer_set) = (Arc::clone(&here), set.clone());
        let server = Server::start(move |_, path| {
            let here: &String = answer_here.get().unwrap();
            Some(ok(match path {
                "/jwks" => answer_set.clone(),
                _ => metadata.replace("HERE", here),
            }))
        })
        .await;
        here.set(format!("http://{}", server.address)).unwrap();
        let url = server.url("/.well-known/openid-configuration");
        let got = Endpoint::new(url, Some(ISSUER.into()), &plain())
            .fetch()
            .await;
        assert_eq!(got.map(|_| ()), expected, "{metadata}");
    }
}

#[tokio::test]
async fn https_is_verified_and_metadata_stays_on_it() {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let root = signed.cert.der().clone();
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der());
    let crypto = rustls::crypto::aws_lc_rs::default_provider();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(crypto))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![root.clone()], key.into())
        .unwrap();
    let set = jwks(&[&Signer::new("k1", Algorithm::ES256)]);
    let answer = move |_: u32, path: &str| {
        Some(ok(match path {
            "/jwks" => set.clone(),
            _ => r#"{"issuer":"i","jwks_uri":"http://127.0.0.1/jwks"}"#.to_owned(),
        }))
    };
    let server = Server::start_with(Some(Arc::new(config).into()), Arc::new(answer)).await;
    let url = |host: &str, path: &str| -> Uri {
        format!("https://{host}:{}{path}", server.address.port())
            .parse()
            .unwrap()
    };
    let fetch = async |url, issuer, tls| Endpoint::new(url, issuer, &tls).fetch().await.map(|_| ());
    let trusted = || trusting(std::slice::from_ref(&root));
    assert_eq!(
        fetch(url("localhost", "/jwks"), None, trusted()).await,
        Ok(())
    );
    let unknown = fetch(url("localhost", "/jwks"), None, plain()).await;
    assert_eq!(unknown, Err(FetchError::IssuerTls));
    let misnamed = fetch(url("127.0.0.1", "/jwks"), None, trusted()).await;
    assert_eq!(misnamed, Err(FetchError::IssuerTls));
    let downgraded = fetch(url("localhost", "/meta"), Some("i".into()), trusted()).await;
    assert_eq!(downgraded, Err(FetchError::IssuerKeysUrl));
}
