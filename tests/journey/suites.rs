//! llhttp's requests over a real socket: what its strict parser refuses, and all that only its lenient modes take,
//! is refused here as well, with nothing forwarded; what it takes is taken, read alike, and forwarded once.
//!
//! After each case a good request follows on the same connection. A case that was read with other ends than its
//! own would swallow it, or make it part of something else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::Setup;

const POLICIES: &str = r#"
version: 1
policies:
  - { id: any, who: anonymous, do: ["* /", "* /{rest...}"], query: any, body: any }
"#;

/// What llhttp's strict mode takes and DESIGN 4 refuses.
const REFUSED_BY_DESIGN: &[(&str, &str)] = &[
    ("17", "zeros before a length"),
    ("18", "zeros before a length"),
    ("25", "HTTP/1.0"),
    ("109", "HTTP/1.0"),
    ("111", "HTTP/0.9"),
    ("76", "a target that is no path"),
    ("83", "ICE"),
    ("84", "RTSP"),
    ("85", "RTSP"),
    ("104", "a host that is none: 0.0.0.0=5000"),
    ("105", "a host that is none: 0.0.0.0=5000"),
    ("139", "a transfer coding besides chunked"),
    ("140", "a transfer coding besides chunked"),
    ("151", "quotation marks in the path"),
    ("153", "no Host"),
    ("154", "a target without a path before its query"),
    ("158", "a fragment in the target"),
    ("160", "user information"),
];

/// What llhttp refuses and is good.
const TAKEN_BY_DESIGN: &[(&str, &str)] = &[("51", "a method that llhttp doesn't list")];

/// Good as far as they go, but they stop before their end: nothing whole is forwarded of the last request.
const INCOMPLETE: &[&str] = &["4", "7", "26", "27", "32", "36", "37", "120", "126", "129"];

/// So many requests at the beginning are good; what follows them is refused. A body that is missing in 26 and 27 is
/// taken off the good request that follows.
const FIRST_ARE_GOOD: &[(&str, usize)] = &[("4", 1), ("7", 1), ("26", 1), ("27", 1), ("68", 1)];

