//! What upstreams speak and who they are: HTTP/2 with trailers, TLS both ways, several servers of which one is down.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::harness::{Setup, of_kind, request};
use crate::pki::Authority;

/// What an upstream of this file saw: version, authority, headers.
type Seen = Arc<Mutex<Vec<(Version, String, HeaderMap)>>>;

/// A server that answers with trailers, over TLS where an acceptor is given. It sees one request per connection.
async fn server(http2: bool, tls: Option<TlsAcceptor>, seen: Seen) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (tls, seen) = (tls.clone(), seen.clone());
            tokio::spawn(async move {
                match tls {
                    None => serve(stream, http2, seen).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            serve(stream, http2, seen).await;
                        }
                    }
                }
            });
        }
    });
    address
}

async fn serve<T>(io: T, http2: bool, seen: Seen)
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let authority = request.uri().authority().map(ToString::to_string);
        let host = request
            .headers()
            .get("host")
            .map(|h| h.to_str().unwrap().to_owned());
        let entry = (
            request.version(),
            authority.or(host).unwrap_or_default(),
            request.headers().clone(),
        );
        seen.lock().unwrap().push(entry);
        async move {
            let trailers = HeaderMap::from_iter([(
                http::HeaderName::from_static("grpc-status"),
                HeaderValue::from_static("0"),
            )]);
            let body = Full::new(Bytes::from_static(b"answer"));
            let body = body.with_trailers(async move { Some(Ok(trailers)) });
            Ok::<_, Infallible>(Response::new(body))
        }
    });
    let io = TokioIo::new(io);
    if http2 {
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = server.serve_connection(io, service).await;
    } else {
        let server = hyper::server::conn::http1::Builder::new();
        let _ = server.serve_connection(io, service).await;
    }
}

#[tokio::test]
async fn trailers_pass_from_an_http2_upstream_to_an_http2_client() {
    let seen = Seen::default();
    let address = server(true, None, seen.clone()).await;
    let setup = Setup {
        upstream: ", protocol: http2",
        addresses: &[format!("http://{address}")],
        ..Setup::default()
    };
    let gateway = setup.start().await;
    let io = TokioIo::new(TcpStream::connect(gateway.address).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut asked = request(Method::GET, "http://api.example.com/items/1", "");
    asked.headers_mut().remove("host");
    asked
        .headers_mut()
        .insert("te", HeaderValue::from_static("trailers"));
    let response = sender.send_request(asked).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(body.to_bytes(), "answer");
    {
        let seen = seen.lock().unwrap();
        let (version, authority, headers) = &seen[0];
        assert_eq!(
            (*version, &**authority),
            (Version::HTTP_2, "api.example.com")
        );
        assert_eq!(headers["te"], "trailers");
    }
    // An HTTP/1.1 client gets the body, and the connection goes on.
    let answer = gateway.get("/items/1").await;
    assert_eq!(
        (answer.status.as_u16(), answer.text()),
        (200, "answer".into())
    );
}

#[tokio::test]
async fn an_https_upstream_is_verified_and_verifies() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let own = servers.issue(&["dns:api.internal"], 1, 2090);
    let client = clients.issue(&["dns:gateway"], 2, 2090);
    let mut roots = rustls::RootCertStore::empty();
    let pem = clients.pem();
    for der in rustls_pki_types::pem::PemObject::pem_slice_iter(pem.as_bytes()) {
        roots.add(Result::unwrap(der)).unwrap();
    }
    let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), crypto.clone());
    let mut config = ServerConfig::builder_with_provider(crypto)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![own.der.clone()], own.private())
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let seen = Seen::default();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let address = server(false, Some(acceptor), seen.clone()).await;
    let files = [
        ("servers.pem", servers.pem()),
        ("clients.pem", clients.pem()),
        ("client.pem", client.pem.clone()),
        ("client.key", client.key.serialize_pem()),
    ];
    for (what, tls, status) in [
        (
            "both",
            "ca: servers.pem, certificate: client.pem, key: client.key, server_name: api.internal",
            200,
        ),
        (
            "another CA",
            "ca: clients.pem, certificate: client.pem, key: client.key, server_name: api.internal",
            502,
        ),
        (
            "another name",
            "ca: servers.pem, certificate: client.pem, key: client.key, server_name: other.internal",
            502,
        ),
        (
            "no client certificate",
            "ca: servers.pem, server_name: api.internal",
            502,
        ),
    ] {
        let upstream = format!(", tls: {{ {tls} }}");
        let setup = Setup {
            upstream: &upstream,
            addresses: &[format!("https://{address}")],
            files: &files,
            ..Setup::default()
        };
        let mut gateway = setup.start().await;
        let answer = gateway.get("/items/1").await;
        assert_eq!(answer.status, status, "{what}");
        let records = gateway.stop().await;
        let outcome = of_kind(&records, "outcome")[0];
        let end = if status == 200 {
            "complete"
        } else {
            "upstream_failed"
        };
        assert_eq!(outcome["end"], end, "{what}: {outcome}");
    }
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_server_that_is_down_is_passed_over() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let down = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let seen = Seen::default();
    let up = format!("http://{}", server(false, None, seen.clone()).await);
    let setup = Setup {
        upstream: ", balance: round_robin, ejection: { failures: 2, rest: 1h }",
        addresses: &[down.clone(), up.clone()],
        ..Setup::default()
    };
    let mut gateway = setup.start().await;
    for _ in 0..12 {
        assert_eq!(gateway.get("/items/1").await.status, 200);
    }
    assert_eq!(seen.lock().unwrap().len(), 12);
    let (_, metrics) = gateway.admin("/metrics").await;
    let labelled = |address: &str| {
        let of = |line: &&str| line.contains("connections") && line.contains(address);
        metrics.lines().filter(of).count()
    };
    assert!(labelled(&up) > 0, "connections by address: {metrics}");
    assert!(!metrics.contains(r#"address="""#), "{metrics}");
    let records = gateway.stop().await;
    let all_up = of_kind(&records, "outcome")
        .iter()
        .all(|o| o["upstream"] == *up);
    assert!(all_up, "the record names the server that answered");
}

#[tokio::test]
async fn nobody_to_answer_is_502() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let down = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let setup = Setup {
        addresses: &[down],
        ..Setup::default()
    };
    let mut gateway = setup.start().await;
    assert_eq!(gateway.get("/items/1").await.status, 502);
    let records = gateway.stop().await;
    let outcome = of_kind(&records, "outcome")[0];
    assert_eq!(
        (&outcome["end"], &outcome["status"]),
        (&"upstream_failed".into(), &502.into())
    );
}

