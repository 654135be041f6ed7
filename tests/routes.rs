//! The operations of two large real APIs as policies: each admits its own calls, and no near miss.
//!
//! What is expected comes from a second matcher, which compares a path with every template one by one: slow,
//! and too simple to be wrong in the way an index is. `cargo test --test routes -- --nocapture` also prints how
//! long the set takes to load, and what it holds in memory.

#![expect(
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says what it passed over"
)]

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Instant;

use http::HeaderMap;
use jiff::Timestamp;
use portcullis::policy::{
    Body, Canonical, Facts, PolicySet, Principal, Reason, SourceFile, Verdict,
};

#[test]
fn every_operation_admits_its_own_calls_and_no_near_miss() {
    let mut operations = Vec::new();
    for file in ["github.txt", "stripe.txt"] {
        let Some(text) = vectors(file) else {
            println!("passed over: no vectors at $PORTCULLIS_VECTORS or ../shared/vectors");
            return;
        };
        operations.extend(text.lines().map(Operation::parse));
    }
    assert_eq!(operations.len(), 1_691);
    let set = load(&operations);

    let mut found = Tally::default();
    for (at, operation) in operations.iter().enumerate() {
        let own = operation.path();
        let expected = chosen(&operations, &operation.method, &own);
        assert!(
            expected.is_some_and(|first| first <= at),
            "{operation:?} does not match its own path"
        );
        check(&set, &operations, &operation.method, &own, &mut found);
        for (method, path) in operation.near_misses() {
            check(&set, &operations, method, &path, &mut found);
        }
    }
    println!(
        "{} operations, {} calls: {} permitted, {} denied",
        operations.len(),
        found.permitted + found.denied,
        found.permitted,
        found.denied
    );
    // Either count near nothing would mean that the near misses are none.
    assert!(found.permitted > operations.len());
    assert!(found.denied > operations.len());
}

/// Asserts that the set decides as the plain comparison says.
fn check(set: &PolicySet, operations: &[Operation], method: &str, path: &str, found: &mut Tally) {
    let expected = chosen(operations, method, path);
    let decided = decide(set, method, path);
    assert_eq!(
        decided,
        expected.map(id).ok_or(Reason::NoPolicy),
        "{method} {path}"
    );
    match decided {
        Ok(_) => found.permitted += 1,
        Err(_) => found.denied += 1,
    }
}

#[derive(Default)]
struct Tally {
    permitted: usize,
    denied: usize,
}

#[derive(Debug)]
struct Operation {
    method: String,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone)]
enum Segment {
    Literal(String),
    Parameter,
    /// Two parameters around a text, such as `{base}...{head}`.
    Around(String),
}

impl Operation {
    fn parse(line: &str) -> Operation {
        let (method, template) = line.split_once(' ').unwrap();
        let segments = template.split('/').skip(1).filter(|s| !s.is_empty());
        Operation {
            method: method.to_owned(),
            segments: segments.map(Segment::parse).collect(),
        }
    }

    /// As a policy writes it.
    fn template(&self) -> String {
        let template = |(at, segment): (usize, &Segment)| match segment {
            Segment::Literal(text) => text.clone(),
            Segment::Parameter => format!("{{p{at}}}"),
            Segment::Around(text) => {
                let escaped = text.replace('.', "[.]");
                format!("{{p{at}:.+{escaped}.+}}")
            }
        };
        let path = join(self.segments.iter().enumerate().map(template));
        format!("{} {path}", self.method)
    }

    /// A path of this operation, its parameters filled in.
    fn path(&self) -> String {
        join(self.filled())
    }

    fn filled(&self) -> impl Iterator<Item = String> {
        let value = |(at, segment): (usize, &Segment)| match segment {
            Segment::Literal(text) => text.clone(),
            Segment::Parameter => format!("v{at}-x.1"),
            Segment::Around(text) => format!("a{text}b"),
        };
        self.segments.iter().enumerate().map(value)
    }

    fn matches(&self, method: &str, path: &[&str]) -> bool {
        self.method == method
            && self.segments.len() == path.len()
            && self
                .segments
                .iter()
                .zip(path)
                .all(|(own, given)| match own {
                    Segment::Literal(text) => text == given,
                    Segment::Parameter => true,
                    // somewhere within, with something on either side
                    Segment::Around(text) => given
                        .get(1..given.len().saturating_sub(1))
                        .is_some_and(|within| within.contains(text)),
                })
    }

