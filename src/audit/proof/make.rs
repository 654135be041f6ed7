//! The log is read for the record, and for the hashes beside its way to the root.

use std::io::Read;

use super::*;
use crate::audit::files::{self, Part};
use crate::audit::segment::Segment;
use crate::audit::tree::{Tree, sha256};
use crate::audit::verify::{Lines, Next, in_order, open, read_envelope, smallest_over};

/// Proves a record of the log that these files are, by the smallest checkpoint that covers it.
pub fn prove(files: &[PathBuf], wanted: Wanted, trusted: Trusted<'_>) -> Result<Proof, ProofError> {
    let parts = files.iter().map(|path| Part::at(path)).collect();
    prove_in(parts, wanted, trusted)
}

/// The same of the log whose current file is at `path`, with its closed ones, also while it is written.
pub fn prove_log(path: &Path, wanted: Wanted, trusted: Trusted<'_>) -> Result<Proof, ProofError> {
    let taken = || {
        prove_in(
            files::parts(path).map_err(VerifyError::from)?,
            wanted,
            trusted,
        )
    };
    match taken() {
        // a checkpoint may sign what was written after the files were taken: now it is in them
        Err(ProofError::OtherLog) => taken(),
        proof => proof,
    }
}

fn prove_in(parts: Vec<Part>, wanted: Wanted, trusted: Trusted<'_>) -> Result<Proof, ProofError> {
    let (files, _) = in_order(parts)?;
    let found = find(&files, wanted)?.ok_or(ProofError::NoRecord)?;
    let note = smallest_over(trusted.checkpoints, trusted.key, found.index)
        .map_err(|source| ProofError::read(trusted.checkpoints, source))?;
    let (size, checkpoint) = note.ok_or(ProofError::NotSigned(found.seq))?;
    let mut siblings = siblings(found.index, size);
    let base = seed(&mut siblings, &found.base);
    let mut index = base;
    each_record(&files, &mut |_, line, _| {
        if let Some(sibling) = siblings
            .iter_mut()
            .find(|one| one.from <= index && index < one.to)
        {
            sibling.tree.push(sha256(line));
        }
        index += 1;
        index < size
    })?;
    let proof = Proof {
        line: found.line,
        index: found.index,
        path: siblings.iter().map(|sibling| sibling.tree.root()).collect(),
        checkpoint,
    };
    // whoever hands a proof on should not be the one whom it fails
    match proof.verify(trusted.key) {
        Err(ProofError::NotIncluded) => Err(ProofError::OtherLog),
        verified => verified.map(|_| proof),
    }
}

struct Found {
    line: Vec<u8>,
    index: u64,
    seq: u64,
    /// Where the log's first file begins.
    base: Segment,
}

