//! A whole gateway that ships: what its requests leave, and what a reload changes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver as Heads, channel};

use portcullis::app::{App, Running};
use portcullis::config::Config;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::receiver::{Receiver, logs, seq, text};

struct Gateway {
    running: Running,
    folder: TempDir,
    upstream: SocketAddr,
    /// What the upstream got.
    heads: Heads<String>,
}

impl Gateway {
    async fn start(ship: &str) -> Gateway {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream = listener.local_addr().unwrap();
        let (sender, heads) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, sender) = (stream.unwrap(), sender.clone());
                std::thread::spawn(move || {
                    let mut bytes = [0; 4096];
                    while let Ok(read @ 1..) = stream.read(&mut bytes) {
                        let head = String::from_utf8_lossy(&bytes[..read]).into_owned();
                        let _test_over = sender.send(head);
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                        stream.write_all(answer).unwrap();
                    }
                });
            }
        });
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("portcullis.yaml");
        std::fs::write(&path, text_with(upstream, ship)).unwrap();
        std::fs::write(folder.path().join("policy.yaml"), POLICIES).unwrap();
        let config = Config::load(&path).unwrap();
        let running = App::start(config, Some(path)).await.unwrap();
        Gateway {
            running,
            folder,
            upstream,
            heads,
        }
    }

    async fn ship(&self, ship: &str) {
        let path = self.folder.path().join("portcullis.yaml");
        std::fs::write(path, text_with(self.upstream, ship)).unwrap();
        self.running.reload().await.unwrap();
    }

    /// Waits until it is on record beside the log that all up to this record was taken. What ends before is sent again.
    fn shipped(&self, last: u64) {
        let cursor = self.folder.path().join("audit.jsonl.shipped");
        let started = Instant::now();
        let seq = || -> Option<u64> {
            let text = std::fs::read_to_string(&cursor).ok()?;
            serde_json::from_str::<serde_json::Value>(&text).ok()?["seq"].as_u64()
        };
        while seq() != Some(last) {
            assert!(started.elapsed() < Duration::from_secs(20), "{:?}", seq());
            std::thread::yield_now();
        }
    }

    /// The answer to a GET of this path.
    fn get(&self, path: &str, more: &str) -> String {
        let mut stream = TcpStream::connect(self.running.addresses[0]).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{more}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

fn text_with(upstream: SocketAddr, ship: &str) -> String {
    format!(
        "
version: 1
listeners: [{{ address: 127.0.0.1:0 }}]
routes: [{{ upstream: api }}]
upstreams: {{ api: {{ addresses: \"http://{upstream}\" }} }}
policies: policy.yaml
audit: {{ to: audit.jsonl, node: n1, ship: {ship} }}
admin: off
workers: 1
"
    )
}

fn to(receiver: &Receiver) -> String {
    let address = receiver.address;
    format!("{{ endpoint: 'http://{address}', every: 10ms }}")
}

#[tokio::test]
async fn a_sampled_trace_goes_on_over_the_gateway() {
    let receiver = Receiver::taking();
    let gateway = Gateway::start(&to(&receiver)).await;
    let parent = |flags: &str| {
        format!("traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}\r\n")
    };
    let mut seen = Vec::new();
    for more in [parent("00"), parent("01"), String::new()] {
        assert!(gateway.get("/open", &more).starts_with("HTTP/1.1 200"));
        let head = gateway.heads.recv().unwrap();
        let trace = head.lines().find_map(|l| l.strip_prefix("traceparent: "));
        seen.push(trace.unwrap().to_owned());
    }
    assert!(gateway.get("/closed", "").starts_with("HTTP/1.1 401"));
    let spans = receiver.spans(3);
    gateway.running.shutdown().await;
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
    let shown: Vec<String> = spans
        .iter()
        .map(|span| format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id)))
        .collect();
    // the one that isn't sampled has no span; a trace that begins here is sampled
    assert!(seen[0].ends_with("-00"));
    assert_eq!(shown[..2], seen[1..]);
    let parents: Vec<_> = spans.iter().map(|span| hex(&span.parent_span_id)).collect();
    assert_eq!(parents, ["00f067aa0ba902b7", "", ""]);
    let verdicts = spans
        .iter()
        .map(|span| text(&span.attributes, "portcullis.decision"));
    assert_eq!(verdicts.collect::<Vec<_>>(), ["permit", "permit", "deny"]);
    // to the last
    let all = receiver.until("the end", |taken| {
        let last = logs(taken).pop();
        last.is_some_and(|last| text(&last.attributes, "portcullis.event") == "stop")
    });
    let numbers: Vec<u64> = logs(&all).iter().map(seq).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn without_shipping_a_trace_that_begins_here_is_not_sampled() {
    let gateway = Gateway::start("off").await;
    gateway.get("/open", "");
    let head = gateway.heads.recv().unwrap();
    let trace = head.lines().find(|line| line.starts_with("traceparent: "));
    assert!(trace.unwrap().ends_with("-00"));
    gateway.running.shutdown().await;
}

#[tokio::test]
async fn a_reload_puts_another_receiver_in_force() {
    let (first, second) = (Receiver::taking(), Receiver::taking());
    let gateway = Gateway::start(&to(&first)).await;
    gateway.get("/open", "");
    // start, decision, outcome
    first.records(1..=3);
    gateway.shipped(3);
    gateway.ship(&to(&second)).await;
    gateway.get("/open", "");
    second.records(4..=6);
    gateway.shipped(6);
    gateway.ship("off").await;
    gateway.get("/open", "");
    gateway.ship(&to(&first)).await;
    first.records([1, 2, 3, 7, 8, 9, 10]);
    gateway.running.shutdown().await;
    let numbers: Vec<u64> = logs(&second.until("all", |_| true))
        .iter()
        .map(seq)
        .collect();
    assert_eq!(numbers, [4, 5, 6]);
}

const POLICIES: &str = "
version: 1
policies:
  - id: open
    who: anonymous
    do: GET /open
";
