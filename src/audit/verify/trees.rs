//! The Merkle tree as the log is read, and what signed checkpoints say of it.
//!
//! Where the chain is whole there is one tree. Where it breaks, several may be the one that was signed: with the record
//! as it stands, with the one that its successor speaks of, without a line that was put in. All are followed, up to
//! [`MANY`], until a signed root tells which it was: so records after a break are vouched for as those before it.
//! A file's header brings a tree of its own.

use std::collections::{BTreeMap, BTreeSet};

use super::checkpoints::Signed;
use crate::audit::segment::Segment;
use crate::audit::tree::{Hash, Tree};

/// The trees that the log may have.
#[derive(Debug)]
pub(super) struct Trees {
    candidates: Vec<Candidate>,
    /// The roots that were signed for each size.
    signed: BTreeMap<u64, Vec<Hash>>,
    /// What the log says to each size.
    pub(super) said: BTreeMap<u64, Said>,
    /// The sizes and roots that the log had: two roots for one size, where its tree is uncertain.
    pub(super) agreed: BTreeSet<(u64, Hash)>,
    /// A size and a later one, both signed, that no one log can have had: its root at the later one fits.
    pub(super) forked: Option<(u64, u64)>,
    /// Numbers of records that were other ones when a checkpoint was signed that fits otherwise.
    pub(super) replaced: Vec<u64>,
    /// The last record that an agreeing checkpoint vouches for.
    pub(super) up_to: Option<u64>,
    /// Numbers before and of the last of records that a header's tree vouches for, by which a checkpoint agrees, and
    /// that are not what stands in the files, nor with what the chain alone tells of it.
    pub(super) unlike: Vec<(u64, u64)>,
    /// The same where what stands in the files could not be compared.
    pub(super) unseen: Vec<(u64, u64)>,
    settled: Option<u64>,
}

/// What the log says to a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Its tree had this root.
    Agrees,
    /// Its tree had another one.
    Disagrees,
}

#[derive(Clone, Debug)]
struct Candidate {
    /// The size that it had in a header.
    origin: u64,
    /// So many numbers have no leaf.
    offset: u64,
    /// Without the last record, which its successor vouches for first.
    tree: Tree,
    /// The last leaf of the tree.
    last: Option<Hash>,
    pending: Option<Hash>,
    /// The next size for which there is a checkpoint.
    next: Option<u64>,
    agreed: Option<u64>,
    disagreed: Option<u64>,
    replaced: Vec<u64>,
}

impl Trees {
    pub(super) fn new(signed: &[Signed]) -> Trees {
        let mut roots: BTreeMap<u64, Vec<Hash>> = BTreeMap::new();
        for one in signed {
            roots.entry(one.size).or_default().push(one.root);
        }
        Trees {
            candidates: Vec::new(),
            signed: roots,
            said: BTreeMap::new(),
            agreed: BTreeSet::new(),
            forked: None,
            replaced: Vec::new(),
            up_to: None,
            unlike: Vec::new(),
            unseen: Vec::new(),
            settled: None,
        }
    }

    /// A file begins. `false` where its tree is none of those that the log may have by what came before.
    pub(super) fn header(&mut self, header: &Segment) -> bool {
        let known = self.candidates.is_empty();
        let fits = self.candidates.iter().any(|candidate| {
            let mut tree = candidate.tree.clone();
            candidate
                .pending
                .into_iter()
                .for_each(|leaf| tree.push(leaf));
            tree == header.tree && candidate.offset == header.seq.saturating_sub(tree.size())
        });
        if !fits {
            let mut candidate = Candidate {
                origin: header.tree.size(),
                offset: header.seq.saturating_sub(header.tree.size()),
                tree: header.tree.clone(),
                last: (header.tree.size() > 0).then_some(header.prev),
                pending: None,
                next: None,
                agreed: None,
                disagreed: None,
                replaced: Vec::new(),
            };
            let at = header.tree.size();
            candidate.next = self.signed.range(at..).next().map(|(size, _)| *size);
            self.compare(&mut candidate);
            self.candidates.insert(0, candidate);
            self.candidates.truncate(MANY);
        }
        fits || known
    }

    /// A record, as it stands in the log.
    pub(super) fn record(&mut self, seq: u64, prev: &Hash, leaf: Hash) {
        // the one tree of a whole chain, without an allocation
        if let [candidate] = self.candidates.as_mut_slice()
            && candidate.tree.size() + candidate.offset + 2 == seq
            && candidate.pending == Some(*prev)
        {
            candidate.pending = Some(leaf);
            candidate.push_raw(*prev);
            if candidate.next != Some(candidate.tree.size()) {
                return;
            }
            if let Some(mut candidate) = self.candidates.pop() {
                self.compare(&mut candidate);
                self.candidates.push(candidate);
            }
            return;
        }
        self.branch(seq, prev, leaf);
    }

