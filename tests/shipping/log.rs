//! A log as the audit writer leaves it, written by hand: headers, records, rotation by name.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

/// A log in a folder of its own.
pub(crate) struct Log {
    _folder: TempDir,
    pub(crate) path: PathBuf,
    file: File,
    /// The number of the newest record.
    pub(crate) seq: u64,
    /// The number of the current file's first record.
    first: u64,
}

impl Log {
    pub(crate) fn new() -> Log {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("audit.jsonl");
        let file = append(&path);
        let mut log = Log {
            _folder: folder,
            path,
            file,
            seq: 0,
            first: 1,
        };
        log.header();
        log
    }

    /// So many denials.
    pub(crate) fn denials(&mut self, count: u64) {
        for _ in 0..count {
            self.denial("/accounts/42", "");
        }
    }

    pub(crate) fn denial(&mut self, path: &str, more: &str) {
        let id = self.id(self.seq + 1);
        let path = serde_json::to_string(path).unwrap();
        self.record(
            "decision",
            &format!(
                r#""id":"{id}","at":"2026-11-21T09:00:00.000010Z","policy_set":"ab","decision":"deny","reason":"no_policy","client":"10.0.0.1:4711","request":{{"method":"GET","host":"api.example","path":{path}}},{more}"stages_us":{{"normalise":1,"identify":2,"match":3,"inspect":4,"decide":5}}"#
            ),
        );
    }

    /// A permit; its number is given back.
    pub(crate) fn permit(&mut self, more: &str) -> u64 {
        let id = self.id(self.seq + 1);
        self.record(
            "decision",
            &format!(
                r#""id":"{id}","at":"2026-11-21T09:00:00.000010Z","policy_set":"ab","decision":"permit","policies":["read"],"principal":{{"provider":"corp","agent":"spiffe://corp/agent/7","user":"ann","session":"s1"}},"client":"10.0.0.1:4711","route":"api","upstream":"backend","request":{{"method":"GET","host":"api.example","path":"/accounts/42","template":"/accounts/{{account}}"}},{more}"stages_us":{{"normalise":1,"identify":2,"match":3,"inspect":4,"decide":5}}"#
            ),
        );
        self.seq
    }

    /// The outcome of the permit with this number.
    pub(crate) fn outcome(&mut self, permit: u64, end: &str, more: &str) {
        let id = self.id(permit);
        self.record(
            "outcome",
            &format!(
                r#""id":"{id}","at":"2026-11-21T09:00:01.000000Z","end":"{end}"{more},"bytes":12,"request_bytes":3"#
            ),
        );
    }

    pub(crate) fn event(&mut self, event: &str) {
        self.record(
            "event",
            &format!(r#""at":"2026-11-21T09:00:00.000000Z",{event}"#),
        );
    }

    pub(crate) fn record(&mut self, kind: &str, fields: &str) {
        self.seq += 1;
        let (seq, prev) = (self.seq, "0".repeat(64));
        self.raw(&format!(
            "{{\"v\":1,\"kind\":\"{kind}\",\"node\":\"n1\",\"seq\":{seq},\"prev\":\"{prev}\",{fields}}}\n"
        ));
    }

    /// These bytes, as they are.
    pub(crate) fn raw(&mut self, text: &str) {
        self.file.write_all(text.as_bytes()).unwrap();
    }

    /// Cuts bytes off the end.
    pub(crate) fn cut(&mut self, bytes: u64) {
        let len = self.file.metadata().unwrap().len();
        self.file.set_len(len - bytes).unwrap();
    }

    /// Closes the file and begins another, as the writer does: at no moment is there no file.
    pub(crate) fn rotate(&mut self) -> PathBuf {
        let closed = self
            .path
            .with_file_name(format!("audit.jsonl.{:016}", self.first));
        let staged = self.path.with_file_name("audit.jsonl.new");
        let file = append(&staged);
        fs::hard_link(&self.path, &closed).unwrap();
        fs::rename(&staged, &self.path).unwrap();
        self.file = file;
        self.first = self.seq + 1;
        self.header();
        closed
    }

    /// Moves the file to a name that tells nothing, as logrotate does, and begins another.
    pub(crate) fn moved(&mut self) -> PathBuf {
        let moved = self.path.with_file_name("audit.jsonl.1");
        fs::rename(&self.path, &moved).unwrap();
        self.file = append(&self.path);
        self.first = self.seq + 1;
        self.header();
        moved
    }

    /// Removes the file, and begins anew as another log.
    pub(crate) fn begin_anew(&mut self) {
        fs::remove_file(&self.path).unwrap();
        self.file = append(&self.path);
        (self.seq, self.first) = (0, 1);
        self.header();
    }

    fn header(&mut self) {
        let (seq, prev) = (self.seq, "0".repeat(64));
        self.raw(&format!(
            "{{\"v\":1,\"kind\":\"segment\",\"node\":\"n1\",\"seq\":{seq},\"size\":{seq},\"prev\":\"{prev}\",\"tree\":[]}}\n"
        ));
    }

    fn id(&self, seq: u64) -> String {
        format!("018f0000-0000-7000-8000-{seq:012}")
    }

    /// What stands beside the log about what was shipped.
    pub(crate) fn cursor(&self) -> PathBuf {
        self.path.with_file_name("audit.jsonl.shipped")
    }
}

/// Compresses a closed file.
pub(crate) fn gzip(closed: &Path) {
    let mut name = closed.as_os_str().to_owned();
    name.push(".gz");
    let mut encoder = GzEncoder::new(File::create(name).unwrap(), Compression::fast());
    encoder.write_all(&fs::read(closed).unwrap()).unwrap();
    encoder.finish().unwrap();
    fs::remove_file(closed).unwrap();
}

fn append(path: &Path) -> File {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap()
}
