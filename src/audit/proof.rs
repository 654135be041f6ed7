//! The proof that one record is in a signed log: C2SP tlog-proof, checked with the verifier key and nothing else.
//!
//! A proof holds the record's line (as `extra`), its place in the tree, the hashes that lead from it to the root
//! (RFC 6962, 2.1.1) and the signed checkpoint with that root. Whoever reads one takes nothing in it for granted: the
//! line counts because its hash leads to the root, and the root because it is signed.
//!
//! Deliberately absent: witnesses. Their cosignatures are passed over, as signed-note has it.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;

use super::note::{Checkpoint, NoteError, Verifier};
use super::tree::{Hash, leaf, node};
use super::verify::{Trusted, VerifyError};

mod make;

pub use self::make::{prove, prove_log};

/// A record, and why it is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The record's line, without its line feed.
    pub line: Vec<u8>,
    /// Its place in the tree, from 0: normally its number less one.
    pub index: u64,
    /// The hashes beside the way to the root, the leaf's neighbour first.
    pub path: Vec<Hash>,
    /// The signed checkpoint, as it stood in its file.
    pub checkpoint: String,
}

/// Which record is to be proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The one of this number.
    Seq(u64),
    /// The decision of this id.
    Decision(Uuid),
    /// The outcome of this id.
    Outcome(Uuid),
}

/// Why there is no proof, or none that counts.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The log or the checkpoints can't be read.
    #[error(transparent)]
    Read(#[from] VerifyError),
    /// The log doesn't have the record.
    #[error("the log has no such record")]
    NoRecord,
    /// No checkpoint was signed by this key since the record was written.
    #[error("no checkpoint signed by this key covers record {0}")]
    NotSigned(u64),
    /// What is in the log doesn't lead to the root that was signed.
    #[error("the log is not the one that was signed: `portcullis audit verify` tells more")]
    OtherLog,
    /// The text is no proof.
    #[error("not a proof: {0}")]
    Malformed(&'static str),
    /// The checkpoint doesn't count.
    #[error("the proof's checkpoint doesn't count: {0}")]
    Checkpoint(#[from] NoteError),
    /// The checkpoint names another log than the key.
    #[error("the proof's checkpoint is of another log than the key")]
    OtherOrigin,
    /// The record isn't where the proof says.
    #[error("the record is not in the log that was signed, or not at this place")]
    NotIncluded,
}

impl ProofError {
    fn read(path: &Path, source: io::Error) -> ProofError {
        ProofError::Read(VerifyError::Read {
            path: path.to_owned(),
            source,
        })
    }
}

impl Proof {
    /// Reads a proof to the letter.
    pub fn parse(text: &str) -> Result<Proof, ProofError> {
        let bad = ProofError::Malformed;
        let rest = text.strip_prefix(FIRST_LINE);
        let rest = rest.ok_or(bad("it doesn't begin with c2sp.org/tlog-proof@v1"))?;
        let (extra, rest) = rest
            .strip_prefix("extra ")
            .and_then(|rest| rest.split_once('\n'))
            .ok_or(bad(
                "it holds no record, which is expected as its extra data",
            ))?;
        let line = STANDARD.decode(extra);
        let line = line.map_err(|_| bad("its extra data is not base64"))?;
        let (index, mut rest) = rest
            .strip_prefix("index ")
            .and_then(|rest| rest.split_once('\n'))
            .ok_or(bad("it has no index"))?;
        let number: u64 = index.parse().map_err(|_| bad("its index is no number"))?;
        if number.to_string() != index {
            return Err(bad("its index is no number as it is written"));
        }
        let mut path = Vec::new();
        loop {
            let (hash, after) = rest
                .split_once('\n')
                .ok_or(bad("it ends before its checkpoint"))?;
            rest = after;
            if hash.is_empty() {
                break;
            }
            let hash = STANDARD
                .decode(hash)
                .ok()
                .and_then(|hash| hash.try_into().ok());
            path.push(hash.ok_or(bad("a line of its path is no hash"))?);
            if path.len() > PATH {
                return Err(bad("its path is longer than any"));
            }
        }
        Ok(Proof {
            line,
            index: number,
            path,
            checkpoint: rest.to_owned(),
        })
    }

    /// The checkpoint that the record is proven by, if this key signed it and the record is under its root.
    pub fn verify(&self, key: &Verifier) -> Result<Checkpoint, ProofError> {
        let checkpoint = key.open(&self.checkpoint)?;
        if checkpoint.origin != key.name() {
            return Err(ProofError::OtherOrigin);
        }
        let root = root_of(leaf(&self.line), self.index, checkpoint.size, &self.path);
        match root == Some(checkpoint.root) {
            true => Ok(checkpoint),
            false => Err(ProofError::NotIncluded),
        }
    }
}

/// The file, to be kept as `.tlog-proof`.
impl std::fmt::Display for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let extra = STANDARD.encode(&self.line);
        write!(f, "{FIRST_LINE}extra {extra}\nindex {}\n", self.index)?;
        for hash in &self.path {
            writeln!(f, "{}", STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

/// The root that a path leads to (RFC 9162, 2.1.3.2); `None` where it fits no tree of this size.
fn root_of(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    let (mut at, mut last) = (index, size.checked_sub(1)?);
    if at > last {
        return None;
    }
    let mut hash = leaf;
    for other in path {
        if last == 0 {
            return None;
        }
        if at % 2 == 1 || at == last {
            hash = node(other, &hash);
            while at % 2 == 0 && at > 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            hash = node(&hash, other);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    (last == 0).then_some(hash)
}

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1\n";
/// A tree of 2^64 leaves is no higher.
const PATH: usize = 64;

#[cfg(test)]
mod tests;
