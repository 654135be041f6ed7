//! A gateway's folder, a client that tags each request, and what must hold at the end of every test.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use portcullis::audit::note::Signer;
use portcullis::audit::read::Record;
use portcullis::audit::verify::{Report, Trusted, files_of, verify};
use serde_json::{Value, json};

use crate::folder::Folder;
use crate::program::{PATIENCE, Program, plain, until};
use crate::server::{Seen, behaved, find};

/// All that a test is about.
pub struct World {
    pub folder: Folder,
    /// What upstreams saw, trace by trace.
    pub seen: Seen,
    /// The trace ids of all requests whose heads were sent whole.
    pub sent: Mutex<Vec<String>>,
    /// Those of them that may have no decision: their process was gone, or had nowhere to record it.
    pub forgiven: Mutex<BTreeSet<String>>,
    /// How the client speaks TLS, where the gateway does.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    pub api: SocketAddr,
}

/// What the configuration is made of, where it differs from the usual.
#[derive(Default)]
pub struct Setup<'s> {
    /// More keys of the listener: `, key: value`.
    pub listener: &'s str,
    /// The address of `odd`, an upstream that may misbehave, and more keys of it.
    pub odd: Option<String>,
    pub odd_more: &'s str,
    /// More providers: lines under `providers`, four spaces deep.
    pub providers: &'s str,
    /// More policies: lines, two spaces deep.
    pub policies: &'s str,
    /// More keys of the audit log.
    pub audit: &'s str,
    /// More lines.
    pub more: &'s str,
    /// More files.
    pub files: &'s [(&'s str, String)],
}

pub const POLICIES: &str = r#"version: 1
policies:
  - { id: ok, who: anonymous, do: "GET,POST /ok", body: any, query: any }
  - { id: odd, who: anonymous, do: "GET,POST /odd/{case...}", body: any, query: any }
  - { id: judged, who: anonymous, do: "POST /judged", body: { /name: ok } }
  - { id: agent, who: { agent: { glob: "agent/**" } }, do: "GET /agent" }
"#;

impl World {
    pub fn new() -> World {
        World::of(&Setup::default())
    }