/// The first record that is wanted.
fn find(files: &[Part], wanted: Wanted) -> Result<Option<Found>, ProofError> {
    let needle = match wanted {
        Wanted::Seq(_) => None,
        Wanted::Decision(id) => Some(("decision", id)),
        Wanted::Outcome(id) => Some(("outcome", id)),
    };
    let needle = needle.map(|(kind, id)| {
        let begins = format!(r#"{{"v":1,"kind":"{kind}","#).into_bytes();
        (
            begins,
            format!(r#"","id":"{}","#, id.hyphenated()).into_bytes(),
        )
    });
    let mut found = None;
    let mut index = None;
    each_record(files, &mut |header, line, node| {
        let bytes = line.get(1..).unwrap_or_default();
        let at = *index.get_or_insert(header.tree.size());
        index = Some(at + 1);
        let may_be = match &needle {
            None => true,
            // an id that another field quotes has its quotes escaped, and stands later
            Some((begins, id)) => {
                bytes.starts_with(begins)
                    && memchr::memmem::find(bytes, id).is_some_and(|at| at < 1024)
            }
        };
        let read = may_be.then(|| read_envelope(bytes, node).ok()).flatten();
        let is = read.filter(|envelope| match wanted {
            Wanted::Seq(seq) => envelope.seq == seq,
            Wanted::Decision(_) | Wanted::Outcome(_) => true,
        });
        if let Some(envelope) = is {
            found = Some(Found {
                line: bytes.to_vec(),
                index: at,
                seq: envelope.seq,
                base: header.clone(),
            });
        }
        found.is_none()
    })?;
    Ok(found)
}

/// Takes the first file's header, a record's line after the mark of a leaf, and the node's name as JSON; `false` ends.
type Visit<'v> = dyn FnMut(&Segment, &[u8], &[u8]) -> bool + 'v;

/// Calls with the first file's header, each record's line after the mark of a leaf, and the node's name as JSON, until
/// `false` comes back.
fn each_record(files: &[Part], with: &mut Visit<'_>) -> Result<(), ProofError> {
    let mut base: Option<(Segment, Vec<u8>)> = None;
    for part in files {
        let error = |source| ProofError::read(&part.path, source);
        let from = open(part, |_| {}).map_err(error)?;
        let mut lines: Lines<Box<dyn Read>> = Lines::new(from);
        let mut first = true;
        loop {
            let line = match lines.next().map_err(error)? {
                Next::Line(line) => line,
                Next::TooLong => return Err(ProofError::OtherLog),
                Next::End => break,
            };
            let header = std::mem::take(&mut first).then(|| Segment::parse(line.bytes()));
            match (header, &base) {
                (Some(Some(header)), None) => {
                    let node = serde_json::to_vec(&header.node).unwrap_or_default();
                    base = Some((header, node));
                }
                (Some(Some(_)), Some(_)) => {}
                // a file without a header is no log's
                (Some(None), _) | (None, None) => return Err(ProofError::OtherLog),
                (None, Some((base, node))) => {
                    // a crash's last half line
                    let half = !line.ended && read_envelope(line.bytes(), node).is_err();
                    if !half && !with(base, line.marked, node) {
                        return Ok(());
                    }
                }
            }
        }
    }
    Ok(())
}

/// A subtree beside the way from a leaf to the root: its leaves are `from..to`.
pub(super) struct Sibling {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) tree: Tree,
}

/// RFC 6962, 2.1.1: the leaf's neighbour first.
pub(super) fn siblings(index: u64, size: u64) -> Vec<Sibling> {
    let (mut from, mut to) = (0, size);
    let mut found = Vec::new();
    while to - from > 1 {
        // the largest power of two below the number of leaves
        let split = from + (1 << (to - from - 1).ilog2());
        let (a, b) = match index < split {
            true => (split, std::mem::replace(&mut to, split)),
            false => (std::mem::replace(&mut from, split), split),
        };
        found.push(Sibling {
            from: a,
            to: b,
            tree: Tree::default(),
        });
    }
    found.reverse();
    found
}

/// Gives each subtree what the header knows of it; says how many leaves that is of all.
///
/// A subtree beside a record of the files is never inside one of the header's: it would be beside that one's leaves.
pub(super) fn seed(siblings: &mut [Sibling], header: &Segment) -> u64 {
    let base = header.tree.size();
    let mut starts = Vec::new();
    let mut start = 0;
    let sizes = (0..64)
        .rev()
        .map(|bit| 1_u64 << bit)
        .filter(|size| base & size != 0);
    for (size, root) in sizes.zip(header.tree.roots()) {
        starts.push((start, root));
        start += size;
    }
    for sibling in siblings.iter_mut().filter(|sibling| sibling.from < base) {
        let to = sibling.to.min(base);
        let within = starts
            .iter()
            .filter(|(start, _)| (sibling.from..to).contains(start));
        let roots = within.map(|(_, root)| **root).collect();
        sibling.tree = Tree::restore(to - sibling.from, roots).unwrap_or_default();
    }
    base
}