#[tokio::test]
#[expect(clippy::print_stderr, reason = "a suite tells its figures")]
async fn llhttps_requests() {
    let Some(cases) = cases() else {
        eprintln!("llhttp: no vectors, passed over");
        return;
    };
    let upstream = Recorder::default();
    let address = upstream.start().await;
    let setup = Setup {
        policies: POLICIES,
        addresses: &[address],
        // A case that waits for more ends soon.
        more: "timeouts: { header: 200ms, keep_alive: 200ms, idle: 200ms, body: 200ms }",
        ..Setup::default()
    };
    let gateway = setup.start().await;
    let (mut accepted, mut refused) = (0, 0);
    let mut wrong = Vec::new();
    for case in &cases {
        let sent = [&case.bytes[..], AFTER].concat();
        let answer = gateway.raw(&sent).await;
        let seen = upstream.take();
        let got = Got::of(&answer, &seen);
        let complaint = match case.expected() {
            Expected::Taken => {
                accepted += 1;
                (!got.taken()).then_some("is not taken")
            }
            Expected::Refused { good } => {
                refused += 1;
                got.refused(good)
            }
        };
        if let Some(complaint) = complaint {
            wrong.push(format!(
                "{} {complaint}: {got:?} {:?}",
                case.label,
                String::from_utf8_lossy(&case.bytes)
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    let all = cases.len();
    eprintln!("llhttp: {all} cases, {accepted} accepted, {refused} refused");
    assert!(accepted >= 40 && refused >= 80, "{accepted} {refused}");
}

/// What follows each case. It is a head of its own whatever the case was.
const AFTER: &[u8] = b"GET /after HTTP/1.1\r\nhost: after\r\nconnection: close\r\n\r\n";

/// What came of a case.
#[derive(Debug)]
struct Got {
    statuses: Vec<String>,
    /// The requests that reached the upstream whole, but for the one that follows.
    forwarded: Vec<String>,
    /// Whether the one that follows did.
    after: bool,
    closed_early: bool,
}

impl Got {
    fn of(answer: &str, seen: &[String]) -> Got {
        let mut statuses: Vec<String> = answer
            .split("HTTP/1.")
            .skip(1)
            .map(|rest| rest.get(2..5).unwrap_or_default().to_owned())
            .collect();
        let after = seen.iter().any(|line| line == "GET /after");
        if after {
            statuses.pop();
        }
        Got {
            closed_early: answer.contains("onnection: close"),
            statuses,
            forwarded: seen
                .iter()
                .filter(|line| *line != "GET /after")
                .cloned()
                .collect(),
            after,
        }
    }

    /// Every request was answered by the upstream, and what follows was read, unless the case ends the connection.
    fn taken(&self) -> bool {
        !self.forwarded.is_empty()
            && self.statuses.len() == self.forwarded.len()
            && self.statuses.iter().all(|status| status == "200")
            && (self.after || self.closed_early)
    }

    /// What is wrong with this as a refusal after so many good requests.
    fn refused(&self, good: usize) -> Option<&'static str> {
        if self.forwarded.len() > good {
            return Some("is forwarded");
        }
        if self.forwarded.len() < good
            || self.statuses.iter().filter(|s| *s == "200").count() != good
        {
            return Some("has other good requests before it");
        }
        match self.statuses.get(good).map(String::as_str) {
            None | Some("400") => None,
            Some(_) => Some("is refused as something else"),
        }
    }
}

/// What is to become of a case.
enum Expected {
    Taken,
    Refused { good: usize },
}

struct Case {
    /// The line in the file; `b` for the second of a line that holds two.
    label: String,
    bytes: Vec<u8>,
    /// Whether llhttp refuses it, or takes it in a lenient mode only.
    bad: bool,
}

impl Case {
    fn expected(&self) -> Expected {
        let find = |table: &[(&str, &str)]| table.iter().any(|(label, _)| *label == self.label);
        let good = FIRST_ARE_GOOD
            .iter()
            .find(|(label, _)| *label == self.label);
        let good = good.map_or(0, |(_, good)| *good);
        let incomplete = INCOMPLETE.contains(&&*self.label);
        let bad = self.bad && !find(TAKEN_BY_DESIGN);
        if bad || incomplete || find(REFUSED_BY_DESIGN) {
            return Expected::Refused { good };
        }
        Expected::Taken
    }
}

fn cases() -> Option<Vec<Case>> {
    let root = std::env::var_os("PORTCULLIS_VECTORS").map_or_else(
        || concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/vectors").into(),
        std::path::PathBuf::from,
    );
    let text = std::fs::read_to_string(root.join("http1/llhttp-requests.jsonl")).ok()?;
    let mut cases = Vec::new();
    for (line, record) in text.lines().enumerate() {
        let record: Value = serde_json::from_str(record).unwrap();
        let lenient = record["meta"]["type"].as_str().unwrap().contains("lenient");
        let bad = lenient || record["expect_error"].as_bool().unwrap();
        let http = record["http"].as_str().unwrap();
        // Two lines hold two cases, with the first one's log between them.
        let Some((first, rest)) = http.split_once("\n```\n") else {
            cases.push(Case::new(line.to_string(), http, bad));
            continue;
        };
        let (log, second) = rest.split_once("\n```http\n").unwrap();
        cases.push(Case::new(
            line.to_string(),
            first,
            log.contains("error code"),
        ));
        cases.push(Case::new(format!("{line}b"), second, bad));
    }
    assert!(cases.len() > 160, "{}", cases.len());
    Some(cases)
}

impl Case {
    /// The bytes of a case as the suite writes them: a line feed is CRLF, escapes stand for bytes, a backslash at the
    /// end of a line joins it with the next.
    fn new(label: String, written: &str, bad: bool) -> Case {
        let text = written.strip_suffix('\n').unwrap_or(written);
        let text = with_host(&text.replace("\\\n", "").replace('\n', "\r\n"));
        let mut bytes = Vec::new();
        let mut rest = text.as_str();
        while let Some((plain, escape)) = rest.split_once('\\') {
            bytes.extend_from_slice(plain.as_bytes());
            let hex = escape
                .get(1..3)
                .and_then(|hex| u8::from_str_radix(hex, 16).ok());
            let (byte, taken) = match (escape.as_bytes().first(), hex) {
                (Some(b'r'), _) => (b'\r', 1),
                (Some(b'n'), _) => (b'\n', 1),
                (Some(b't'), _) => (b'\t', 1),
                (Some(b'f'), _) => (b'\x0c', 1),
                (Some(b'x'), Some(byte)) => (byte, 3),
                _ => (b'\\', 0),
            };
            bytes.push(byte);
            rest = &escape[taken..];
        }
        bytes.extend_from_slice(rest.as_bytes());
        Case { label, bytes, bad }
    }
}

/// Adds the Host that llhttp doesn't ask for, so that each case is refused for its own fault only.
fn with_host(text: &str) -> String {
    let lines: Vec<&str> = text.split("\r\n").collect();
    let mut with = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        with.push((*line).to_owned());
        let versions = [" HTTP/1.1", " HTTP/1.0"];
        let begins = versions.iter().any(|version| line.ends_with(version));
        let mut fields = lines[at + 1..].iter().take_while(|line| !line.is_empty());
        if begins && !fields.any(|field| field.to_ascii_lowercase().starts_with("host:")) {
            let absolute = line.split_once("http://").map(|(_, target)| target);
            let host = absolute.and_then(|target| target.split(['/', '?', ' ']).next());
            with.push(format!("Host: {}", host.unwrap_or("a")));
        }
    }
    with.join("\r\n")
}

/// An upstream that reads as strictly as it can, and keeps method and path of each request that came whole.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<String>>>);

impl Recorder {
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let recorder = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let recorder = recorder.clone();
                tokio::spawn(async move { recorder.serve(stream).await });
            }
        });
        format!("http://{address}")
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// Ends with the connection, or where a request stops short.
    async fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut buffer = Vec::new();
        loop {
            let head = until(&mut stream, &mut buffer, b"\r\n\r\n").await?;
            let head = String::from_utf8_lossy(&head).into_owned();
            let (line, fields) = head.split_once("\r\n")?;
            let fields: BTreeMap<String, &str> = fields
                .split("\r\n")
                .filter_map(|field| field.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value))
                .collect();
            let chunked = fields.contains_key("transfer-encoding");
            let length = fields.get("content-length").map(|n| n.parse().unwrap());
            assert!(!(chunked && length.is_some()), "two framings: {head}");
            exactly(&mut stream, &mut buffer, length.unwrap_or(0)).await?;
            let mut more = chunked;
            while more {
                let size = until(&mut stream, &mut buffer, b"\r\n").await?;
                let size = usize::from_str_radix(std::str::from_utf8(&size).unwrap(), 16).unwrap();
                exactly(&mut stream, &mut buffer, size).await?;
                assert!(
                    until(&mut stream, &mut buffer, b"\r\n").await?.is_empty(),
                    "{head}"
                );
                more = size != 0;
            }
            let asked = line.rsplit_once(' ')?.0;
            self.0.lock().unwrap().push(asked.to_owned());
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .await
                .ok()?;
        }
    }
}

/// What stands before the mark, both taken off the buffer.
async fn until(stream: &mut TcpStream, buffer: &mut Vec<u8>, mark: &[u8]) -> Option<Vec<u8>> {
    loop {
        if let Some(at) = buffer.windows(mark.len()).position(|window| window == mark) {
            let rest = buffer.split_off(at + mark.len());
            let mut before = std::mem::replace(buffer, rest);
            before.truncate(at);
            return Some(before);
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// So many bytes, taken off the buffer.
async fn exactly(stream: &mut TcpStream, buffer: &mut Vec<u8>, length: usize) -> Option<()> {
    while buffer.len() < length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    buffer.drain(..length);
    Some(())
}
