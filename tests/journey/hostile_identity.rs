//! The adversarial suite of identity: `tests/hostile/{tokens,binding,certificates}.yaml`, each case a lesson.
//!
//! Everything goes over real sockets and real TLS against a running gateway. Of each request it is asserted what the
//! client got (status, reason, detail, challenge), what the upstream got (of a refused one: not a byte), and what is
//! on record. Attacks that need more than a few requests stand in [`sequences`] and [`sessions`].

mod ask;
mod authorities;
mod data;
mod sequences;
mod sessions;
mod signing;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::Full;
use serde_json::{Map, Value};
use tokio::net::TcpStream;

use self::ask::Back;
use self::authorities::Client;
use self::data::{Case, Expect, Step, Suite};
use self::signing::{Made, latin1};
use self::world::World;
use crate::harness::of_kind;

const FILES: [&str; 3] = ["tokens.yaml", "binding.yaml", "certificates.yaml"];

#[tokio::test]
async fn tokens() {
    run("tokens.yaml").await;
}

#[tokio::test]
async fn bindings() {
    run("binding.yaml").await;
}

#[tokio::test]
async fn certificates() {
    run("certificates.yaml").await;
}

#[test]
fn each_lesson_is_told_once() {
    let mut told = BTreeSet::new();
    let suites = FILES.map(Suite::read);
    for case in suites.iter().flat_map(|suite| &suite.cases) {
        assert!(told.insert(case.lesson.clone()), "twice: {}", case.lesson);
        assert!(
            case.lesson.ends_with('.') && case.lesson.len() > 16,
            "no sentence: {}",
            case.lesson
        );
    }
    assert!(told.len() >= 110, "{}", told.len());
}

/// Runs a file: all of its cases, then what is on record of them.
#[expect(clippy::print_stdout, reason = "what was tried, under --nocapture")]
async fn run(name: &str) {
    let suite = Suite::read(name);
    let mut run = Run {
        world: World::start().await,
        asked: Vec::new(),
        secrets: Vec::new(),
        wrong: Vec::new(),
    };
    for (number, case) in suite.cases.iter().enumerate() {
        run.case(number, case).await;
    }
    let controls = suite.cases.iter().filter(|case| case.is_control()).count();
    let all = suite.cases.len();
    println!(
        "{}: {all} cases, {} refused, {controls} permitted",
        suite.file,
        all - controls
    );
    assert!(controls > 0, "a gateway that refuses all would pass");
    run.end().await;
}

struct Run {
    world: World,
    asked: Vec<Asked>,
    /// Signatures that may stand nowhere.
    secrets: Vec<String>,
    wrong: Vec<String>,
}

/// A request that was answered, to be compared with the record.
struct Asked {
    lesson: String,
    path: String,
    expect: Expect,
    id: Option<String>,
}

impl Run {
    async fn case(&mut self, number: usize, case: &Case) {
        let token = self.world.token(&case.token);
        let leaf = case.leaf.as_ref().map(|l| self.world.authorities.leaf(l));
        if token.signature.len() > 40 {
            self.secrets.push(token.signature.clone());
        }
        for (place, step) in case.steps.iter().enumerate() {
            let versions: &[&str] = match (&step.tls, &**step.via.as_ref().unwrap()) {
                (_, "plain") if speaks_http2(step) => &["http1", "http2"],
                (_, "plain") => &["http1"],
                (Some(only), _) => &[only],
                (None, _) => &["1.3", "1.2"],
            };
            for version in versions {
                for time in 0..step.times {
                    let id = format!("{number}-{place}-{version}-{time}");
                    let asking = Asking {
                        step,
                        token: &token,
                        leaf: leaf.as_ref(),
                        version,
                        id: &id,
                    };
                    if let Err(why) = self.step(case, &asking).await {
                        let lesson = &case.lesson;
                        self.wrong
                            .push(format!("{lesson}\n    step {place}, {version}: {why}"));
                    }
                }
            }
        }
    }

    async fn step(&mut self, case: &Case, asking: &Asking<'_>) -> Result<(), String> {
        let before = self.world.upstream.bytes.load(Ordering::SeqCst);
        let back = asking.send(&self.world).await;
        let expect = &asking.step.expect;
        let id = judge(expect, &back)?;
        let grown = self.world.upstream.bytes.load(Ordering::SeqCst) - before;
        if (grown > 0) != expect.permit.is_some() {
            return Err(format!("the upstream got {grown} bytes"));
        }
        let (_, target) = asking.step.request.split_once(' ').unwrap();
        let path = asking.fill(target).split('?').next().unwrap().to_owned();
        self.asked.push(Asked {
            lesson: case.lesson.clone(),
            path,
            expect: expect.clone(),
            id,
        });
        if expect.permit.is_none() {
            self.control(asking.id).await?;
        }
        Ok(())
    }

