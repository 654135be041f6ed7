//! Over real sockets.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use super::*;

struct View {
    draining: Arc<AtomicBool>,
}

impl AdminView for View {
    fn ready(&self) -> Vec<String> {
        match self.draining.load(Ordering::Relaxed) {
            true => vec!["keys".to_owned(), "draining".to_owned()],
            false => Vec::new(),
        }
    }

    fn policies(&self) -> serde_json::Value {
        serde_json::json!({ "digest": "ab", "count": 0, "policies": [] })
    }

    fn metrics(&self) -> String {
        "portcullis_up 1\n".to_owned()
    }
}

/// Runs a test against a listener, and its shutdown after it.
fn with_listener<F: Future<Output = ()>>(test: impl FnOnce(SocketAddr, Arc<AtomicBool>) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let draining = Arc::new(AtomicBool::new(false));
        let state = Arc::new(AdminState::new(View {
            draining: Arc::clone(&draining),
        }));
        let (stop, stopped) = oneshot::channel::<()>();
        let server = serve(listener, state, async move {
            let _ = stopped.await;
        });
        let client = async {
            test(address, draining).await;
            stop.send(()).unwrap();
        };
        tokio::join!(server, client);
        assert!(TcpStream::connect(address).await.is_err());
    });
}

async fn send(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = request.replace("PORT", &address.port().to_string());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn check(address: SocketAddr, request: &str, status: u16, body: &str) {
    let answer = send(address, request).await;
    let start = format!("HTTP/1.1 {status} ");
    assert!(answer.starts_with(&start), "{request}: {answer}");
    assert!(
        answer.ends_with(&format!("\r\n\r\n{body}")),
        "{request}: {answer}"
    );
}

#[test]
fn paths_and_methods() {
    with_listener(|address, draining| async move {
        for (request, status, body) in [
            ("GET /metrics", 200, "portcullis_up 1\n"),
            ("GET /metrics?x=1", 200, "portcullis_up 1\n"),
            ("HEAD /metrics", 200, ""),
            ("GET /healthz", 200, "ok\n"),
            ("GET /readyz", 200, "[]"),
            (
                "GET /policies",
                200,
                r#"{"count":0,"digest":"ab","policies":[]}"#,
            ),
            ("GET /", 404, INDEX),
            ("GET /metrics/", 404, INDEX),
            ("GET //metrics", 404, INDEX),
            ("GET /%6detrics", 404, INDEX),
            ("POST /", 404, INDEX),
            ("POST /metrics", 405, "GET or HEAD\n"),
            ("OPTIONS /policies", 405, "GET or HEAD\n"),
        ] {
            let request = format!("{request} HTTP/1.1\r\nhost: localhost:PORT\r\n\r\n");
            check(address, &request, status, body).await;
        }
        draining.store(true, Ordering::Relaxed);
        let request = "GET /readyz HTTP/1.1\r\nhost: localhost:PORT\r\n\r\n";
        check(address, request, 503, r#"["keys","draining"]"#).await;
    });
}

#[test]
fn on_loopback_only_loopback_s_names() {
    let refused = "this listener has another name\n";
    with_listener(|address, _| async move {
        for (target, hosts, status) in [
            ("/healthz", "host: localhost:PORT\r\n", 200),
            ("/healthz", "host: LocalHost:PORT\r\n", 200),
            ("/healthz", "host: 127.0.0.1:PORT\r\n", 200),
            ("/healthz", "host: [::1]:PORT\r\n", 200),
            (
                "http://localhost:PORT/healthz",
                "host: localhost:PORT\r\n",
                200,
            ),
            ("/healthz", "host: evil.example:PORT\r\n", 421),
            ("/healthz", "host: localhost.evil.example:PORT\r\n", 421),
            ("/healthz", "host: localhost.:PORT\r\n", 421),
            ("/healthz", "host: user@localhost:PORT\r\n", 421),
            ("/healthz", "host: localhost\r\n", 421),
            ("/healthz", "host: localhost:1\r\n", 421),
            ("/healthz", "host: localhost:0PORT\r\n", 421),
            ("/healthz", "host: 127.1:PORT\r\n", 421),
            (
                "http://evil.example/healthz",
                "host: localhost:PORT\r\n",
                421,
            ),
            ("/healthz", "", 400),
            ("/healthz", "host: \r\n", 400),
            (
                "/healthz",
                "host: localhost:PORT\r\nhost: localhost:PORT\r\n",
                400,
            ),
            ("/healthz", "host: a b\r\n", 400),
        ] {
            let request = format!("GET {target} HTTP/1.1\r\n{hosts}\r\n");
            let body = if status == 200 { "ok\n" } else { refused };
            check(address, &request, status, body).await;
        }
    });
}

#[test]
fn elsewhere_any_one_name() {
    let local = SocketAddr::from(([10, 0, 0, 1], 9090));
    let request = Request::get("/healthz").header("host", "portcullis.monitoring");
    assert_eq!(check_host(&request.body(()).unwrap(), local), Ok(()));
    let request = Request::get("/healthz").body(()).unwrap();
    assert_eq!(check_host(&request, local), Err(StatusCode::BAD_REQUEST));
}

#[test]
fn a_port_of_80_may_be_left_out() {
    let local = SocketAddr::from(([127, 0, 0, 1], 80));
    for (host, expected) in [
        ("localhost", Ok(())),
        ("localhost:80", Ok(())),
        ("localhost:81", Err(StatusCode::MISDIRECTED_REQUEST)),
    ] {
        let request = Request::get("/").header("host", host).body(()).unwrap();
        assert_eq!(check_host(&request, local), expected, "{host}");
    }
}

#[test]
fn what_is_no_request_is_refused() {
    with_listener(|address, _| async move {
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(HEAD_BYTES));
        for (request, status) in [("\x16\x03\x01\r\n\r\n", "400"), (long.as_str(), "4")] {
            let answer = send(address, request).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}")),
                "{answer}"
            );
        }
    });
}

#[test]
fn more_connections_than_there_is_room_for_wait() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(AdminState {
            header_timeout: Duration::from_millis(20),
            ..AdminState::new(View {
                draining: Arc::default(),
            })
        });
        let server = serve(listener, state, std::future::pending());
        let client = async {
            let mut idle = Vec::new();
            for _ in 0..CONNECTIONS {
                idle.push(TcpStream::connect(address).await.unwrap());
            }
            // those that send no head are closed after a while, and make room
            let request = "GET /healthz HTTP/1.1\r\nhost: localhost:PORT\r\n\r\n";
            check(address, request, 200, "ok\n").await;
            let mut end = String::new();
            idle.remove(0).read_to_string(&mut end).await.unwrap();
        };
        tokio::select! {
            () = server => panic!("the server ended"),
            () = client => {}
        }
    });
}