    /// The same where there are several trees, or where it doesn't follow in the one.
    fn branch(&mut self, seq: u64, prev: &Hash, leaf: Hash) {
        let mut next = Vec::with_capacity(self.candidates.len());
        for mut candidate in std::mem::take(&mut self.candidates) {
            let size = candidate.tree.size();
            // how many leaves there are before it by its number
            let before = seq.saturating_sub(candidate.offset).saturating_sub(1);
            match candidate.pending {
                Some(pending) if before == size + 1 => {
                    if pending != *prev {
                        // as it stands, though its successor speaks of another one
                        let mut other = candidate.clone();
                        self.push(&mut other, pending);
                        other.pending = Some(leaf);
                        next.push(other);
                        candidate.replaced.push(before + candidate.offset);
                    }
                    self.push(&mut candidate, *prev);
                    candidate.pending = Some(leaf);
                }
                Some(pending) if before == size + 2 => {
                    // the one in between is gone, but its hash is known
                    self.push(&mut candidate, pending);
                    self.push(&mut candidate, *prev);
                    candidate.pending = Some(leaf);
                }
                Some(_) if before == size && candidate.last.is_none_or(|last| last == *prev) => {
                    // either this one or the one before was put in
                    next.push(candidate.clone());
                    candidate.pending = Some(leaf);
                }
                None if before == size => candidate.pending = Some(leaf),
                None if before == size + 1 => {
                    self.push(&mut candidate, *prev);
                    candidate.pending = Some(leaf);
                }
                // out of its order, or behind a gap over which nothing is known
                Some(_) | None => {}
            }
            next.push(candidate);
        }
        // the more they believe of what stands there, the later
        next.sort_by_key(|candidate| candidate.replaced.len());
        next.truncate(MANY);
        self.candidates = next;
        self.settle();
    }

    /// The log ends.
    pub(super) fn end(&mut self) {
        for mut candidate in std::mem::take(&mut self.candidates) {
            if let Some(leaf) = candidate.pending.take() {
                self.push(&mut candidate, leaf);
            }
            self.candidates.push(candidate);
        }
        self.settle();
    }

    /// How many records the log has by its trees, and how many numbers have none.
    pub(super) fn size(&self) -> Option<(u64, u64)> {
        let sizes = self
            .candidates
            .iter()
            .map(|one| (one.tree.size(), one.offset));
        sizes.max()
    }

    fn push(&mut self, candidate: &mut Candidate, leaf: Hash) {
        candidate.push_raw(leaf);
        self.compare(candidate);
    }

    /// Compares with what was signed for this size, if anything was.
    fn compare(&mut self, candidate: &mut Candidate) {
        let size = candidate.tree.size();
        if candidate.next != Some(size) {
            return;
        }
        candidate.next = self.signed.range(size + 1..).next().map(|(size, _)| *size);
        let root = candidate.tree.root();
        let roots = self.signed.get(&size).map(Vec::as_slice);
        if roots.unwrap_or_default().contains(&root) {
            self.said.insert(size, Said::Agrees);
            self.agreed.insert((size, root));
            candidate.agreed = Some(size);
            self.up_to = self.up_to.max(Some(size + candidate.offset));
            if let Some(before) = candidate.disagreed {
                self.forked.get_or_insert((before, size));
            }
            self.replaced.append(&mut candidate.replaced);
        } else {
            self.said.entry(size).or_insert(Said::Disagrees);
            candidate.disagreed.get_or_insert(size);
        }
    }

    /// Drops trees that can't be the log's any more.
    fn settle(&mut self) {
        let agreed = self.candidates.iter().filter_map(|one| one.agreed).max();
        let Some(agreed) = agreed.filter(|_| self.candidates.len() > 1 && agreed != self.settled)
        else {
            return;
        };
        self.settled = Some(agreed);
        let those = |one: &&Candidate| one.agreed == Some(agreed);
        if let Some(found) = self
            .candidates
            .iter()
            .filter(those)
            .min_by_key(|one| one.origin)
        {
            let earlier = self
                .said
                .range(..agreed)
                .rev()
                .find(|(_, said)| **said == Said::Agrees);
            let since = earlier.map_or(0, |(size, _)| *size);
            let lines = |one: &Candidate| one.origin < found.origin && one.tree.size() >= agreed;
            let range = (since + found.offset, found.origin + found.offset);
            match self.candidates.iter().any(|one| one.origin < found.origin) {
                true if found.origin <= since => {}
                true if self.candidates.iter().any(lines) => self.unlike.push(range),
                true => self.unseen.push(range),
                false => {}
            }
        }
        // a later header's tree had nothing to agree with yet
        self.candidates
            .retain(|one| one.agreed == Some(agreed) || one.origin > agreed);
        // the same tree once
        let mut kept: Vec<Candidate> = Vec::with_capacity(self.candidates.len());
        for one in std::mem::take(&mut self.candidates) {
            if !kept
                .iter()
                .any(|k| k.tree == one.tree && k.pending == one.pending)
            {
                kept.push(one);
            }
        }
        self.candidates = kept;
    }
}

impl Candidate {
    fn push_raw(&mut self, leaf: Hash) {
        self.tree.push(leaf);
        self.last = Some(leaf);
    }
}

/// So many trees are followed.
const MANY: usize = 16;
