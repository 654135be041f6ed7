//! The program in a folder of its own, before an upstream: started, watched from outside, and judged at the end.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::folder::Folder;
use crate::upstream::Upstream;

pub const SECRET: &str = "a-secret-that-is-long-enough-for-hs256!!";
/// Longer than anything here takes, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const POLICIES: &str = r#"
version: 1
policies:
  - { id: items.read, who: { agent: { glob: "agent/*" } }, do: "GET /items/{item}", path: { item: { ne: secret } } }
  - { id: held, who: any, do: "GET /held" }
  - { id: large, who: any, do: "GET /large/{size}" }
  - { id: items.write, who: any, do: "POST /items", body: { only: [/name, /more], /name: { prefix: "ok" } } }
  - { id: held.write, who: any, do: "POST /held", body: { /name: { prefix: "ok" } } }
  - { id: upload, who: any, do: "PUT /files/{file}", body: any }
  - { id: unread, who: any, do: "PUT /unread", body: any }
  - { id: open, who: anonymous, do: "GET /open" }
"#;

/// What a program is made of, where it differs from the usual.
pub struct Setup<'s> {
    pub policies: &'s str,
    /// More keys of the listener, the route, the provider: `, key: value`.
    pub listener: &'s str,
    pub route: &'s str,
    /// Where the keys of tokens come from.
    pub keys: &'s str,
    pub identity: &'s str,
    pub audit: &'s str,
    /// More lines of configuration.
    pub more: &'s str,
    pub files: &'s [(&'s str, String)],
    /// What limits the shell sets before it starts the program.
    pub shell: &'s str,
    /// How much more memory than before may be resident at the end, in MiB.
    pub slack: u64,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Setup {
            policies: POLICIES,
            listener: "",
            route: "",
            keys: "algorithms: [HS256], keys: { secret: { file: shared.secret } }",
            identity: "",
            audit: "",
            more: "",
            files: &[],
            shell: "",
            slack: 48,
        }
    }
}

/// A running program. It is killed when the test ends, however that ends.
pub struct World {
    pub address: SocketAddr,
    /// Of all listeners, in the configuration's order.
    pub addresses: Vec<SocketAddr>,
    pub upstream: Arc<Upstream>,
    pub folder: Folder,
    admin: SocketAddr,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    before: Resources,
    slack: u64,
    began: Instant,
}

/// What the program holds, as the kernel tells.
#[derive(Debug, Clone, Copy)]
pub struct Resources {
    pub descriptors: usize,
    /// Resident memory that is no file's, in KiB.
    pub memory: u64,
    /// CPU time in ticks.
    pub ticks: u64,
}

impl World {
    pub fn new(more: &str) -> World {
        Setup {
            more,
            ..Setup::default()
        }
        .start()
    }

    /// A token-bearing head: method, path and more fields.
    pub fn head(line: &str, more: &str) -> String {
        let token = token("agent/7", json!({}));
        format!("{line} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n{more}\r\n")
    }

    pub fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    /// Sends these bytes and reads until the connection ends.
    pub fn raw(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect();
        // A connection that is closed over unread bytes may be reset while these are written.
        let _ = stream.write_all(bytes.as_ref());
        rest(&mut stream)
    }

    /// A good request over a connection of its own.
    pub fn get(&self, path: &str) -> String {
        self.raw(Self::head(&format!("GET {path}"), "connection: close\r\n"))
    }

    pub fn serves(&self) {
        let answer = self.get("/items/1");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }

    /// The value of a metric, all its labels together.
    pub fn metric(&self, name: &str) -> f64 {
        let mut stream = connect(self.admin);
        let asked = format!(
            "GET /metrics HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
            self.admin
        );
        stream.write_all(asked.as_bytes()).unwrap();
        let text = rest(&mut stream);
        let of = |line: &str| {
            let value = line.strip_prefix(name)?;
            if !value.starts_with([' ', '{']) {
                return None;
            }
            value.rsplit(' ').next()?.parse::<f64>().ok()
        };
        text.lines().filter_map(of).sum()
    }

    pub fn resources(&self) -> Resources {
        let id = self.child.id();
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{id}/{name}")).unwrap();
        let stat = read("stat");
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .collect();
        Resources {
            descriptors: std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().count(),
            memory: status(&read("status"), "RssAnon:"),
            ticks: fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap(),
        }
    }

