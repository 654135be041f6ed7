//! A small log, and everything that can be done to it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::*;
use crate::audit::encode::hex_of;
use crate::audit::note::Signer;
use crate::audit::segment::Segment;
use crate::audit::tree::{Hash, ZERO, leaf};

mod begins;
mod bytes;
mod lines;
mod whole;

/// A record's line without its line feed, as the writer spells it.
fn record(seq: u64, prev: &Hash, text: &str) -> String {
    record_of("n1", seq, prev, text)
}

fn record_of(node: &str, seq: u64, prev: &Hash, text: &str) -> String {
    let node = serde_json::to_string(node).unwrap();
    let kind = ["event", "decision", "outcome"][(seq % 3) as usize];
    format!(
        r#"{{"v":1,"kind":"{kind}","node":{node},"seq":{seq},"prev":"{}","at":"2026-11-22T09:00:00.{seq:06}Z","text":"{text}"}}"#,
        hex_of(prev)
    )
}

/// The files of a log as lines, made record by record.
#[derive(Clone)]
struct Log {
    state: Segment,
    /// The lines of each file, without line feeds; the first is its header.
    files: Vec<Vec<String>>,
    checkpoints: String,
}

fn signer() -> Signer {
    static SIGNER: std::sync::OnceLock<Signer> = std::sync::OnceLock::new();
    let make = || Signer::generate("example.com/portcullis/n1").unwrap();
    Signer::parse(&SIGNER.get_or_init(make).to_text()).unwrap()
}

impl Log {
    fn new() -> Log {
        let state = Segment::first("n1");
        Log {
            files: vec![vec![state.line().unwrap()]],
            state,
            checkpoints: String::new(),
        }
    }

    fn append(&mut self, text: &str) {
        let line = record_of(&self.state.node, self.state.seq + 1, &self.state.prev, text);
        self.state.prev = leaf(line.as_bytes());
        self.state.tree.push(self.state.prev);
        self.state.seq += 1;
        self.files.last_mut().unwrap().push(line);
    }

    /// Goes on as a process that calls the node so.
    fn name(&mut self, node: &str) {
        node.clone_into(&mut self.state.node);
    }

    fn rotate(&mut self) {
        self.files.push(vec![self.state.line().unwrap()]);
    }

    fn sign(&mut self) {
        let note = signer().sign(self.state.tree.size(), self.state.tree.root());
        self.checkpoints.push_str(&note);
        self.checkpoints.push('\n');
    }

    /// Three files of 5, 4 and 5 records, and checkpoints of 3, 5, 9, 12 and 14.
    fn small() -> Log {
        Log::of(|_| "what happened".to_owned())
    }

    /// The same with these texts.
    fn of(text: impl Fn(u64) -> String) -> Log {
        Log::with(text, |_| "n1")
    }

    /// The same where the node has these names, also in the headers before these records.
    fn named<'n>(name: impl Fn(u64) -> &'n str) -> Log {
        Log::with(|_| "what happened".to_owned(), name)
    }

    fn with<'n>(text: impl Fn(u64) -> String, name: impl Fn(u64) -> &'n str) -> Log {
        let mut log = Log::new();
        for seq in 1..=14 {
            log.name(name(seq));
            log.append(&text(seq));
            if [3, 5, 9, 12, 14].contains(&seq) {
                log.sign();
            }
            if [5, 9].contains(&seq) {
                log.name(name(seq + 1));
                log.rotate();
            }
        }
        log
    }

    /// The first line of a file: its header is line 1.
    fn at(seq: u64) -> (usize, u64) {
        match seq {
            ..=5 => (0, seq + 1),
            6..=9 => (1, seq - 4),
            _ => (2, seq - 8),
        }
    }

    fn lines(&self) -> Vec<Vec<u8>> {
        let text = |lines: &Vec<String>| {
            lines
                .iter()
                .map(|line| format!("{line}\n"))
                .collect::<String>()
        };
        self.files
            .iter()
            .map(|lines| text(lines).into_bytes())
            .collect()
    }
}

/// Files on disk, as a log's: the second is compressed.
struct Folder {
    folder: tempfile::TempDir,
    key: String,
}

const NAMES: [&str; 3] = [
    "audit.jsonl.0000000000000001",
    "audit.jsonl.0000000000000006.gz",
    "audit.jsonl",
];

impl Folder {
    fn new() -> Folder {
        Folder {
            folder: tempfile::tempdir().unwrap(),
            key: signer().verifier().to_string(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn put(&self, contents: &[Vec<u8>], checkpoints: &[u8]) {
        for (name, content) in NAMES.iter().zip(contents) {
            match name.ends_with(".gz") {
                true => self.write(name, &gzip(content)),
                false => self.write(name, content),
            }
        }
        self.write("audit.checkpoints", checkpoints);
    }

    fn verify(&self) -> Report {
        self.verify_with(true)
    }

    fn verify_with(&self, signed: bool) -> Report {
        let files = files_of(&self.path("audit.jsonl")).unwrap();
        self.verify_files(&files, signed)
    }

    fn verify_files(&self, files: &[PathBuf], signed: bool) -> Report {
        let key = Verifier::parse(&self.key).unwrap();
        let checkpoints = self.path("audit.checkpoints");
        let trusted = Trusted {
            key: &key,
            checkpoints: &checkpoints,
        };
        verify(files, signed.then_some(trusted), &mut |_| {}).unwrap()
    }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// `kind file:line records`, one for each finding.
fn told(report: &Report) -> Vec<String> {
    let tell = |finding: &Finding| {
        let file = finding
            .file
            .as_deref()
            .and_then(Path::file_name)
            .unwrap_or_default();
        let file = file.to_string_lossy();
        let short = match NAMES.iter().position(|name| *name == file) {
            Some(index) => format!("f{}", index + 1),
            None => file.into_owned(),
        };
        let records = match finding.records {
            Some((first, last)) => format!(" {first}-{last}"),
            None => String::new(),
        };
        format!("{} {short}:{}{records}", finding.kind.code(), finding.line)
    };
    report.findings.iter().map(tell).collect()
}

/// Puts what was done to the small log and compares what is told of it.
#[track_caller]
fn check(what: &str, contents: &[Vec<u8>], checkpoints: &str, expected: &[&str]) {
    let folder = Folder::new();
    folder.put(contents, checkpoints.as_bytes());
    let report = folder.verify();
    assert_eq!(told(&report), expected, "{what}: {:#?}", report.findings);
}
