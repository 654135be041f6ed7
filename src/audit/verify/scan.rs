//! The files are read once, and become runs of records that follow each other.
//!
//! A run ends with its file, and where a line doesn't follow the one before. What a header says is held against the
//! record before it and the one after it: of the three, the one that doesn't fit the other two was changed.

use std::io::{ErrorKind, Read};
use std::path::PathBuf;
use std::sync::Arc;

use serde::de::IgnoredAny;

use self::headers::Pending;
use self::names::Names;
use super::checkpoints::Signed;
use super::diagnose::{Found, Run, Seen, Spot, Stray, diagnose};
use super::envelope::{self, Envelope, NoRecord, Odd};
use super::lines::{Line, Lines, Next, open};
use super::trees::Trees;
use super::{Finding, Kind, Report, VerifyError, conclude};
use crate::audit::files::Part;
use crate::audit::segment::Segment;
use crate::audit::tree::{Hash, ZERO, sha256};

mod headers;
mod names;

/// Reads the files, which are in order, and says what was done to them and what is signed.
pub(super) fn scan(
    parts: &[Part],
    trusted: Option<&[Signed]>,
    progress: &mut dyn FnMut(u64),
) -> Result<Report, VerifyError> {
    let files: Vec<PathBuf> = parts.iter().map(|part| part.path.clone()).collect();
    let mut scan = Scan::new(files.len(), trusted.unwrap_or_default());
    for (file, part) in parts.iter().enumerate() {
        let error = |source| VerifyError::Read {
            path: part.path.clone(),
            source,
        };
        let from = open(part, &mut *progress).map_err(error)?;
        scan.file(file, from).map_err(error)?;
        if scan.stopped {
            break;
        }
    }
    scan.trees.end();
    scan.names.end(&mut scan.report.notes);
    scan.seen.replaced = std::mem::take(&mut scan.trees.replaced);
    let (mut found, last) = diagnose(&scan.seen, &files);
    let spots: Vec<Spot> = found.iter().map(|found| found.spot).collect();
    found.extend(
        scan.found
            .drain(..)
            .filter(|(spare, found)| !*spare || !spots.contains(&found.spot))
            .map(|(_, found)| found),
    );
    conclude::conclude(&mut scan, trusted, last, &mut found);
    scan.misnamed(&mut found);
    found.sort_by_key(|found| found.spot);
    let mut report = scan.report;
    report.findings = found
        .into_iter()
        .map(
            |Found {
                 kind,
                 spot,
                 records,
                 text,
             }| Finding {
                kind,
                file: files.get(spot.file).map(|path| Arc::from(path.as_path())),
                line: spot.line,
                records,
                text,
            },
        )
        .collect();
    report.files = files;
    Ok(report)
}

/// What is known while the files are read.
pub(super) struct Scan {
    files: usize,
    pub(super) seen: Seen,
    pub(super) trees: Trees,
    pub(super) report: Report,
    /// What is told besides the chain; `true`: only where the chain tells nothing of that line.
    found: Vec<(bool, Found)>,
    /// The first header, and where it stands.
    pub(super) base: Option<(Spot, Segment)>,
    names: Names,
    /// Headers that name another node than the record after them, which has that number.
    misnamed: Vec<(Spot, u64)>,
    pub(super) last: Option<Last>,
    run: Option<Open>,
    header: Option<Pending>,
    /// The chain broke since its tree was certain.
    broken: bool,
    /// More is broken than is looked at.
    pub(super) stopped: bool,
}

/// The last record, or what stands before the first.
#[derive(Clone, Copy)]
pub(super) struct Last {
    pub(super) spot: Spot,
    pub(super) seq: u64,
    leaf: Hash,
}

/// A run that may go on.
struct Open {
    start: Spot,
    first: u64,
    prev: Hash,
    head: Hash,
    /// The hash of its last record but one.
    before: Option<Hash>,
    vouched: bool,
}

impl Scan {
    fn new(files: usize, signed: &[Signed]) -> Scan {
        Scan {
            files,
            seen: Seen::default(),
            trees: Trees::new(signed),
            report: Report::default(),
            found: Vec::new(),
            base: None,
            names: Names::default(),
            misnamed: Vec::new(),
            last: None,
            run: None,
            header: None,
            broken: false,
            stopped: false,
        }
    }

    fn file(&mut self, file: usize, from: impl Read) -> std::io::Result<()> {
        let mut lines = Lines::new(from);
        let mut spot = Spot { file, line: 0 };
        let newest = file + 1 == self.files;
        loop {
            spot.line += 1;
            match lines.next() {
                Ok(Next::Line(line)) => {
                    self.report.bytes += line.marked.len() as u64;
                    self.line(spot, line, newest);
                }
                Ok(Next::TooLong) => self.stray(spot, NoRecord::Garbage, b""),
                Ok(Next::End) => {
                    if spot.line == 1 {
                        self.note(format!("file {} of the log is empty", file + 1));
                    }
                    break;
                }
                Err(error) if is_damage(error.kind()) => {
                    let text = format!("can't be decompressed from here on: {error}");
                    self.tell(Kind::Damaged, spot, None, text);
                    break;
                }
                Err(error) => return Err(error),
            }
            if self.seen.runs.len() + self.seen.strays.len() > MANY + 2 * self.files {
                self.stopped = true;
                break;
            }
        }
        self.close(lines.last());
        self.header_alone(newest);
        Ok(())
    }