    /// Calls that differ from this one in one thing.
    fn near_misses(&self) -> Vec<(&str, String)> {
        let own = self.path();
        let method = &*self.method;
        let mut calls: Vec<_> = METHODS
            .iter()
            .filter(|other| **other != method)
            .map(|other| (*other, own.clone()))
            .collect();
        calls.push((method, format!("{}/more", own.trim_end_matches('/'))));
        if own != "/" {
            calls.push((method, format!("{own}/")));
        }
        if !self.segments.is_empty() {
            calls.push((method, join(self.filled().take(self.segments.len() - 1))));
        }
        for (at, segment) in self.segments.iter().enumerate() {
            let Segment::Literal(literal) = segment else {
                let around = matches!(segment, Segment::Around(_));
                let changed = around.then(|| self.with(at, "a..b"));
                calls.extend(changed.map(|path| (method, path)));
                continue;
            };
            let changed = [
                format!("{literal}s"),
                literal.to_ascii_uppercase(),
                "v".to_owned(),
                literal.get(1..).unwrap_or_default().to_owned() + "z",
            ];
            calls.extend(changed.map(|text| (method, self.with(at, &text))));
        }
        calls
    }

    /// The filled-in path with one segment replaced.
    fn with(&self, at: usize, text: &str) -> String {
        let put = |(i, own): (usize, String)| if i == at { text.to_owned() } else { own };
        join(self.filled().enumerate().map(put))
    }
}

impl Segment {
    fn parse(text: &str) -> Segment {
        match (text.find('}'), text.rfind('{')) {
            (None, None) => Segment::Literal(text.to_owned()),
            (Some(end), Some(start)) if end < start => {
                Segment::Around(text[end + 1..start].to_owned())
            }
            _ => Segment::Parameter,
        }
    }
}

const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];

fn join(segments: impl Iterator<Item = String>) -> String {
    let joined = segments.fold(String::new(), |path, segment| path + "/" + &segment);
    if joined.is_empty() {
        "/".to_owned()
    } else {
        joined
    }
}

/// The first of the operations that a call belongs to. Their ids are in their order, and of several permits that
/// hold the first by id is chosen.
fn chosen(operations: &[Operation], method: &str, path: &str) -> Option<usize> {
    let rest = path.strip_prefix('/')?;
    let segments: Vec<&str> = match rest {
        "" => Vec::new(),
        // a trailing slash, which no template here has
        _ if rest.ends_with('/') => return None,
        _ => rest.split('/').collect(),
    };
    operations.iter().position(|o| o.matches(method, &segments))
}

fn id(at: usize) -> String {
    format!("operation.{at:04}")
}

fn load(operations: &[Operation]) -> PolicySet {
    let mut text = "version: 1\npolicies:\n".to_owned();
    for (at, operation) in operations.iter().enumerate() {
        let (id, operation) = (id(at), operation.template());
        writeln!(
            text,
            "  - {{ id: {id}, who: any, do: \"{operation}\", query: any, body: any }}"
        )
        .unwrap();
    }
    let file = SourceFile {
        name: "routes.yaml".into(),
        text,
    };
    let (before, started) = (resident(), Instant::now());
    let set = PolicySet::load(&[file]).unwrap();
    println!(
        "loaded {} policies in {:?}, {} KiB more resident",
        set.len(),
        started.elapsed(),
        resident().saturating_sub(before)
    );
    set
}

fn decide(set: &PolicySet, method: &str, path: &str) -> Result<String, Reason> {
    let request = Canonical::new(method, "api.example.com", path, None).unwrap();
    let principal = Principal::default();
    let headers = HeaderMap::new();
    let facts = Facts {
        request: &request,
        headers: &headers,
        principal: Some(&principal),
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        has_body: false,
        websocket: false,
        now: Timestamp::UNIX_EPOCH,
    };
    match set.decide(&facts, Body::Absent).verdict {
        Verdict::Permit(permit) => Ok(permit.policy().to_string()),
        Verdict::Deny(denial) => Err(denial.reason),
    }
}

fn vectors(name: &str) -> Option<String> {
    let folder = std::env::var_os("PORTCULLIS_VECTORS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/vectors")),
        PathBuf::from,
    );
    std::fs::read_to_string(folder.join("routes").join(name)).ok()
}

/// KiB; 0 where the system doesn't say.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
