//! The gateway that is attacked: its issuers, its listeners, an upstream that keeps every byte, and a listener that
//! nobody may ever call.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use portcullis::app::{App, Running};
use portcullis::config::Config;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::authorities::Authorities;
use super::data::Token;
use super::signing::{Keys, Made, SECRET, at_this_moment};
use crate::folder::Folder;
use crate::harness::{PATIENCE, show};

pub struct World {
    pub keys: Keys,
    pub authorities: Authorities,
    pub upstream: Arc<Recording>,
    /// Connections to where tokens point.
    pub trapped: Arc<AtomicUsize>,
    /// Fetches of `remote`'s keys.
    pub fetched: Arc<AtomicUsize>,
    trap: SocketAddr,
    running: Option<Running>,
    folder: Folder,
}

/// What the upstream got.
#[derive(Default)]
pub struct Recording {
    pub bytes: AtomicUsize,
    /// The heads of its requests.
    pub heads: Mutex<Vec<String>>,
}

const LISTENERS: &[(&str, &str)] = &[
    ("plain", ""),
    ("tls", ""),
    ("optional", ", clients: { ca: clients.pem, mode: optional }"),
    (
        "required",
        ", clients: { ca: clients.pem, crl: clients.crl }",
    ),
    // The list is of an authority with the same name and another key.
    (
        "foreign",
        ", clients: { ca: clients.pem, crl: stranger.crl }",
    ),
    (
        "strangers",
        ", clients: { ca: stranger.pem, mode: optional }",
    ),
];

const POLICIES: &str = r#"
version: 1
policies:
  - { id: anybody, who: any, do: "GET /c/{case}" }
  - { id: queried, who: any, do: "GET /q/{case}", query: any }
  - { id: form, who: any, do: "POST /form/{case}", body: any }
  - { id: seven, who: { agent: agent/7 }, do: "GET /seven/{case}" }
  - { id: agents, who: { agent: { glob: "agent/*" } }, do: "GET /agents/{case}" }
  - { id: person, who: { user: ann }, do: "GET /ann/{case}" }
  - { id: admins, who: { groups: { some: admins } }, do: "GET /admins/{case}" }
  - { id: spiffe, who: { cert/spiffe_id: "spiffe://corp/agent/7" }, do: "GET /spiffe/{case}" }
  - { id: dns, who: { cert/dns: { some: agent.corp.example } }, do: "GET /dns/{case}" }
  - { id: email, who: { cert/email: { some: agent@corp.example } }, do: "GET /email/{case}" }
  - { id: never, effect: forbid, who: { groups: { some: banned } }, do: "* /{path...}" }
"#;

impl World {
    pub async fn start() -> World {
        let (keys, authorities) = (Keys::new(), Authorities::new());
        let upstream = Arc::new(Recording::default());
        let backend = record(upstream.clone()).await;
        let (trapped, fetched) = (Arc::default(), Arc::default());
        let trap = serve(Arc::clone(&trapped), String::new()).await;
        let remote = serve(Arc::clone(&fetched), keys.set("remote", &[])).await;
        let folder = Folder::new();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("policy.yaml", POLICIES);
        write("shared.secret", SECRET);
        write("corp.json", &keys.set("corp", &[]));
        write("other.json", &keys.set("other", &[]));
        write("server.pem", &authorities.server.0);
        write("server.key", &authorities.server.1);
        write("clients.pem", &authorities.pem("clients"));
        write("stranger.pem", &authorities.pem("stranger"));
        write("clients.crl", &authorities.crl("clients", &[666]));
        write("stranger.crl", &authorities.crl("stranger", &[]));
        write("portcullis.yaml", &configuration(backend, remote));
        let path = folder.path().join("portcullis.yaml");
        let config = Config::load(&path).unwrap_or_else(|p| panic!("{}", show(&p)));
        World {
            running: Some(App::start(config, Some(path)).await.unwrap()),
            keys,
            authorities,
            upstream,
            trapped,
            fetched,
            trap,
            folder,
        }
    }