    pub fn of(setup: &Setup<'_>) -> World {
        let folder = Folder::new();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        for (name, text) in setup.files {
            write(name, text);
        }
        let seen = Seen::default();
        let api = behaved(&seen);
        let Setup {
            listener,
            odd,
            odd_more,
            providers,
            policies,
            audit,
            more,
            ..
        } = setup;
        let odd = odd.clone().unwrap_or(format!("http://{api}"));
        write("policy.yaml", &format!("{POLICIES}{policies}"));
        write("shared.secret", SECRET);
        let config = format!(
            r#"version: 1
listeners: [{{ name: main, address: "127.0.0.1:0" {listener} }}]
routes:
  - {{ name: odd, path: /odd, upstream: odd }}
  - {{ name: api, path: /, upstream: api }}
upstreams:
  api: {{ addresses: "http://{api}" }}
  odd: {{ addresses: "{odd}", connect_timeout: 5s, response_timeout: 5s, idle_timeout: 1s, keep_idle: 2 {odd_more} }}
identity:
  providers:
    test: {{ issuer: test, audience: portcullis, algorithms: [HS256], keys: {{ secret: {{ file: shared.secret }} }}, agents: ["agent/own/**"] }}
{providers}
policies: [policy.yaml]
audit: {{ to: audit.jsonl, node: test, refusals_per_second: 1000000 {audit} }}
admin: {{ address: "127.0.0.1:0" }}
workers: 2
log: {{ format: json }}
{more}
"#
        );
        write("portcullis.yaml", &config);
        World {
            folder,
            seen,
            sent: Mutex::default(),
            forgiven: Mutex::default(),
            tls: None,
            api,
        }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.file(name), text).unwrap();
    }

    /// Changes a file's text in place of one part of it.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.file(name)).unwrap();
        assert!(text.contains(from), "{from}: {text}");
        self.write(name, &text.replace(from, to));
    }

    pub fn start(&self) -> Program {
        self.start_as(&mut plain())
    }

    pub fn start_as(&self, command: &mut Command) -> Program {
        let mut program = Program::start(command, &self.file("portcullis.yaml"));
        self.settle(&mut program);
        program
    }

    /// The first requests, and what the process holds after them.
    pub fn settle(&self, program: &mut Program) {
        // Enough for each worker to have had one, but for one time in thousands.
        for _ in 0..12 {
            assert_eq!(self.get(program, "/ok").status, 200);
        }
        program.at_rest = (program.descriptors(), program.resident());
    }

    pub fn get(&self, program: &Program, path: &str) -> Answer {
        self.ask(program, "GET", path, &[], b"")
    }

    pub fn post(&self, program: &Program, path: &str, body: &[u8]) -> Answer {
        self.ask(
            program,
            "POST",
            path,
            &[("content-type", "application/json")],
            body,
        )
    }

    /// Asks as the agent of this token.
    pub fn bearing(&self, program: &Program, token: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        self.ask(program, "GET", "/agent", &[("authorization", &bearer)], b"")
    }

    /// One request on a connection of its own.
    pub fn ask(
        &self,
        program: &Program,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let answer = self.try_ask(program.address, method, path, headers, body);
        answer.expect("the gateway listens")
    }

    /// The same where perhaps nobody listens; `None`: nobody did.
    pub fn try_ask(
        &self,
        address: SocketAddr,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Answer> {
        let mut stream = self.connect(address)?;
        let (trace, mut bytes) = self.head(method, path, headers, Some(body.len()));
        bytes.extend_from_slice(body);
        // One that is answered early has its connection closed while it still sends.
        let mut broke = stream.write_all(&bytes).is_err();
        broke |= stream.flush().is_err();
        let mut back = Vec::new();
        let read = stream.read_to_end(&mut back);
        assert!(
            broke || !matches!(&read, Err(e) if e.kind() == std::io::ErrorKind::WouldBlock),
            "{method} {path}: no end of an answer in {PATIENCE:?}: {:?}",
            String::from_utf8_lossy(&back)
        );
        Some(Answer::parse(&back, trace))
    }

    /// A tagged request head with `connection: close`, and its trace id, which counts as sent.
    pub fn head(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        length: Option<usize>,
    ) -> (String, Vec<u8>) {
        let trace = trace();
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\ntraceparent: 00-{trace}-{}-01\r\n",
            &trace[..16]
        );
        if let Some(length) = length.filter(|length| *length > 0) {
            head += &format!("content-length: {length}\r\n");
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        self.sent.lock().unwrap().push(trace.clone());
        (trace, (head + "\r\n").into_bytes())
    }

    pub fn connect(&self, address: SocketAddr) -> Option<Box<dyn Stream>> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let Some(config) = &self.tls else {
            return Some(Box::new(stream));
        };
        let name = rustls::pki_types::ServerName::try_from(HOST).unwrap();
        let session = rustls::ClientConnection::new(config.clone(), name).unwrap();
        Some(Box::new(rustls::StreamOwned::new(session, stream)))
    }

    /// The records as they stand, without what is still being written.
    pub fn records(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.file("audit.jsonl")).unwrap();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        portcullis::audit::segment::records(&text[..whole])
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// How many times a request with this trace id reached an upstream.
    pub fn reached(&self, trace: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|(t, _)| t == trace).count()
    }

    /// What must hold after every fault. Ends the process, and gives back the records.
    pub fn holds(&self, program: Program) -> Vec<Value> {
        self.serves(&program);
        self.ends(program);
        let files = files_of(&self.file("audit.jsonl")).unwrap();
        let name = |file: &PathBuf| file.file_name().unwrap().to_str().unwrap().to_owned();
        let files: Vec<String> = files.iter().map(name).collect();
        self.reconciled(&files.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The log's files, of which the last so many are looked at, are what was written: each record follows from the one
    /// before, and where there are checkpoints, it is what was signed.
    pub fn verified(&self, last: usize) -> Report {
        let mut files = files_of(&self.file("audit.jsonl")).unwrap();
        let files = files.split_off(files.len().saturating_sub(last));
        let key = std::fs::read_to_string(self.file("audit.key")).ok();
        let key = key.map(|key| Signer::parse(&key).unwrap());
        let checkpoints = self.file("audit.checkpoints");
        let trusted = key.as_ref().map(|key| Trusted {
            key: key.verifier(),
            checkpoints: &checkpoints,
        });
        let report = verify(&files, trusted, &mut |_| ()).unwrap();
        assert_eq!(report.findings, [], "{report:?}");
        report
    }

    /// Makes the key that signs checkpoints.
    pub fn make_key(&self) {
        let mut command = plain();
        command.args(["audit", "init", "test", "--key"]);
        let made = command.arg(self.file("audit.key")).output().unwrap();
        assert!(made.status.success(), "{made:?}");
    }

    /// The process answers a normal request on each worker, and has given back what the fault took.
    pub fn serves(&self, program: &Program) {
        for _ in 0..8 {
            let answer = self.get(program, "/ok");
            assert_eq!((answer.status, answer.whole), (200, true), "{answer:?}");
            let answer = self.post(program, "/judged", br#"{"name":"ok"}"#);
            assert_eq!(answer.status, 200, "{answer:?}");
            let answer = self.post(program, "/judged", br#"{"name":"no"}"#);
            // Who shows a certificate is somebody.
            assert!(matches!(answer.status, 401 | 403), "{answer:?}");
        }
        let (descriptors, resident) = program.at_rest;
        until(&format!("{descriptors} descriptors again"), || {
            program.descriptors() <= descriptors.saturating_add(SPARE_DESCRIPTORS)
        });
        let now = program.resident();
        assert!(
            now <= resident.saturating_add(SPARE_BYTES),
            "{resident} bytes before, {now} after"
        );
    }

    /// It ends as it should when told so.
    pub fn ends(&self, program: Program) {
        program.signal("TERM");
        let log = program.log.clone();
        let status = program.ended();
        assert!(status.success(), "{status}: {:?}", log.lock().unwrap());
        let panicked = |line: &&Value| line.to_string().contains("panicked");
        let log = log.lock().unwrap();
        assert_eq!(log.iter().find(panicked), None);
    }

    /// Records are whole, one after the other; each request has one decision, each permit one outcome, and upstreams
    /// saw nothing else, and nothing twice. The files come the oldest first.
    pub fn reconciled(&self, files: &[&str]) -> Vec<Value> {
        let mut records = Vec::new();
        for file in files {
            let text = std::fs::read_to_string(self.file(file)).unwrap();
            assert!(
                text.is_empty() || text.ends_with('\n'),
                "{file}: half a line"
            );
            for line in portcullis::audit::segment::records(&text) {
                Record::parse(line).unwrap_or_else(|e| panic!("{file}: {e}: {line}"));
                records.push(serde_json::from_str::<Value>(line).unwrap());
            }
        }
        let paths: Vec<PathBuf> = files.iter().map(|file| self.file(file)).collect();
        assert_eq!(verify(&paths, None, &mut |_| ()).unwrap().findings, []);
        let numbers: Vec<u64> = records.iter().map(|r| r["seq"].as_u64().unwrap()).collect();
        let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
        assert_eq!(numbers, expected, "numbers without gap or double");

        let mut permits = BTreeMap::new();
        let mut decided = BTreeMap::<&str, usize>::new();
        let mut ids = BTreeSet::new();
        let mut outcomes = BTreeMap::<&str, usize>::new();
        for record in &records {
            let id = record["id"].as_str().unwrap_or_default();
            match record["kind"].as_str().unwrap() {
                "decision" => {
                    assert!(ids.insert(id), "two decisions of one id: {record}");
                    let trace = record["trace_id"].as_str().unwrap_or_default();
                    *decided.entry(trace).or_default() += 1;
                    if record["decision"] == "permit" {
                        permits.insert(trace, id);
                    }
                }
                "outcome" => *outcomes.entry(id).or_default() += 1,
                _ => {}
            }
        }
        let sent = self.sent.lock().unwrap();
        let sent: BTreeSet<&str> = sent.iter().map(String::as_str).collect();
        for (trace, times) in &decided {
            assert_eq!(*times, 1, "decisions of {trace}");
            assert!(sent.contains(trace), "nobody asked: {trace}");
        }
        for (trace, id) in &permits {
            assert_eq!(outcomes.remove(id), Some(1), "outcomes of {trace}");
        }
        assert!(outcomes.is_empty(), "outcomes of no permit: {outcomes:?}");
        let seen = self.seen.lock().unwrap();
        let mut once = BTreeSet::new();
        for (trace, target) in seen.iter().filter(|(trace, _)| !trace.is_empty()) {
            assert!(permits.contains_key(trace.as_str()), "{target}: no permit");
            assert!(once.insert(trace), "{target}: sent twice");
        }
        let decided: BTreeSet<&str> = decided.into_keys().collect();
        let forgiven = self.forgiven.lock().unwrap();
        let without = sent
            .difference(&decided)
            .filter(|t| !forgiven.contains(**t));
        let without: Vec<_> = without.collect();
        assert!(
            without.is_empty(),
            "requests without a decision: {without:?}"
        );
        records
    }

    /// Lets a request be without a decision: its process was gone, or had nowhere to record it.
    pub fn forgive(&self, answer: &Answer) {
        self.forgiven.lock().unwrap().insert(answer.trace.clone());
    }
}

pub trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// An answer as it came.
#[derive(Clone)]
pub struct Answer {
    /// 0: none came.
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    /// Whether it ended as it announced.
    pub whole: bool,
    pub trace: String,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(400)]);
        write!(
            f,
            "{} whole: {} {:?} {body:?}",
            self.status, self.whole, self.head
        )
    }
}

