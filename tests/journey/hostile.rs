//! The adversarial suite: what an attacker sends, as data in `tests/hostile/*.yaml`, and what must become of it.
//!
//! Each file is run against a gateway of its own, each case over a connection of its own, as bytes: no client library
//! stands between a case and the gateway. After every case the connection, the records, the upstream's bytes and a
//! control request over a fresh connection are looked at. What goes over HTTP/1.1 goes a second time in small pieces. `cargo test --test journey hostile -- --nocapture` tells how
//! many cases there are.
//!
//! The format:
//!
//! ```yaml
//! version: 1
//! about: One sentence, what is attacked here.
//! policies: |                       # of this file's gateway; default: `harness::POLICIES`
//! route: ", forward_headers: any"   # as in `harness::Setup`; listener, upstream, provider and more likewise
//! cases:
//!   - lesson: One plain sentence, unique over all files.
//!     send: "GET /a HTTP/1.1\r\nhost: a\r\n\r\n"   # bytes, each character one of them (Latin-1)
//!     head: POST /items             # or the short form: `host: a`, a bearer token, `content-type: application/json`
//!                                   # and `content-length` where there is a body, and `connection: close` are added
//!     headers: ["x-a: b", -host]    # further lines; one with a name that would be added replaces it, `-` removes it
//!     body: '{"name":"ok"}'         # UTF-8, or `bytes` in Latin-1
//!     both: true                    # with `head`: over HTTP/1.1, and over HTTP/2
//!     h2: [[":method", GET], …]     # or one HTTP/2 stream of exactly these fields; `body` or `bytes` may follow
//!     trailers: [[x-a, b]]          # with `h2`: a second header block, which ends the stream
//!     end: true                     # the client ends its side of the connection after its last byte
//!     expect: …                     # one of the following, or a list of them: the answers, in their order
//! ```
//!
//! - `{ permit: <id> }`: 200 (101 where it is a WebSocket handshake); a record that says so; the upstream got one such
//!   request. By default its target and body are what was sent. `target` and `forwarded` say what else they must be;
//!   of a list, of absolute-form, of escapes and of chunks they must be told. `header: ["x-a: b"]` is there, with no
//!   second of that name, and `absent: [x-a]` isn't. What a tunnel carries is its body.
//! - `{ deny: <reason> }` with `detail` and `policies`: the reason's status, a problem document and one record that
//!   say the same. The upstream got nothing.
//! - `{ cut: <id> }`: a permit on record whose streamed body broke: the upstream got the beginning of the request and an
//!   end within it, and the answer isn't 200.
//! - `unanswered: true` beside `deny`: the stream or connection ends without the answer.
//! - `{ closed: 400 }`, `431` or `end`: no record, nothing for the upstream; that bare status, or no answer at all. `any`
//!   is a bare 400 or none, where that hangs on how the bytes come. It is always the last.
//! - `bodiless: true` beside each of them: the answer is one to HEAD (known by itself for the first of a connection).
//! - `continued: true` or `false` beside each of them: whether a 100 came before the answer.
//!
//! After the last answer the connection has ended, or it still serves: then a control request over it is answered next.
//!
//! In all texts `{token}` is a token of `agent/7`, and `{*300:/a}` is `/a` 300 times.
//!
//! A file's policies may not judge `/-/control`. The upstream answers a target that begins with `/early` before it has
//! read the body, and closes; of such a body only a part may come.

mod case;
mod client;
mod fields;
mod http2;
mod judge;
mod upstream;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use self::case::{Case, Sent, Suite};
use self::client::Talk;
use self::judge::Found;
use self::upstream::Recording;
use crate::harness::{Gateway, Setup, token_until, until};

macro_rules! suites {
    ($($name:ident,)*) => {
        $(#[tokio::test]
        async fn $name() {
            run(stringify!($name)).await;
        })*

        /// The files that have a test.
        const SUITES: &[&str] = &[$(stringify!($name),)*];
    };
}

suites! {
    content,
    form,
    framing,
    header,
    header_any,
    host,
    http2,
    json,
    method,
    opaque,
    path,
    query,
    rpc,
    websocket,
}

/// A file without a test would hold nothing, and a lesson that stands twice teaches nothing.
#[test]
fn every_file_is_run_and_every_lesson_is_told_once() {
    let mut told = BTreeMap::new();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        for (line, lesson) in Suite::lessons(&path) {
            let place = format!("{name}.yaml:{line}");
            if let Some(other) = told.insert(lesson.clone(), place.clone()) {
                panic!("{place}: the lesson of {other}: {lesson}");
            }
        }
        names.push(name);
    }
    // Those of identity have a runner of their own (hostile_identity.rs).
    names.retain(|name| !["binding", "certificates", "tokens"].contains(&&**name));
    names.sort();
    assert_eq!(names, SUITES);
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile")
}