    /// Whoever is good is still served.
    async fn control(&mut self, id: &str) -> Result<(), String> {
        let tcp = TcpStream::connect(self.world.address("plain")).await;
        let good = self.world.good();
        let head = format!(
            "GET /seven/control-{id} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {good}\r\nconnection: close\r\n\r\n"
        );
        match ask::http1(tcp.unwrap(), head.as_bytes()).await {
            Back::Answer(answer) if answer.status == 200 => Ok(()),
            back => Err(format!("afterwards nobody is served: {back:?}")),
        }
    }

    async fn end(mut self) {
        let heads = self.world.upstream.heads.lock().unwrap().clone();
        let (records, log) = self.world.stop().await;
        // What was too ambiguous to be read has no path on record, but the id that its caller was told.
        let mut decisions: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
        for decision in of_kind(&records, "decision") {
            let path = decision["request"]["path"].as_str();
            let key = path.or(decision["id"].as_str()).unwrap();
            decisions.entry(key).or_default().push(decision);
        }
        for asked in &self.asked {
            let named = |key: &str| decisions.get(key);
            let found = named(&asked.path).or_else(|| named(asked.id.as_deref()?));
            let found = found.map_or(&[][..], Vec::as_slice);
            let got = heads.iter().filter(|head| is_of(head, &asked.path)).count();
            let permitted = usize::from(asked.expect.permit.is_some());
            let problem = match recorded(asked, found) {
                Err(why) => Some(why),
                Ok(()) if got != permitted => Some(format!("the upstream got {got} requests")),
                Ok(()) => None,
            };
            if let Some(why) = problem {
                self.wrong
                    .push(format!("{}\n    on record: {why}", asked.lesson));
            }
        }
        if heads.iter().any(|head| head.contains("\r\nauthorization:")) {
            self.wrong.push("a credential was forwarded".into());
        }
        let trapped = self.world.trapped.load(Ordering::SeqCst);
        if trapped > 0 {
            self.wrong
                .push(format!("{trapped} connections to where tokens point"));
        }
        let fetched = self.world.fetched.load(Ordering::SeqCst);
        if fetched > 3 {
            self.wrong
                .push(format!("keys were fetched {fetched} times"));
        }
        if let Some(secret) = self.secrets.iter().find(|secret| log.contains(&***secret)) {
            self.wrong.push(format!("on record stands {secret}"));
        }
        assert!(self.wrong.is_empty(), "\n{}", self.wrong.join("\n"));
    }
}

/// One request of a step.
struct Asking<'a> {
    step: &'a Step,
    token: &'a Made,
    leaf: Option<&'a Client>,
    version: &'a str,
    id: &'a str,
}

impl Asking<'_> {
    fn fill(&self, text: &str) -> String {
        text.replace("{case}", self.id)
            .replace("{token}", &self.token.text())
            .replace("{head}", &self.token.head)
            .replace("{body}", &self.token.body)
            .replace("{sig}", &self.token.signature)
    }

    async fn send(&self, world: &World) -> Back {
        let via = self.step.via.as_deref().unwrap();
        let tcp = TcpStream::connect(world.address(via)).await.unwrap();
        let send = self.step.send.as_ref().unwrap();
        let good = world.good();
        let lines = send
            .iter()
            .map(|line| self.fill(line).replace("{good}", &good));
        if self.version == "http2" {
            return ask::http2(tcp, self.http2(lines)).await;
        }
        let mut head = format!(
            "{} HTTP/1.1\r\nhost: {}\r\n",
            self.fill(&self.step.request),
            self.step.host
        );
        lines.for_each(|line| head += &format!("{line}\r\n"));
        let body = self.fill(&self.step.body);
        if !body.is_empty() {
            head += &format!("content-length: {}\r\n", body.len());
        }
        let bytes = latin1(&format!("{head}connection: close\r\n\r\n{body}"));
        if via == "plain" {
            return ask::http1(tcp, &bytes).await;
        }
        let named = |name: &String| &world.authorities.named[&**name];
        let own = self.step.certificate.as_ref().map(named).or(self.leaf);
        let config = world.authorities.client(own, self.version);
        match ask::tls(tcp, config, &self.step.name).await {
            Ok(stream) => ask::http1(stream, &bytes).await,
            Err(alert) => Back::Closed(alert),
        }
    }

    fn http2(&self, lines: impl Iterator<Item = String>) -> http::Request<Full<Bytes>> {
        let request = self.fill(&self.step.request);
        let (method, target) = request.split_once(' ').unwrap();
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("http://{}{target}", self.step.host));
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            request = request.header(name, latin1(value));
        }
        let body = self.fill(&self.step.body);
        request.body(Full::from(body)).unwrap()
    }
}