    /// From here on the highest resident memory counts anew.
    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }

    /// The highest resident memory, in KiB.
    pub fn peak(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        status(&text, "VmHWM:")
    }

    /// Fails where what was done takes more memory than so many MiB at any moment.
    pub fn within<T>(&self, megabytes: u64, what: &str, attack: impl FnOnce() -> T) -> T {
        self.forget_peak();
        let before = self.peak();
        let done = attack();
        let grown = self.peak().saturating_sub(before) / 1024;
        println!("{what}: {grown} MiB at most");
        assert!(grown <= megabytes, "{what}: {grown} MiB more");
        done
    }

    pub fn logged(&self, part: &str) -> bool {
        let log = self.log.lock().unwrap();
        log.iter().any(|line| line.contains(part))
    }

    /// The records so far; a line that is being written may be there in part.
    pub fn records(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("audit.jsonl")).unwrap();
        let lines = portcullis::audit::segment::records(&text);
        lines.filter_map(|l| serde_json::from_str(l).ok()).collect()
    }

    /// What must hold after any attack. Gives back all records.
    pub fn close(self) -> Vec<Value> {
        self.upstream.release();
        self.serves();
        self.end()
    }

    /// The same where no request can be permitted.
    pub fn end(mut self) -> Vec<Value> {
        let last = Cell::new(None);
        let back = || {
            let now = self.resources();
            let open = self.metric("portcullis_connections_open");
            last.set(Some((now, open)));
            now.descriptors <= self.before.descriptors + 8
                && now.memory <= self.before.memory + self.slack * 1024
                && open == 0.0
        };
        until_or(back, || {
            panic!("not back: {:?}, before {:?}", last.get(), self.before)
        });
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", "TERM", &id]).status();
        assert!(sent.unwrap().success());
        until("an end", || self.child.try_wait().unwrap().is_some());
        assert!(self.child.wait().unwrap().success());
        let panicked = self.log.lock().unwrap();
        let panicked = panicked.iter().find(|line| line.contains("panicked"));
        assert_eq!(panicked, None);
        let path = self.folder.path().join("audit.jsonl");
        println!("closed after {:?}", self.began.elapsed());
        whole(&std::fs::read_to_string(path).unwrap())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
        self.upstream.release();
    }
}

impl Setup<'_> {
    pub fn start(&self) -> World {
        let (upstream, backend) = Upstream::start();
        let folder = Folder::new();
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).unwrap();
        };
        for (name, text) in self.files {
            write(name, text);
        }
        write("policy.yaml", self.policies);
        write("shared.secret", SECRET);
        let Setup {
            listener,
            route,
            keys,
            identity,
            audit,
            more,
            ..
        } = self;
        let config = format!(
            r#"version: 1
listeners: [{{ name: main, address: "127.0.0.1:0" {listener} }}]
routes: [{{ name: api, path: / , upstream: api {route} }}]
upstreams: {{ api: {{ addresses: ["http://{backend}"], keep_idle: 2 }} }}
identity:
  {identity}
  providers:
    test: {{ issuer: test, audience: portcullis, {keys}, agents: ["agent/**"] }}
policies: [policy.yaml]
audit: {{ to: audit.jsonl, node: test, rotate_at: never {audit} }}
admin: {{ address: "127.0.0.1:0" }}
workers: 2
log: {{ format: json }}
{more}
"#
        );
        write("portcullis.yaml", &config);
        let binary = std::env::var_os("PORTCULLIS_BIN").map_or_else(
            || PathBuf::from(env!("CARGO_BIN_EXE_portcullis")),
            PathBuf::from,
        );
        let script = format!("{}\nexec \"$0\" \"$@\"", self.shell);
        let mut child = Command::new("bash")
            .args(["-c", &script])
            .arg(binary)
            .arg("serve")
            .arg("--config")
            .arg(folder.path().join("portcullis.yaml"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let kept = log.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut kept = kept.lock().unwrap();
                if kept.len() < 10_000 {
                    kept.push(line);
                }
            }
        });
        let told = |key: &str| {
            let log = log.lock().unwrap();
            let lines = log
                .iter()
                .filter_map(|l| serde_json::from_str::<Value>(l).ok());
            let mut texts = lines.filter_map(|line| Some(line["fields"][key].as_str()?.to_owned()));
            let found = texts.next_back()?;
            found
                .split(", ")
                .map(|a| a.parse().ok())
                .collect::<Option<Vec<SocketAddr>>>()
        };
        until("serving", || told("admin").is_some());
        let addresses = told("listening").unwrap();
        let mut world = World {
            address: addresses[0],
            addresses,
            admin: told("admin").unwrap()[0],
            upstream,
            folder,
            child,
            log,
            before: Resources {
                descriptors: 0,
                memory: 0,
                ticks: 0,
            },
            slack: self.slack,
            began: Instant::now(),
        };
        if self.listener.is_empty() {
            // Both workers, the pool and the token cache are awake.
            for _ in 0..8 {
                world.serves();
            }
            until("no connection", || {
                world.metric("portcullis_connections_open") == 0.0
            });
        }
        world.before = world.resources();
        world
    }
}