/// Runs a file's cases, one after another.
#[expect(
    clippy::print_stdout,
    reason = "the count is what a reader of the run wants"
)]
async fn run(name: &str) {
    let path = folder().join(format!("{name}.yaml"));
    let suite = Suite::read(&path, &token_until("agent/7", 3000));
    let recording = Recording::start().await;
    let mut bench = Bench {
        gateway: suite.gateway(&recording).await,
        recording,
        read: 0,
    };
    bench
        .control()
        .await
        .expect("a control before the first case");
    let (mut permitted, mut refused, mut wrong) = (0, 0, Vec::new());
    for case in &suite.cases {
        match case.permits() {
            true => permitted += 1,
            false => refused += 1,
        }
        for sent in &case.sent {
            let mut ended = bench.case(case, sent).await;
            if let Err(problem) = bench.control().await {
                ended = Err(format!("{ended:?}; and after it: {problem}"));
            }
            let Err(problem) = ended else { continue };
            let told = format!(
                "{name}.yaml:{} ({sent}): {}\n    {problem}",
                case.line, case.lesson
            );
            // what is sent can be long, and so can be what comes back
            let lines = told.lines().map(|line| line.chars().take(700).collect());
            let told = lines.collect::<Vec<String>>().join("\n");
            wrong.push(told);
        }
    }
    let count = suite.cases.len();
    println!("{name}.yaml: {count} cases, {refused} refused, {permitted} permitted");
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(
        permitted > 0 && refused > 0,
        "{name}.yaml: no control, or no attack"
    );
}

/// A gateway with all that is looked at.
struct Bench {
    gateway: Gateway,
    recording: Recording,
    /// How much of the audit log was read.
    read: usize,
}

impl Bench {
    async fn case(&mut self, case: &Case, sent: &Sent) -> Result<(), String> {
        let talk = match sent {
            Sent::Http1(bytes) => client::talk(self.gateway.address, &[bytes], case).await?,
            Sent::Pieces(bytes) => {
                // Cut anywhere; what comes behind many pieces comes at once.
                let (first, rest) = bytes.split_at(bytes.len().min(400));
                let pieces: Vec<&[u8]> = first.chunks(3).chain([rest]).collect();
                client::talk(self.gateway.address, &pieces, case).await?
            }
            Sent::Http2(stream) => Talk::of(http2::talk(self.gateway.address, stream).await?),
        };
        if case.cut() {
            until(&case.lesson, || self.has_ended()).await;
            self.recording.forget_cut().await;
        }
        // An end may overtake the record of why it came.
        if case.expect.iter().any(|expect| expect.unanswered) {
            until(&case.lesson, || {
                self.records("decision").1.len() >= case.records()
            })
            .await;
        }
        let found = self.found(talk).await?;
        judge::judge(case, sent, &found)
    }

    /// A request that nothing is wrong with, over a fresh connection.
    async fn control(&mut self) -> Result<(), String> {
        let answer = self.gateway.raw(client::CONTROL.as_bytes()).await;
        if !answer.starts_with("HTTP/1.1 200 ") {
            return Err(format!("the control got {answer:?}"));
        }
        let Found {
            requests, records, ..
        } = self.found(Talk::default()).await?;
        match (&requests[..], &records[..]) {
            ([], []) => Ok(()),
            more => Err(format!("it left more behind than it showed: {more:?}")),
        }
    }

    /// Whether the request that is on record as permitted has its outcome there.
    fn has_ended(&self) -> bool {
        let (permits, ends) = (self.records("decision").1, self.records("outcome").1);
        ends.iter()
            .any(|end| permits.iter().any(|permit| permit["id"] == end["id"]))
    }

    /// The records of a kind since the last look, but for controls' decisions, and how long the log is now.
    fn records(&self, kind: &str) -> (usize, Vec<Value>) {
        let text = std::fs::read_to_string(self.gateway.file("audit.jsonl")).unwrap();
        // The last line may be half written.
        let end = text.rfind('\n').map_or(0, |at| at + 1);
        let records = portcullis::audit::segment::records(&text[self.read..end])
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|record: &Value| {
                record["kind"] == kind && record["request"]["path"] != client::CONTROL_PATH
            });
        (end, records.collect())
    }

    /// What has come to the upstream and on record since the last look, but for controls.
    async fn found(&mut self, talk: Talk) -> Result<Found, String> {
        let requests = self.recording.take().await?;
        let (read, records) = self.records("decision");
        self.read = read;
        Ok(Found {
            talk,
            requests,
            records,
        })
    }
}

impl Suite {
    async fn gateway(&self, recording: &Recording) -> Gateway {
        let usual = Setup::default();
        let given = |key: &str| self.setup.get(key).map(String::as_str);
        let control = format!(
            "version: 1\npolicies: [{{ id: control, who: anonymous, do: GET {} }}]\n",
            client::CONTROL_PATH
        );
        let setup = Setup {
            policies: given("policies").unwrap_or(usual.policies),
            listener: given("listener").unwrap_or(usual.listener),
            route: given("route").unwrap_or(usual.route),
            upstream: given("upstream").unwrap_or(usual.upstream),
            provider: given("provider").unwrap_or(usual.provider),
            more: given("more").unwrap_or(usual.more),
            // each refusal has its record, however fast they come
            audit: ", refusals_per_second: 1000000, fields: [{ fields: body/**, as: shown }]",
            policy_files: ", control.yaml",
            addresses: &[format!("http://{}", recording.address)],
            files: &[("control.yaml", control)],
        };
        setup.start().await
    }
}
