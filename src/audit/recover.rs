//! What the last run left behind: decisions without outcome, half a line, and where the log stands.
//!
//! Files are read from the newest back to the one that holds the last `start` event, each of them forwards
//! and as a stream. Before a `start` nothing is open, because each start closes what it found. Where the log stands,
//! number, hash and tree, follows from the newest file that holds anything: from its first line and its records.
//!
//! Deliberately absent: a judgement. Lines that are no records and links that don't hold are counted and told; what
//! they mean is `portcullis audit verify`'s to say.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;
use uuid::Uuid;

use super::AuditError;
use super::encode;
use super::files;
use super::segment::{Segment, closed_as, closed_files, suffixed};
use super::sink::Current;
use super::tree::{self, Hash, Tree, ZERO};

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    /// Where the log stands.
    pub(super) at: Segment,
    /// What the newest file is.
    pub(super) current: Current,
    /// Permits without an outcome, in the order in which they were given.
    pub(super) open: Vec<Uuid>,
    /// The newest file's end that is no whole line.
    pub(super) tail: Option<Tail>,
    /// Lines that are no records.
    pub(super) unreadable: u64,
    /// Records that don't carry the hash of the one before.
    pub(super) unlinked: u64,
    /// The root of the tree when it had the size that was asked for; `None` where no file that was read tells.
    pub(super) root: Option<Hash>,
}

/// An end without line feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// Half a line of so many bytes.
    Torn(u64),
    /// A whole record that lacks only its line feed.
    Unended,
}

impl Found {
    /// A log of which there is nothing yet.
    pub(super) fn nothing(node: &str) -> Found {
        Found {
            at: Segment::first(node),
            current: Current::Empty,
            open: Vec::new(),
            tail: None,
            unreadable: 0,
            unlinked: 0,
            root: None,
        }
    }
}

/// Reads back from the file at `path` and its closed predecessors. `asked` is the size of the tree whose root is
/// wanted: that of the last checkpoint.
///
/// # Errors
/// The current file can't be read. An older one that can't is told among what is unreadable, and what is before it is left
/// alone: what it would have closed isn't known.
pub(super) fn scan(path: &Path, node: &str, asked: Option<u64>) -> Result<Found, AuditError> {
    let error = |source| AuditError::Recover {
        path: path.to_owned(),
        source,
    };
    let mut found = Found::nothing(node);
    let mut stands = false;
    let mut open = HashMap::new();
    let mut closed = HashSet::new();
    let older = predecessors(path).map_err(error)?;
    for (age, file) in std::iter::once(path.to_owned()).chain(older).enumerate() {
        let (mut scanned, read) = scan_file(&file, asked);
        if let Err(source) = read {
            if age == 0 {
                return Err(error(source));
            }
            tracing::error!(error = %source, file = %file.display(), "a closed file can't be read to its end");
            scanned.unreadable += 1;
            scanned.started = true;
        }
        if age == 0 {
            found.tail = scanned.tail.take();
            found.current = match (scanned.first.take(), scanned.lines) {
                (Some(first), _) => Current::Begun(first, scanned.began),
                (None, 0) => Current::Empty,
                (None, _) => Current::Foreign,
            };
        }
        if !stands && scanned.lines > 0 {
            stands = true;
            found.at = Segment {
                node: node.to_owned(),
                ..scanned.at
            };
            if matches!(found.current, Current::Foreign) {
                // its numbers go on; its records were never tied together
                (found.at.prev, found.at.tree) = (ZERO, Tree::default());
                scanned.unlinked = 0;
            }
        }
        found.unreadable += scanned.unreadable;
        found.unlinked += scanned.unlinked;
        found.root = found.root.or(scanned.root);
        // an outcome in a newer file closes a decision in this one
        open.extend(
            scanned
                .open
                .into_iter()
                .filter(|(id, _)| !closed.remove(id)),
        );
        closed.extend(scanned.closed);
        if scanned.started {
            break;
        }
    }
    let mut open: Vec<(Uuid, u64)> = open.into_iter().collect();
    open.sort_unstable_by_key(|(_, seq)| *seq);
    found.open = open.into_iter().map(|(id, _)| id).collect();
    Ok(found)
}

