//! A gateway in a temporary folder, an upstream that tells what it saw, and a client.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portcullis::app::{App, Running};
use portcullis::config::Config;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::folder::Folder;

const SECRET: &str = "a-secret-that-is-long-enough-for-hs256!!";

/// What the upstream saw.
#[derive(Debug, Clone)]
pub struct Seen {
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// An upstream that answers every request by its path, and keeps what it saw.
#[derive(Clone, Default)]
pub struct Upstream {
    pub seen: Arc<Mutex<Vec<Seen>>>,
    /// Let the `/slow` path go on.
    pub release: Arc<tokio::sync::Notify>,
    /// Told when `/slow` was reached.
    pub reached: Arc<tokio::sync::Notify>,
}

impl Upstream {
    pub async fn start(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let upstream = upstream.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let upstream = upstream.clone();
                        async move { Ok::<_, Infallible>(upstream.answer(request).await) }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        address
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body
            .collect()
            .await
            .map(|b| b.to_bytes())
            .unwrap_or_default();
        self.seen.lock().unwrap().push(Seen {
            target: head.uri.to_string(),
            headers: head.headers,
            body: body.clone(),
        });
        if head.uri.path() == "/slow" {
            self.reached.notify_one();
            self.release.notified().await;
        }
        let mut response = Response::new(Full::new(Bytes::from_static(b"from the upstream")));
        response
            .headers_mut()
            .insert("x-upstream", "yes".parse().unwrap());
        response
    }

    pub fn only(&self) -> Seen {
        let seen = self.seen.lock().unwrap();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen[0].clone()
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

/// A running gateway.
pub struct Gateway {
    pub running: Option<Running>,
    pub upstream: Upstream,
    pub address: SocketAddr,
    folder: Folder,
}

pub const POLICIES: &str = r#"
version: 1
policies:
  - { id: items.read, who: { agent: { glob: "agent/*" } }, do: "GET /items/{item}", path: { item: { ne: secret } } }
  - { id: slow, who: any, do: "GET /slow" }
  - { id: open, who: anonymous, do: "GET /open" }
  - { id: items.write, who: any, do: "POST /items", body: { only: [/name], /name: { prefix: "ok" } } }
  - { id: upload, who: any, do: "PUT /files/{file}", body: any }
  - { id: mcp, who: any, do: "POST /mcp", body: { /method: tools/call, /params/name: search } }
  - { id: never, effect: forbid, do: "* /items/forbidden" }
"#;

impl Gateway {
    pub async fn start() -> Gateway {
        Gateway::with(POLICIES, "").await
    }

    /// A gateway with these policies and more lines of configuration.
    pub async fn with(policies: &str, more: &str) -> Gateway {
        let setup = Setup {
            policies,
            more,
            ..Setup::default()
        };
        setup.start().await
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    /// One request over its own connection.
    pub async fn call(&self, request: Request<Full<Bytes>>) -> Answer {
        let io = TokioIo::new(TcpStream::connect(self.address).await.unwrap());
        exchange(io, request).await.unwrap()
    }

    /// The same over HTTP/2.
    pub async fn call2(&self, request: Request<Full<Bytes>>) -> Answer {
        let io = TokioIo::new(TcpStream::connect(self.address).await.unwrap());
        let executor = hyper_util::rt::TokioExecutor::new();
        let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io)
            .await
            .unwrap();
        let driver = tokio::spawn(connection);
        let answer = Answer::read(sender.send_request(request).await.unwrap()).await;
        driver.abort();
        answer
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(request(Method::GET, path, "")).await
    }

    /// Bytes as they are, and all that comes back until the connection ends.
    pub async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut back = Vec::new();
        // A reset after the answer is as good as an end.
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut back))
            .await
            .expect("the connection ends");
        String::from_utf8_lossy(&back).into_owned()
    }

    pub async fn admin(&self, path: &str) -> (StatusCode, String) {
        let address = self.running().admin.unwrap();
        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get(path)
            .header("host", address.to_string())
            .body(Full::<Bytes>::default())
            .unwrap();
        let answer = Answer::read(sender.send_request(request).await.unwrap()).await;
        (answer.status, answer.text())
    }

    /// Stops it, and gives back the audit log.
    pub async fn stop(&mut self) -> Vec<Value> {
        if let Some(running) = self.running.take() {
            tokio::time::timeout(PATIENCE, running.shutdown())
                .await
                .expect("the gateway stops");
        }
        self.records()
    }

    pub fn records(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.file("audit.jsonl")).unwrap();
        let lines = portcullis::audit::segment::records(&text)
            .map(|line| serde_json::from_str(line).unwrap());
        lines.collect()
    }
}

