//! What was done to a log whose chain is broken: a pure function of the runs of records that still follow each other.
//!
//! Each run says what it stands behind: the number and hash of the record before its first. So runs that stand in
//! another order are linked again; two runs behind the same record are two histories; a number that nobody has was
//! removed; and where a record's successor speaks of another hash, the record was changed. The last record of a run
//! that nothing is linked to is vouched for by nobody: scan.rs hands it over as a run of its own.
//!
//! Several answers can fit what is left of a log. The one that is told supposes the least: it keeps the longest part
//! of the chain, and takes a line that stands in the place of a record for that record, changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::PathBuf;

use self::place::place;
use super::Kind;
use super::envelope::NoRecord;
use crate::audit::tree::Hash;

mod place;
mod walk;

/// A line of the log; the log's order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Spot {
    pub(super) file: usize,
    pub(super) line: u64,
}

/// Records on consecutive lines, each of which carries the hash of the one before and the next number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) start: Spot,
    pub(super) first: u64,
    pub(super) last: u64,
    /// What the first says of the record before.
    pub(super) prev: Hash,
    /// The first one's hash.
    pub(super) head: Hash,
    /// The last one's hash.
    pub(super) tail: Hash,
    /// The header before it says of the record before what the first says.
    pub(super) vouched: bool,
    /// Its last line is not JSON.
    pub(super) broken: bool,
}

/// Lines that are no records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stray {
    pub(super) start: Spot,
    pub(super) lines: u64,
    pub(super) what: NoRecord,
}

/// All that was read.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Number and hash of the record before the first file.
    pub(super) anchor: Option<(u64, Hash)>,
    /// In the order of the lines.
    pub(super) runs: Vec<Run>,
    /// In the order of the lines.
    pub(super) strays: Vec<Stray>,
    /// The header of a last file without records: where, and the number and hash of the record before.
    pub(super) claim: Option<(Spot, u64, Hash)>,
    /// Headers that don't fit what stands around them: where, and the number and hash of the record before.
    pub(super) misfits: Vec<(Spot, u64, Hash)>,
    /// Records that a checkpoint tells to be other ones.
    pub(super) replaced: Vec<u64>,
}

/// Something that was done, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) kind: Kind,
    pub(super) spot: Spot,
    pub(super) records: Option<(u64, u64)>,
    pub(super) text: String,
}

/// A run, or the piece of one, on its way to its place. Hashes that aren't known for a piece are absent.
#[derive(Clone, Copy, Debug)]
struct Part {
    start: Spot,
    first: u64,
    last: u64,
    prev: Option<Hash>,
    head: Option<Hash>,
    tail: Option<Hash>,
    vouched: bool,
    broken: bool,
    anchor: bool,
}

/// What has no place in the chain.
#[derive(Clone, Copy, Debug)]
struct Extra {
    start: Spot,
    lines: u64,
    /// What it says to be.
    says: Option<(u64, u64)>,
    prev: Option<Hash>,
    why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// The same records stand there, too.
    Copy(Spot),
    /// Others have these numbers.
    Second,
    /// Its number doesn't fit where it stands.
    Misplaced,
    Stray(NoRecord),
}

/// Says what was done to the log of these files, and which number its last record has.
pub(super) fn diagnose(seen: &Seen, files: &[PathBuf]) -> (Vec<Found>, Option<u64>) {
    let mut report = Report {
        files,
        found: Vec::new(),
    };
    let mut anchor = seen.anchor;
    if let (Some((seq, hash)), [first, later @ ..]) = (seen.anchor, seen.runs.as_slice())
        && first.prev == hash
        && seq.checked_add(1) != Some(first.first)
        && (first.first < first.last
            || later
                .first()
                .is_some_and(|next| next.prev == first.tail && next.first == first.last + 1))
    {
        // what follows it vouches for the first record, and nothing for the header
        anchor = first.first.checked_sub(1).map(|before| (before, hash));
        let text = format!(
            "it says that record {} comes after it, and record {} does",
            seq.saturating_add(1),
            first.first
        );
        report.tell(
            Kind::Header,
            Spot {
                line: 1,
                ..first.start
            },
            None,
            text,
        );
    }
    let placed = place(seen, anchor);
    walk::walk(&placed, seen, &mut report);
    report.found.sort_by_key(|found| found.spot);
    (report.found, placed.main.last().map(|part| part.last))
}

/// Each part in its place, and what is left over.
struct Placed {
    /// By numbers, without overlap.
    main: Vec<Part>,
    /// Which of them stand elsewhere than they belong.
    displaced: Vec<bool>,
    /// In the order of the lines.
    extras: Vec<Extra>,
}

impl Part {
    fn of(run: &Run) -> Part {
        Part {
            start: run.start,
            first: run.first,
            last: run.last,
            prev: Some(run.prev),
            head: Some(run.head),
            tail: Some(run.tail),
            vouched: run.vouched,
            broken: run.broken,
            anchor: false,
        }
    }

    fn anchor((seq, hash): (u64, Hash)) -> Part {
        Part {
            start: Spot::default(),
            first: seq,
            last: seq,
            prev: None,
            head: None,
            tail: Some(hash),
            vouched: true,
            broken: false,
            anchor: true,
        }
    }

    fn records(&self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }

    fn lone(&self) -> bool {
        self.first == self.last
    }

    fn end(&self) -> Spot {
        Spot {
            file: self.start.file,
            line: self.start.line + (self.last - self.first),
        }
    }

    /// The records from `first` to `last` of it.
    fn cut(&self, first: u64, last: u64) -> Part {
        Part {
            start: Spot {
                file: self.start.file,
                line: self.start.line + (first - self.first),
            },
            first,
            last,
            prev: self.prev.filter(|_| first == self.first),
            head: self.head.filter(|_| first == self.first),
            tail: self.tail.filter(|_| last == self.last),
            broken: self.broken && last == self.last,
            ..*self
        }
    }

    fn extra(&self, why: Why) -> Extra {
        Extra {
            start: self.start,
            lines: self.records(),
            says: Some((self.first, self.last)),
            prev: self.prev,
            why,
        }
    }
}

struct Report<'f> {
    files: &'f [PathBuf],
    found: Vec<Found>,
}

impl Report<'_> {
    fn tell(&mut self, kind: Kind, spot: Spot, records: Option<(u64, u64)>, text: String) {
        self.found.push(Found {
            kind,
            spot,
            records,
            text,
        });
    }

    /// `file:line`.
    fn at(&self, spot: Spot) -> String {
        match self.files.get(spot.file) {
            Some(file) => format!("{}:{}", file.display(), spot.line),
            None => format!("line {}", spot.line),
        }
    }
}

/// `record 7`, `records 7 to 9`.
pub(super) fn records((first, last): (u64, u64)) -> String {
    match first == last {
        true => format!("record {first}"),
        false => format!("records {first} to {last}"),
    }
}

#[cfg(test)]
mod tests;