/// Keeps the log's last bytes, half a line, beside it: what it would have said is nobody's to guess.
pub(super) fn set_aside(log: &Path, bytes: u64) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600);
    let mut aside = options.open(suffixed(log, ".torn"))?;
    let mut file = File::open(log)?;
    let from = file.metadata()?.len().saturating_sub(bytes);
    file.seek(SeekFrom::Start(from))?;
    io::copy(&mut file, &mut aside)?;
    aside.write_all(b"\n")
}

/// The files before the current one, the newest first. Beside those that were closed here there may be some that an
/// external tool moved to names of its own, and told this process nothing: they begin as a log's files do.
fn predecessors(log: &Path) -> io::Result<Vec<PathBuf>> {
    let own = closed_files(log)?;
    let numbered = own.iter().filter_map(|file| {
        let (first, _) = closed_as(log, file)?;
        Some((
            first.checked_sub(1)?,
            true,
            SystemTime::UNIX_EPOCH,
            file.clone(),
        ))
    });
    let mut found: Vec<_> = numbered.collect();
    let folder = log.parent().filter(|folder| !folder.as_os_str().is_empty());
    let name = log.file_name().unwrap_or_default().as_encoded_bytes();
    for entry in folder.unwrap_or(Path::new(".")).read_dir()? {
        let entry = entry?;
        let (file, other) = (entry.path(), entry.file_name());
        let Some(rest) = other.as_encoded_bytes().strip_prefix(name) else {
            continue;
        };
        // as logrotate names them: `.1`, `-20261122`, either also with an end such as `.gz`
        let numbered = matches!(rest, [b'.' | b'-' | b'_', b'0'..=b'9', ..]);
        if !numbered || rest.ends_with(b".tmp") || closed_as(log, &file).is_some() {
            continue;
        }
        // not a pipe, which would be waited for; and not another gateway's, which writes to it
        let metadata = std::fs::metadata(&file).ok();
        let metadata = metadata.filter(|found| found.is_file());
        let free = |file: File| file.try_lock_shared().is_ok();
        if metadata.is_none() || !File::open(&file).is_ok_and(free) {
            continue;
        }
        if let (Some(metadata), Some(first)) = (metadata, first_line(&file)) {
            found.push((first.seq, false, metadata.modified()?, file));
        }
    }
    // of two that begin alike, such as a copy that somebody made, the one counts that was closed here or written last
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.dedup_by_key(|(seq, ..)| *seq);
    Ok(found.into_iter().map(|(.., file)| file).collect())
}

fn first_line(file: &Path) -> Option<Segment> {
    let mut line = Vec::new();
    read_line(&mut files::open(file).ok()?, &mut line).ok()?;
    Segment::parse(&line)
}

/// One file's part.
struct Scanned {
    /// Its first line, where that is one.
    first: Option<Segment>,
    /// Where the log stands after its last record.
    at: Segment,
    /// Lines, the first included.
    lines: u64,
    /// Permits since the last start that have no outcome in this file, with their numbers.
    open: HashMap<Uuid, u64>,
    /// Outcomes since the last start whose decision is in an older file.
    closed: HashSet<Uuid>,
    /// When the first record was written.
    began: Option<Timestamp>,
    started: bool,
    tail: Option<Tail>,
    unreadable: u64,
    unlinked: u64,
    root: Option<Hash>,
}

/// The few fields that matter here.
#[derive(serde::Deserialize)]
struct Peek<'a> {
    kind: &'a str,
    seq: u64,
    #[serde(default)]
    prev: Option<&'a str>,
    #[serde(default)]
    at: Option<&'a str>,
    #[serde(default)]
    id: Option<&'a str>,
    #[serde(default)]
    decision: Option<&'a str>,
    #[serde(default)]
    event: Option<&'a str>,
}