/// Whether a client library would send it: lines that are a name, a colon, a space and a value.
fn speaks_http2(step: &Step) -> bool {
    step.expect.closed.is_none()
        && step.send.as_ref().unwrap().iter().all(|line| {
            let (name, value) = line.split_once(':').unwrap_or(("", ""));
            !name.ends_with(' ') && value.strip_prefix(' ') == Some(value.trim_matches([' ', '\t']))
        })
}

/// Whether the client got what it should; the decision's id.
fn judge(expect: &Expect, back: &Back) -> Result<Option<String>, String> {
    let answer = match (back, &expect.closed) {
        (Back::Closed(how), Some(wanted)) if how == wanted => return Ok(None),
        (Back::Answer(answer), Some(wanted))
            if answer.status.to_string() == *wanted && answer.problem("reason").is_none() =>
        {
            return Ok(None);
        }
        (back, Some(wanted)) => return Err(format!("expected {wanted}, got {back:?}")),
        (Back::Closed(how), None) => return Err(format!("closed: {how}")),
        (Back::Answer(answer), None) => answer,
    };
    let Some(reason) = &expect.deny else {
        return match answer.status {
            200 if answer.body == "ok" => Ok(None),
            _ => Err(format!("not permitted: {answer:?}")),
        };
    };
    let status = match (&**reason, expect.detail.as_deref()) {
        ("ambiguous_request", Some("host_mismatch")) => 421,
        ("ambiguous_request", _) => 400,
        ("no_credentials" | "invalid_token", _) => 401,
        ("no_policy" | "forbidden", _) => 403,
        ("unavailable", _) => 503,
        (unknown, _) => panic!("no reason {unknown}"),
    };
    let challenge = match &**reason {
        "invalid_token" => Some(r#"Bearer realm="portcullis", error="invalid_token""#),
        "no_credentials" => Some(r#"Bearer realm="portcullis""#),
        _ => None,
    };
    if answer.status != status
        || answer.problem("reason").as_ref() != Some(reason)
        || answer.problem("detail") != expect.detail
        || answer.challenge.as_deref() != challenge
    {
        return Err(format!("got {answer:?}"));
    }
    Ok(answer.problem("decision_id"))
}

/// Whether the records of a path say what happened.
fn recorded(asked: &Asked, found: &[&Value]) -> Result<(), String> {
    let expect = &asked.expect;
    if expect.closed.is_some() {
        return match found {
            [] => Ok(()),
            _ => Err(format!("a decision about no request: {found:?}")),
        };
    }
    let [decision] = found else {
        return Err(format!("{} decisions", found.len()));
    };
    let principal = &decision["principal"];
    let fits = match (&expect.permit, &expect.deny) {
        (Some(wanted), _) => decision["decision"] == "permit" && is(principal, wanted),
        (None, reason) => {
            let early = matches!(
                reason.as_deref(),
                Some("invalid_token" | "no_credentials" | "ambiguous_request")
            );
            decision["decision"] == "deny"
                && decision["reason"].as_str() == reason.as_deref()
                && decision["detail"].as_str() == expect.detail.as_deref()
                && decision["id"].as_str() == asked.id.as_deref()
                && !(early && principal.is_object())
        }
    };
    match fits {
        true => Ok(()),
        false => Err(decision.to_string()),
    }
}

fn is(principal: &Value, wanted: &Map<String, Value>) -> bool {
    wanted
        .iter()
        .all(|(name, value)| principal[name.as_str()] == *value)
}

fn is_of(head: &str, path: &str) -> bool {
    let target = head.split(' ').nth(1).unwrap_or("");
    target.split('?').next() == Some(path)
}
