//! Checks a whole log: that nothing in it was changed, removed, inserted, reordered or cut off, and what is signed.
//!
//! The files are read once, line by line, in memory that doesn't grow with them. What follows from what by hashes and
//! numbers becomes runs of records (`scan.rs`); an untouched log is one. The Merkle tree grows along and is compared
//! with the checkpoints that the key signed (`trees.rs`, `checkpoints.rs`). Where a run breaks, `diagnose.rs` works
//! out what was done to the log: it is a pure function of the runs.
//!
//! The chain alone proves little against somebody who can write the file, for whoever changes a record can hash all
//! later ones again. A signed checkpoint that was kept elsewhere proves every record before it. What comes after the
//! last one is told as chained and not signed.
//!
//! Deliberately absent: any judgement of what the records say, and repairs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{self, Part, Unreadable};
use super::note::Verifier;
use super::segment;

mod checkpoints;
mod conclude;
mod diagnose;
mod envelope;
mod lines;
mod order;
mod scan;
mod trees;

use self::checkpoints::Checkpoints;
pub(in crate::audit) use self::checkpoints::smallest_over;
pub(in crate::audit) use self::envelope::read as read_envelope;
pub(in crate::audit) use self::lines::{Lines, Next, open};
pub(in crate::audit) use self::order::in_order;

/// What is looked for with: the key, and the checkpoints that it signed.
#[derive(Clone, Copy, Debug)]
pub struct Trusted<'k> {
    /// The log's verifier key.
    pub key: &'k Verifier,
    /// The file of checkpoints.
    pub checkpoints: &'k Path,
}

/// What was found in a log.
#[derive(Debug, Default)]
pub struct Report {
    /// The files, in the log's order.
    pub files: Vec<PathBuf>,
    /// How many lines are records.
    pub records: u64,
    /// The numbers of the first and last record; `None` where there is none.
    pub span: Option<(u64, u64)>,
    /// Bytes read, decompressed.
    pub bytes: u64,
    /// What was done to the log. Empty means whole.
    pub findings: Vec<Finding>,
    /// What a reader should know and is no tampering.
    pub notes: Vec<String>,
    /// What is signed; `None` where no key was given.
    pub signed: Option<SignedPart>,
}

/// How far checkpoints reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignedPart {
    /// Checkpoints with a valid signature.
    pub checkpoints: u64,
    /// Those with whose root the log agrees.
    pub agree: u64,
    /// Those with whose root it doesn't.
    pub disagree: u64,
    /// Those that are older than the log's first file.
    pub older: u64,
    /// Those that could not be compared, because the chain is broken before them or the log is too short.
    pub not_compared: u64,
    /// The last record that an agreeing checkpoint vouches for.
    pub up_to: Option<u64>,
    /// How many records come after it: chained, not signed.
    pub after: u64,
}

/// One thing that was done to a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// The file where it shows.
    pub file: Option<Arc<Path>>,
    /// The line in it, from 1; 0 where it is about the file as a whole.
    pub line: u64,
    /// The numbers of the first and last record that it is about.
    pub records: Option<(u64, u64)>,
    /// In words.
    pub text: String,
}

/// What can be done to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Records are not what they were.
    Changed,
    /// Records are gone from between others.
    Removed,
    /// Records are there that don't belong.
    Inserted,
    /// Records stand elsewhere than they belong.
    Reordered,
    /// The log's end is gone.
    Truncated,
    /// There are two histories.
    Forked,
    /// Checkpoints are by another key, or of another log.
    WrongKey,
    /// A file's first line is not what it must be.
    Header,
    /// A line is no record.
    Garbage,
    /// A file can't be read to its end.
    Damaged,
    /// A checkpoint doesn't count.
    Checkpoint,
}

impl Kind {
    /// Its name in JSON.
    pub fn code(self) -> &'static str {
        match self {
            Kind::Changed => "changed",
            Kind::Removed => "removed",
            Kind::Inserted => "inserted",
            Kind::Reordered => "reordered",
            Kind::Truncated => "truncated",
            Kind::Forked => "forked",
            Kind::WrongKey => "wrong_key",
            Kind::Header => "header",
            Kind::Garbage => "garbage",
            Kind::Damaged => "damaged",
            Kind::Checkpoint => "checkpoint",
        }
    }
}

/// Why a log can't be looked at.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file can't be opened or read.
    #[error("{path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl From<Unreadable> for VerifyError {
    fn from(Unreadable { path, source }: Unreadable) -> VerifyError {
        VerifyError::Read { path, source }
    }
}

/// The files of the log whose current one is at `path`, the oldest first.
pub fn files_of(path: &Path) -> Result<Vec<PathBuf>, VerifyError> {
    let error = |source| VerifyError::Read {
        path: path.to_owned(),
        source,
    };
    let mut files = segment::closed_files(path).map_err(error)?;
    // it isn't there between a rotation and the next record, nor where only closed files were handed over
    if path.try_exists().map_err(error)? || files.is_empty() {
        files.push(path.to_owned());
    }
    Ok(files)
}

/// Checks the log that these files are; `progress` is told of bytes read from disk.
pub fn verify(
    files: &[PathBuf],
    trusted: Option<Trusted<'_>>,
    progress: &mut dyn FnMut(u64),
) -> Result<Report, VerifyError> {
    let parts = || Ok(files.iter().map(|path| Part::at(path)).collect());
    verify_parts(parts, trusted, progress)
}

/// Checks the log whose current file is at `path`, with its closed ones, as it is at one moment: it may be written,
/// rotated, compressed and cut back meanwhile.
pub fn verify_log(
    path: &Path,
    trusted: Option<Trusted<'_>>,
    progress: &mut dyn FnMut(u64),
) -> Result<Report, VerifyError> {
    let parts = || files::parts(path).map_err(VerifyError::from);
    verify_parts(parts, trusted, progress)
}

fn verify_parts(
    parts: impl FnOnce() -> Result<Vec<Part>, VerifyError>,
    trusted: Option<Trusted<'_>>,
    progress: &mut dyn FnMut(u64),
) -> Result<Report, VerifyError> {
    // before the files are opened: what a later checkpoint signs may not be in them
    let checkpoints = match trusted {
        Some(Trusted { key, checkpoints }) => {
            let read = Checkpoints::read(checkpoints, key);
            Some(read.map_err(|source| VerifyError::Read {
                path: checkpoints.to_owned(),
                source,
            })?)
        }
        None => None,
    };
    let (parts, mut findings) = in_order(parts()?)?;
    // where all are bent or another's, that is told, and nothing of the log by it
    let signed = checkpoints
        .as_ref()
        .filter(|read| !read.signed.is_empty() || read.findings.is_empty())
        .map(|read| read.signed.as_slice());
    let mut report = scan::scan(&parts, signed, progress)?;
    if let Some(mut checkpoints) = checkpoints {
        report.findings.append(&mut checkpoints.findings);
        if checkpoints.torn {
            let text = "the checkpoints end in half of one, as a crash leaves it; it doesn't count";
            report.notes.push(text.to_owned());
        }
    } else {
        report.signed = None;
    }
    findings.append(&mut report.findings);
    report.findings = findings;
    Ok(report)
}

#[cfg(test)]
mod tests;