/// What a file holds, as far as it can be read.
fn scan_file(path: &Path, asked: Option<u64>) -> (Scanned, io::Result<()>) {
    let mut scanned = Scanned {
        first: None,
        at: Segment::first(""),
        lines: 0,
        open: HashMap::new(),
        closed: HashSet::new(),
        began: None,
        started: false,
        tail: None,
        unreadable: 0,
        unlinked: 0,
        root: None,
    };
    let read = files::open(path).and_then(|mut reader| scanned.read(&mut reader, asked));
    (scanned, read)
}

impl Scanned {
    fn read(&mut self, reader: &mut impl BufRead, asked: Option<u64>) -> io::Result<()> {
        let scanned = self;
        let mut line = Vec::new();
        loop {
            let Read { length, ended } = read_line(reader, &mut line)?;
            if length == 0 {
                return Ok(());
            }
            let first = match scanned.lines {
                0 => Segment::parse(&line),
                _ => None,
            };
            if let Some(first) = first {
                scanned.at = first.clone();
                scanned.first = Some(first);
                scanned.look_for(asked);
                scanned.lines += 1;
                scanned.tail = (!ended).then_some(Tail::Unended);
                continue;
            }
            match (serde_json::from_slice::<Peek<'_>>(&line), ended) {
                (Ok(peek), _) => {
                    scanned.note(&peek, &line);
                    scanned.look_for(asked);
                    if !ended {
                        scanned.tail = Some(Tail::Unended);
                    }
                }
                (Err(_), true) => scanned.unreadable += 1,
                (Err(_), false) => {
                    scanned.tail = Some(Tail::Torn(length));
                    continue;
                }
            }
            scanned.lines += 1;
        }
    }

    fn note(&mut self, record: &Peek<'_>, line: &[u8]) {
        if record.prev != std::str::from_utf8(&encode::hex_digits(&self.at.prev)).ok() {
            self.unlinked += 1;
        }
        let seq = self.at.seq.max(record.seq);
        self.at.advance(tree::leaf(line));
        self.at.seq = seq;
        if self.began.is_none() {
            self.began = record.at.and_then(|at| at.parse().ok());
        }
        let id = record.id.and_then(|id| Uuid::try_parse(id).ok());
        match (record.kind, id) {
            ("decision", Some(id)) if record.decision == Some("permit") => {
                self.open.insert(id, record.seq);
            }
            // the decision is in this file, or in an older one
            ("outcome", Some(id)) if self.open.remove(&id).is_none() => {
                self.closed.insert(id);
            }
            ("event", _) if record.event == Some("start") => {
                self.open.clear();
                self.closed.clear();
                self.started = true;
            }
            _ => {}
        }
    }

    fn look_for(&mut self, asked: Option<u64>) {
        if asked == Some(self.at.tree.size()) {
            self.root = Some(self.at.tree.root());
        }
    }
}

struct Read {
    /// Bytes of the line, its line feed included; 0 at the end.
    length: u64,
    ended: bool,
}

/// Reads a line without its line feed. Of one that is longer than any record nothing is kept.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Read> {
    line.clear();
    let mut read = Read {
        length: 0,
        ended: false,
    };
    while !read.ended {
        let chunk = match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            chunk => chunk?,
        };
        if chunk.is_empty() {
            break;
        }
        let end = memchr::memchr(b'\n', chunk);
        let text = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default();
        let taken = text.len() + usize::from(end.is_some());
        line.extend_from_slice(text);
        reader.consume(taken);
        read.length += taken as u64;
        read.ended = end.is_some();
        if read.length > LINE_BYTES {
            line.clear();
        }
    }
    Ok(read)
}

/// Longer than any record: the head of a request is far smaller.
const LINE_BYTES: u64 = 4 << 20;
