//! One request over loopback sockets, inside one process: through the gateway, and straight to the upstream.
//!
//! `cargo bench --bench journey` measures how long a client waits for one answer on a warm keep-alive connection:
//! what the gateway adds is the difference. It is for comparing two states of this code; the costs under load
//! and beside other proxies are measured by `benches/journey.py`.

#![expect(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a bench fails by panicking; criterion's macro makes a function without documentation"
)]

#[path = "support/issuer.rs"]
mod issuer;
#[path = "support/policies.rs"]
#[expect(dead_code, reason = "only its body is needed here")]
mod policies;

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portcullis::app::App;
use portcullis::config::Config;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

const GATEWAY: &str = include_str!("support/gateway.yaml");
const POLICY: &str = include_str!("support/policy.yaml");

fn journey(c: &mut Criterion) {
    let issued = issuer::issue();
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("a file");
    };
    write("jwks.json", &issued.jwks);
    write("policy.yaml", POLICY);

    // The upstream has a thread of its own, as the gateway's worker has.
    let (told, upstream) = std::sync::mpsc::channel();
    std::thread::spawn(move || runtime().block_on(serve(told)));
    let upstream: SocketAddr = upstream.recv().expect("an upstream");

    let port = upstream.port().to_string();
    let settings = [("@PORT@", "0"), ("@UPSTREAM@", &port), ("@LOG@", "warn")];
    let config = settings
        .iter()
        .fold(GATEWAY.to_owned(), |text, (key, value)| {
            text.replace(key, value)
        });
    write("gateway.yaml", &config);
    let runtime = runtime();
    let config = Config::load(&folder.path().join("gateway.yaml")).expect("a good configuration");
    let running = runtime
        .block_on(App::start(config, None))
        .expect("a gateway");

    let body = Bytes::from(policies::body(1_000));
    let calls = [
        ("GET", "/tenants/acme/accounts/42", Bytes::new()),
        ("POST 1 KB", "/tenants/acme/chat", body),
    ];
    for (name, path, body) in calls {
        let mut group = c.benchmark_group(format!("journey/{name}"));
        for (target, address) in [("upstream", upstream), ("gateway", running.addresses[0])] {
            let mut client = runtime.block_on(connect(address));
            let request = || {
                Request::builder()
                    .method(name.split(' ').next().unwrap_or_default())
                    .uri(path)
                    .header("host", "api.example.com")
                    .header("authorization", format!("Bearer {}", issued.token))
                    .header("content-type", "application/json")
                    .body(Full::new(body.clone()))
                    .expect("a request")
            };
            group.bench_function(target, |b| {
                b.iter(|| runtime.block_on(call(&mut client, request())));
            });
        }
        group.finish();
    }
    runtime.block_on(running.shutdown());
}

async fn connect(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("a socket");
    let (client, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .expect("HTTP");
    tokio::spawn(driver);
    client
}

async fn call(client: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) {
    client.ready().await.expect("a warm connection");
    let response = client.send_request(request).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
    response.into_body().collect().await.expect("its body");
}

async fn serve(told: std::sync::mpsc::Sender<SocketAddr>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    told.send(listener.local_addr().expect("an address"))
        .expect("a listener");
    while let Ok((stream, _)) = listener.accept().await {
        let answer = service_fn(|request: Request<Incoming>| async move {
            let _read = request.into_body().collect().await;
            let body = Full::new(Bytes::from_static(
                b"{\"id\":\"42\",\"name\":\"Ada Lovelace\"}",
            ));
            Ok::<_, Infallible>(Response::new(body))
        });
        let http = hyper::server::conn::http1::Builder::new();
        tokio::spawn(http.serve_connection(TokioIo::new(stream), answer));
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

criterion_group!(benches, journey);
criterion_main!(benches);
