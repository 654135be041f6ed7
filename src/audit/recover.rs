//! What the last run left behind: decisions without outcome, half a line, and the number to go on from.
//!
//! Files are read from the newest back to the one that holds the last `start` event, each of them forwards
//! and as a stream. Before a `start` nothing is open, because each start closes what it found.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use uuid::Uuid;

use super::sink::rotated;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The last record's number; 0 where there is none.
    pub(super) seq: u64,
    /// Permits without an outcome, in the order in which they were given.
    pub(super) open: Vec<Uuid>,
    /// The newest file's end that is no whole line.
    pub(super) tail: Option<Tail>,
    /// Lines that are no records.
    pub(super) unreadable: u64,
}

/// An end without line feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// Half a line of so many bytes.
    Torn(u64),
    /// A whole record that lacks only its line feed.
    Unended,
}

/// Reads back from the file at `path` and its rotated predecessors.
pub(super) fn scan(path: &Path) -> io::Result<Found> {
    let mut found = Found::default();
    let mut open = HashMap::new();
    let mut closed = HashSet::new();
    let mut missing = 0;
    for age in 0..=u32::MAX {
        let file = match age {
            0 => File::open(path),
            age => File::open(rotated(path, age)),
        };
        let file = match file {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                missing += 1;
                // a crash within a rotation leaves one gap
                if missing > 1 {
                    break;
                }
                continue;
            }
            file => scan_file(file?)?,
        };
        if age == 0 {
            found.tail = file.tail;
        }
        found.seq = found.seq.max(file.seq);
        found.unreadable += file.unreadable;
        // an outcome in a newer file closes a decision in this one
        open.extend(file.open.into_iter().filter(|(id, _)| !closed.remove(id)));
        closed.extend(file.closed);
        if file.started {
            break;
        }
    }
    let mut open: Vec<(Uuid, u64)> = open.into_iter().collect();
    open.sort_unstable_by_key(|(_, seq)| *seq);
    found.open = open.into_iter().map(|(id, _)| id).collect();
    Ok(found)
}

/// One file's part.
#[derive(Default)]
struct Scanned {
    seq: u64,
    /// Permits since the last start that have no outcome in this file, with their numbers.
    open: HashMap<Uuid, u64>,
    /// Outcomes since the last start whose decision is in an older file.
    closed: HashSet<Uuid>,
    started: bool,
    tail: Option<Tail>,
    unreadable: u64,
}

/// The few fields that matter here.
#[derive(serde::Deserialize)]
struct Peek<'a> {
    kind: &'a str,
    seq: u64,
    #[serde(default)]
    id: Option<&'a str>,
    #[serde(default)]
    decision: Option<&'a str>,
    #[serde(default)]
    event: Option<&'a str>,
}

fn scan_file(file: File) -> io::Result<Scanned> {
    let mut reader = BufReader::with_capacity(READ_BYTES, file);
    let mut scanned = Scanned::default();
    let mut line = Vec::new();
    loop {
        let Read { length, ended } = read_line(&mut reader, &mut line)?;
        if length == 0 {
            return Ok(scanned);
        }
        match (serde_json::from_slice::<Peek<'_>>(&line), ended) {
            (Ok(peek), true) => scanned.note(&peek),
            (Ok(peek), false) => {
                scanned.note(&peek);
                scanned.tail = Some(Tail::Unended);
            }
            (Err(_), true) => scanned.unreadable += 1,
            (Err(_), false) => scanned.tail = Some(Tail::Torn(length)),
        }
    }
}

impl Scanned {
    fn note(&mut self, record: &Peek<'_>) {
        self.seq = self.seq.max(record.seq);
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

const READ_BYTES: usize = 256 << 10;
/// Longer than any record: the head of a request is far smaller.
const LINE_BYTES: u64 = 4 << 20;