    pub fn address(&self, listener: &str) -> SocketAddr {
        let place = LISTENERS.iter().position(|(name, _)| *name == listener);
        let place = place.unwrap_or_else(|| panic!("no listener {listener}"));
        self.running.as_ref().unwrap().addresses[place]
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Changes a file, and reads all again.
    pub async fn change(&self, name: &str, text: &str) {
        std::fs::write(self.file(name), text).unwrap();
        self.running.as_ref().unwrap().reload().await.unwrap();
    }

    pub fn token(&self, token: &Token) -> Made {
        self.keys.make(token, |text| self.fill(text))
    }

    /// A good token of `agent/7`.
    pub fn good(&self) -> String {
        self.token(&Token::default()).text()
    }

    /// Puts this world's values and this moment in.
    fn fill(&self, text: &str) -> String {
        let mut text = at_this_moment(text)
            .replace("{trap}", &format!("http://{}", self.trap))
            .replace("{jwk}", &self.keys.attackers().to_string())
            .replace("{long}", &"k".repeat(257))
            .replace("{groups}", &vec![r#""g""#; 257].join(","));
        for (name, client) in &self.authorities.named {
            text = text.replace(&format!("{{x5t:{name}}}"), &client.thumbprint());
        }
        if text.contains("{nested}") {
            let inner = self.token(&Token::default()).text();
            text = text.replace("{nested}", &inner);
        }
        text
    }

    pub async fn metrics(&self) -> String {
        let address = self.running.as_ref().unwrap().admin.unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    /// Stops it, and gives back the audit log.
    pub async fn stop(&mut self) -> (Vec<Value>, String) {
        let running = self.running.take().unwrap();
        tokio::time::timeout(PATIENCE, running.shutdown())
            .await
            .expect("the gateway stops");
        let text = std::fs::read_to_string(self.file("audit.jsonl")).unwrap();
        let records = portcullis::audit::segment::records(&text)
            .map(|line| serde_json::from_str(line).unwrap());
        (records.collect(), text)
    }
}

fn configuration(backend: SocketAddr, remote: SocketAddr) -> String {
    let listeners: Vec<String> = LISTENERS
        .iter()
        .map(|(name, clients)| match *name {
            "plain" => format!(r#"  - {{ name: {name}, address: "127.0.0.1:0" }}"#),
            _ => format!(
                r#"  - {{ name: {name}, address: "127.0.0.1:0", tls: {{ certificate: server.pem, key: server.key{clients} }} }}"#
            ),
        })
        .collect();
    format!(
        r#"version: 1
listeners:
{}
routes: [{{ name: api, path: /, upstream: api, forward_headers: any }}]
upstreams: {{ api: {{ addresses: ["http://{backend}"] }} }}
identity:
  providers:
    corp:
      issuer: https://issuer.example
      audience: [portcullis, https://api.example]
      algorithms: [ES256, RS256, EdDSA]
      keys: {{ file: corp.json }}
      leeway: 60s
      claims: {{ user: [/on_behalf_of], task: [/task/id] }}
      agents: ["agent/*"]
    other:
      issuer: https://other.example
      audience: portcullis
      algorithms: [ES256]
      keys: {{ file: other.json }}
      agents: ["other/**"]
    shared:
      issuer: shared
      audience: portcullis
      algorithms: [HS256]
      keys: {{ secret: {{ file: shared.secret }} }}
      leeway: 0s
      agents: ["shared/**"]
    remote:
      issuer: https://remote.example
      audience: portcullis
      algorithms: [ES256]
      keys: {{ url: "http://{remote}/jwks" }}
      agents: ["remote/*"]
policies: [policy.yaml]
audit: {{ to: audit.jsonl, node: test, refusals_per_second: 100000 }}
admin: {{ address: "127.0.0.1:0" }}
workers: 1
"#,
        listeners.join("\n")
    )
}

/// An upstream that keeps what it gets and answers each request with 200.
async fn record(recording: Arc<Recording>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, recording.clone()));
        }
    });
    address
}

async fn answer(mut stream: TcpStream, recording: Arc<Recording>) {
    let mut held = Vec::new();
    loop {
        while let Some(end) = held.windows(4).position(|four| four == b"\r\n\r\n") {
            let head: Vec<u8> = held.drain(..end + 4).collect();
            let head = String::from_utf8(head).unwrap();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            recording.heads.lock().unwrap().push(head);
            while held.len() < length {
                if !more(&mut stream, &mut held, &recording).await {
                    return;
                }
            }
            held.drain(..length);
            let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            if stream.write_all(whole).await.is_err() {
                return;
            }
        }
        if !more(&mut stream, &mut held, &recording).await {
            return;
        }
    }
}

async fn more(stream: &mut TcpStream, held: &mut Vec<u8>, recording: &Recording) -> bool {
    let read = stream.read_buf(held).await.unwrap_or(0);
    recording.bytes.fetch_add(read, Ordering::SeqCst);
    read > 0
}

/// Counts connections, and answers each with this document.
async fn serve(count: Arc<AtomicUsize>, document: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let length = document.len();
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length";
            let whole = format!("{head}: {length}\r\n\r\n{document}");
            let mut asked = [0; 4096];
            let _ = stream.read(&mut asked).await;
            let _ = stream.write_all(whole.as_bytes()).await;
        }
    });
    address
}