/// What a gateway is made of, where it differs from the usual.
pub struct Setup<'s> {
    pub policies: &'s str,
    /// More keys of the listener, the route, the upstream and the provider: `, key: value`.
    pub listener: &'s str,
    pub route: &'s str,
    pub upstream: &'s str,
    pub provider: &'s str,
    /// More keys of the audit log, and more policy files: `, name.yaml`.
    pub audit: &'s str,
    pub policy_files: &'s str,
    /// The upstream's addresses, instead of the sample one's.
    pub addresses: &'s [String],
    /// More lines of configuration.
    pub more: &'s str,
    /// More files.
    pub files: &'s [(&'s str, String)],
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Setup {
            policies: POLICIES,
            listener: "",
            route: ", set_headers: { x-api-key: { value: injected } }",
            upstream: "",
            provider: "",
            audit: "",
            policy_files: "",
            addresses: &[],
            more: "",
            files: &[],
        }
    }
}

impl Setup<'_> {
    pub async fn start(&self) -> Gateway {
        let upstream = Upstream::default();
        let backend = upstream.start().await;
        let folder = self.write(backend);
        let path = folder.path().join("portcullis.yaml");
        let config = Config::load(&path).unwrap_or_else(|p| panic!("{}", show(&p)));
        let running = App::start(config, Some(path)).await.unwrap();
        Gateway {
            address: running.addresses[0],
            running: Some(running),
            upstream,
            folder,
        }
    }

    /// A folder with all files that a gateway in front of this upstream needs.
    pub fn write(&self, backend: SocketAddr) -> Folder {
        let folder = Folder::new();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        for (name, text) in self.files {
            write(name, text);
        }
        write("policy.yaml", self.policies);
        write("shared.secret", SECRET);
        let mut addresses = self.addresses.to_vec();
        if addresses.is_empty() {
            addresses.push(format!("http://{backend}"));
        }
        let Setup {
            listener,
            route,
            upstream,
            provider,
            audit,
            policy_files,
            more,
            ..
        } = self;
        let config = format!(
            r#"version: 1
listeners: [{{ name: main, address: "127.0.0.1:0" {listener} }}]
routes: [{{ name: api, path: / , upstream: api {route} }}]
upstreams: {{ api: {{ addresses: {addresses:?} {upstream} }} }}
identity:
  providers:
    test: {{ issuer: test, audience: portcullis, algorithms: [HS256], keys: {{ secret: {{ file: shared.secret }} }}, agents: ["agent/**"] {provider} }}
policies: [policy.yaml{policy_files}]
audit: {{ to: audit.jsonl, node: test {audit} }}
admin: {{ address: "127.0.0.1:0" }}
workers: 2
{more}
"#
        );
        write("portcullis.yaml", &config);
        folder
    }
}

/// Waits until a condition holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

/// Longer than anything here takes, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// One request over a connection that is there.
pub async fn exchange<T>(io: TokioIo<T>, request: Request<Full<Bytes>>) -> hyper::Result<Answer>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    let driver = tokio::spawn(connection);
    let answer = Answer::read(sender.send_request(request).await?).await;
    driver.abort();
    Ok(answer)
}

/// An answer, read.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub async fn read(response: Response<Incoming>) -> Answer {
        let (head, body) = response.into_parts();
        Answer {
            status: head.status,
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// Status and reason, of which most tests ask.
    pub fn reason(&self) -> (u16, String) {
        let problem = self.json();
        (
            self.status.as_u16(),
            problem["reason"].as_str().unwrap_or("").to_owned(),
        )
    }
}

/// A token for this agent.
pub fn token(agent: &str) -> String {
    token_until(agent, 300)
}

/// A token that ends in so many seconds.
pub fn token_until(agent: &str, seconds: i64) -> String {
    token_with(agent, seconds, json!({}))
}

/// A token with more claims.
pub fn token_with(agent: &str, seconds: i64, more: Value) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs() as i64;
    let mut claims = json!({ "iss": "test", "aud": "portcullis", "sub": agent, "iat": now - 60, "exp": now + seconds, "sid": "s1", "jti": "t1" });
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&header, &claims, &key).unwrap()
}

/// A request with a good token.
pub fn request(method: Method, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let mut request = bare(method, path, body);
    let bearer = format!("Bearer {}", token("agent/7"));
    request
        .headers_mut()
        .insert("authorization", bearer.parse().unwrap());
    request
}

/// A request without one.
pub fn bare(method: Method, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let body = body.into();
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "api.example.com");
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    request.body(Full::new(body)).unwrap()
}

pub fn show(problems: &[portcullis::yaml::Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// The records of one kind.
pub fn of_kind<'r>(records: &'r [Value], kind: &str) -> Vec<&'r Value> {
    records
        .iter()
        .filter(|record| record["kind"] == kind)
        .collect()
}