    fn line(&mut self, spot: Spot, line: Line<'_>, newest: bool) {
        let bytes = line.bytes();
        if spot.line == 1 {
            if let Some(header) = Segment::parse(bytes) {
                return self.header(spot, header);
            }
            if !line.ended && newest {
                return self.note(torn(bytes.len()));
            }
            self.no_header(spot, bytes);
        }
        if !self.names.known() {
            self.names.begin(names::node_of(bytes).unwrap_or_default());
        }
        let read = match envelope::read(bytes, self.names.node()) {
            Ok(envelope) if envelope.seq > LARGEST => Err(NoRecord::Garbage),
            read => read,
        };
        if !line.ended {
            let follows = read.is_ok_and(|envelope| {
                envelope.odd != Some(Odd::Spelling) && self.follows(&envelope)
            });
            match (newest, follows) {
                (true, true) => self.note(
                    "the last line has no line feed, as a crash leaves it; it counts".to_owned(),
                ),
                (true, false) => {
                    self.close(line.before);
                    return self.note(torn(bytes.len()));
                }
                (false, _) => {
                    let text = "the file ends without a line feed, and is not the log's last";
                    self.found
                        .push((true, found(Kind::Damaged, spot, None, text.to_owned())));
                }
            }
        }
        match read {
            Ok(envelope) => self.record(spot, &envelope, line),
            // told as a header
            Err(_) if spot.line == 1 => {}
            Err(what) => self.stray(spot, what, line.before),
        }
    }

    fn record(&mut self, spot: Spot, envelope: &Envelope, line: Line<'_>) {
        let Envelope { seq, prev, odd } = *envelope;
        let leaf = sha256(line.marked);
        self.report.records += 1;
        let (from, to) = self.report.span.unwrap_or((seq, seq));
        self.report.span = Some((from.min(seq), to.max(seq)));
        if odd == Some(Odd::Spelling) && self.found.len() < MANY {
            let text = "not spelled as the log's writer does".to_owned();
            self.found
                .push((true, found(Kind::Changed, spot, Some((seq, seq)), text)));
        }
        if self.last.is_none() {
            // no header says where the log begins
            self.seen.anchor = Some((seq - 1, prev));
            self.last = Some(Last {
                spot: Spot::default(),
                seq: seq - 1,
                leaf: prev,
            });
            if seq == 1 && prev == ZERO {
                self.trees.header(&Segment::first(""));
            }
        }
        let follows = self.follows(envelope);
        self.names
            .record(seq, odd, line.bytes(), follows, &mut self.report.notes);
        let vouched = self.header_before(seq, &prev, line.bytes());
        self.broken |= !follows;
        match &mut self.run {
            Some(run) if follows => {
                run.before = self.last.map(|last| last.leaf);
            }
            _ => {
                self.close(line.before);
                self.run = Some(Open {
                    start: spot,
                    first: seq,
                    prev,
                    head: leaf,
                    before: None,
                    vouched,
                });
            }
        }
        self.trees.record(seq, &prev, leaf);
        self.last = Some(Last { spot, seq, leaf });
    }

    fn follows(&self, envelope: &Envelope) -> bool {
        self.last
            .is_some_and(|last| last.seq + 1 == envelope.seq && last.leaf == envelope.prev)
    }

    /// Tells the headers that name another node than the record after them, unless it is that record which was changed:
    /// the process that writes a header writes the next record.
    fn misnamed(&mut self, found: &mut Vec<Found>) {
        for (spot, seq) in std::mem::take(&mut self.misnamed) {
            let covers = |(from, to): (u64, u64)| from <= seq && seq <= to;
            if found.iter().any(|one| one.records.is_some_and(covers)) {
                continue;
            }
            let text = format!("it names another node than record {seq} after it");
            found.push(self::found(Kind::Header, spot, None, text));
        }
    }

    fn stray(&mut self, start: Spot, what: NoRecord, before: &[u8]) {
        self.close(before);
        self.broken = true;
        match self.seen.strays.last_mut() {
            Some(last)
                if last.start.file == start.file
                    && last.start.line + last.lines == start.line
                    && last.what == what =>
            {
                last.lines += 1;
            }
            _ => self.seen.strays.push(Stray {
                start,
                lines: 1,
                what,
            }),
        }
    }

    /// Ends the run, whose last line is this one. Its last record is a run of its own: only what follows it can vouch
    /// for it.
    fn close(&mut self, line: &[u8]) {
        let (Some(open), Some(last)) = (self.run.take(), self.last) else {
            return;
        };
        let Open {
            start,
            first,
            prev,
            head,
            before,
            vouched,
        } = open;
        let run = Run {
            start,
            first,
            last: last.seq,
            prev,
            head,
            tail: last.leaf,
            vouched,
            // where the line isn't at hand any more, nothing is said of it
            broken: !line.is_empty() && serde_json::from_slice::<IgnoredAny>(line).is_err(),
        };
        match before {
            None => self.seen.runs.push(run),
            Some(before) => {
                self.seen.runs.push(Run {
                    last: last.seq - 1,
                    tail: before,
                    broken: false,
                    ..run
                });
                self.seen.runs.push(Run {
                    start: last.spot,
                    first: last.seq,
                    prev: before,
                    head: last.leaf,
                    vouched: false,
                    ..run
                });
            }
        }
    }

    fn note(&mut self, text: String) {
        self.report.notes.push(text);
    }

    fn tell(&mut self, kind: Kind, spot: Spot, records: Option<(u64, u64)>, text: String) {
        self.found.push((false, found(kind, spot, records, text)));
    }
}

fn found(kind: Kind, spot: Spot, records: Option<(u64, u64)>, text: String) -> Found {
    Found {
        kind,
        spot,
        records,
        text,
    }
}

fn torn(bytes: usize) -> String {
    format!("the log ends in half a line of {bytes} bytes, as a crash leaves it; it doesn't count")
}

/// Compressed bytes that aren't.
fn is_damage(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof
    )
}

/// So many breaks are looked at.
const MANY: usize = 10_000;
/// No number of a record is larger.
const LARGEST: u64 = 1 << 53;