impl Answer {
    pub fn parse(bytes: &[u8], trace: String) -> Answer {
        let Some(end) = find(bytes, b"\r\n\r\n") else {
            return Answer {
                status: 0,
                head: String::from_utf8_lossy(bytes).into(),
                body: Vec::new(),
                whole: false,
                trace,
            };
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let rest = &bytes[end + 4..];
        let status = head[9..12].parse().unwrap();
        let of = |name: &str| {
            head.lines().find_map(|line| {
                let (key, value) = line.split_once(": ")?;
                key.eq_ignore_ascii_case(name).then_some(value)
            })
        };
        let (body, whole) = if of("transfer-encoding").is_some() {
            dechunk(rest)
        } else {
            let length = of("content-length").map_or(0, |l| l.parse().unwrap());
            (rest.to_vec(), rest.len() == length)
        };
        Answer {
            status,
            head,
            body,
            whole,
            trace,
        }
    }

    pub fn reason(&self) -> String {
        let problem: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        problem["reason"].as_str().unwrap_or_default().to_owned()
    }
}

fn dechunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(at) = find(rest, b"\r\n") {
        let size = std::str::from_utf8(&rest[..at]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        rest = &rest[at + 2..];
        if size == 0 {
            return (body, rest == b"\r\n");
        }
        body.extend_from_slice(&rest[..size.min(rest.len())]);
        let Some(after) = rest.get(size + 2..) else {
            break;
        };
        rest = after;
    }
    (body, false)
}

/// A token of the provider `test`, which has a shared secret; it counts from so many seconds from now to so many.
pub fn token(from: i64, until: i64) -> String {
    let now = seconds();
    let claims = json!({ "iss": "test", "aud": "portcullis", "sub": "agent/own/7", "iat": now + from, "nbf": now + from, "exp": now + until });
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&header, &claims, &key).unwrap()
}

pub fn seconds() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs() as i64
}

pub fn trace() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

/// The records of one kind.
pub fn of_kind<'r>(records: &'r [Value], kind: &str) -> Vec<&'r Value> {
    records.iter().filter(|r| r["kind"] == kind).collect()
}

/// The outcome of the permit of this trace.
pub fn outcome_of<'r>(records: &'r [Value], trace: &str) -> &'r Value {
    let decision = records.iter().find(|r| r["trace_id"] == trace).unwrap();
    let is = |r: &&Value| r["kind"] == "outcome" && r["id"] == decision["id"];
    records.iter().find(is).unwrap()
}

pub const HOST: &str = "api.example.com";
const SECRET: &str = "a-secret-that-is-long-enough-for-hs256!!";
/// Connections that wait in the pools of the workers.
const SPARE_DESCRIPTORS: usize = 10;
/// What allocators keep, and what a debug build takes for each kind of work that it does for the first time.
const SPARE_BYTES: u64 = 24 << 20;