/// The records of a log that must be whole: each line parses, the numbers have no gap, each permit has its outcome.
fn whole(text: &str) -> Vec<Value> {
    assert!(text.ends_with('\n'), "an unended line");
    let records: Vec<Value> = portcullis::audit::segment::records(text)
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    let mut permits = HashSet::new();
    let mut decisions = HashSet::new();
    let mut outcomes: HashMap<&str, usize> = HashMap::new();
    for (record, seq) in records.iter().zip(1..) {
        assert_eq!(record["seq"].as_u64(), Some(seq), "{record}");
        let id = record["id"].as_str().unwrap_or_default();
        match record["kind"].as_str().unwrap() {
            "decision" => {
                assert!(decisions.insert(id), "twice: {record}");
                if record["decision"] == "permit" {
                    permits.insert(id);
                }
            }
            "outcome" => {
                assert!(permits.contains(id), "of no permit: {record}");
                *outcomes.entry(id).or_default() += 1;
            }
            _ => {}
        }
    }
    let open: Vec<_> = permits
        .iter()
        .filter(|id| outcomes.get(*id) != Some(&1))
        .collect();
    assert!(open.is_empty(), "without exactly one outcome: {open:?}");
    records
}

/// The records of one kind.
pub fn of_kind<'r>(records: &'r [Value], kind: &str) -> Vec<&'r Value> {
    records.iter().filter(|r| r["kind"] == kind).collect()
}

/// What the counted refusals of these records come to, for one cause.
pub fn counted(records: &[Value], cause: &str) -> u64 {
    let events = records.iter().filter(|r| r["event"] == "refusals");
    let counts = events.flat_map(|r| r["counts"].as_array().unwrap());
    counts
        .filter(|count| count["cause"] == cause)
        .map(|count| count["count"].as_u64().unwrap())
        .sum()
}

fn status(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let number = line.unwrap().split_whitespace().next().unwrap();
    number.parse().unwrap()
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// All that comes until the connection ends; a reset after the answer is as good as an end.
pub fn rest(stream: &mut TcpStream) -> String {
    let mut back = Vec::new();
    if let Err(error) = stream.read_to_end(&mut back) {
        let waits = matches!(
            error.kind(),
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
        );
        assert!(!waits, "the connection never ends");
    }
    String::from_utf8_lossy(&back).into_owned()
}

/// Sends a piece again and again until the other side has ended the connection. What came back is read away.
pub fn drip(stream: &mut TcpStream, every: Duration, piece: impl Fn(usize) -> Vec<u8>) {
    let began = Instant::now();
    stream.set_read_timeout(Some(every)).unwrap();
    for n in 0.. {
        assert!(began.elapsed() < PATIENCE, "the connection never ends");
        if stream.write_all(&piece(n)).is_err() {
            return;
        }
        match stream.read(&mut [0; 4096]) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// Waits until a condition holds.
pub fn until(what: &str, holds: impl FnMut() -> bool) {
    until_or(holds, || panic!("never: {what}"));
}

pub fn until_or(mut holds: impl FnMut() -> bool, never: impl FnOnce()) {
    let began = Instant::now();
    while !holds() {
        if began.elapsed() > PATIENCE {
            return never();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A token for this agent, with more claims.
pub fn token(agent: &str, more: Value) -> String {
    token_by(&header(), SECRET, agent, more)
}

pub fn header() -> jsonwebtoken::Header {
    jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256)
}

pub fn token_by(head: &jsonwebtoken::Header, secret: &str, agent: &str, more: Value) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = now.as_secs();
    let mut claims = json!({ "iss": "test", "aud": "portcullis", "sub": agent, "iat": now - 60, "exp": now + 900 });
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(head, &claims, &key).unwrap()
}