/// A server that leaves bodies which it doesn't expect on the connection, and takes them for requests; it does close
/// where it is asked to, as Python's http.server does. Tells each head that it reads.
async fn careless(seen: Arc<Mutex<Vec<String>>>) -> std::net::SocketAddr {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = seen.clone();
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                loop {
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") {
                        if !matches!(stream.read_line(&mut head).await, Ok(1..)) {
                            return;
                        }
                    }
                    let closes = head.to_ascii_lowercase().contains("connection: close");
                    seen.lock().unwrap().push(head);
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    if stream.write_all(answer).await.is_err() || closes {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_body_that_nobody_expects_is_never_another_request() {
    let policies = r#"
version: 1
policies:
  - { id: all, who: any, do: "* /free/{x...}", body: any }
  - { id: json, who: any, do: "* /judged/{x...}", body: { /a: 1 } }
  - { id: never, effect: forbid, do: "* /secret" }
"#;
    let inner = "DELETE /secret HTTP/1.1\r\nhost: a\r\n\r\n";
    let judged = "{\"a\":1}\r\n\r\n";
    for method in ["GET", "DELETE", "OPTIONS", "PROPFIND"] {
        for (path, body) in [("/free/a", inner), ("/judged/a", judged)] {
            for http2 in [false, true] {
                let seen = Arc::new(Mutex::new(Vec::new()));
                let address = format!("http://{}", careless(seen.clone()).await);
                let setup = Setup {
                    policies,
                    addresses: &[address],
                    ..Setup::default()
                };
                let gateway = setup.start().await;
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                for path in [path, "/free/next"] {
                    let body = if path == "/free/next" { "" } else { body };
                    let asked = if http2 {
                        let uri = format!("http://a{path}");
                        let mut asked = request(method.clone(), &uri, body.to_owned());
                        asked.headers_mut().remove("host");
                        gateway.call2(asked).await
                    } else {
                        gateway
                            .call(request(method.clone(), path, body.to_owned()))
                            .await
                    };
                    assert_eq!(asked.status, 200, "{method} {path} {}", asked.text());
                }
                let heads = seen.lock().unwrap().clone();
                let targets: Vec<_> = heads.iter().filter_map(|h| h.split(' ').nth(1)).collect();
                assert_eq!(targets, [path, "/free/next"], "{method} {heads:?}");
            }
        }
    }
}

/// What a permit tells the upstream of the caller isn't the caller's to say where another permit holds.
#[tokio::test]
async fn a_header_that_any_permit_sets_is_nobody_elses() {
    let policies = r#"
version: 1
policies:
  - { id: told, who: any, do: "GET /told", then: { set_headers: { x-agent: $agent } } }
  - { id: untold, who: anonymous, do: "GET /untold" }
"#;
    let setup = Setup {
        policies,
        route: ", forward_headers: any",
        ..Setup::default()
    };
    let gateway = setup.start().await;
    for (path, expected) in [("/told", Some("agent/7")), ("/untold", None)] {
        let mut asked = request(Method::GET, path, "");
        for forged in ["root", "admin"] {
            let forged = HeaderValue::from_static(forged);
            asked.headers_mut().append("x-agent", forged);
        }
        assert_eq!(gateway.call(asked).await.status, 200);
        let seen = gateway.upstream.seen.lock().unwrap().pop().unwrap();
        let got: Vec<_> = seen.headers.get_all("x-agent").iter().collect();
        assert_eq!(got, expected.as_slice(), "{path}");
    }
}
