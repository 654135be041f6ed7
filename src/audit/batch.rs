//! Lines on their way to the sink, each with its hash.

use super::tree::Hash;

/// Whole lines, and the hash of each. What the sink takes leaves it from the front.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    leaves: Vec<Hash>,
}

impl Batch {
    /// An empty batch with room for so many bytes.
    pub(super) fn with_capacity(bytes: usize) -> Batch {
        Batch {
            bytes: Vec::with_capacity(bytes),
            leaves: Vec::new(),
        }
    }

    /// Adds a line, which comes without its line feed.
    pub(super) fn push(&mut self, line: &[u8], leaf: Hash) {
        self.bytes.extend_from_slice(line);
        self.bytes.push(b'\n');
        self.leaves.push(leaf);
    }

    /// Takes the last line out again; it has so many bytes, its line feed included.
    pub(super) fn pop(&mut self, bytes: usize) {
        self.bytes.truncate(self.bytes.len().saturating_sub(bytes));
        self.leaves.pop();
    }

    /// Takes the lines of the first so many bytes out, and gives back their hashes.
    pub(super) fn take_front(&mut self, bytes: usize) -> Vec<Hash> {
        let rest = self.bytes.split_off(bytes.min(self.bytes.len()));
        let taken = std::mem::replace(&mut self.bytes, rest);
        let lines = memchr::memchr_iter(b'\n', &taken).count();
        let rest = self.leaves.split_off(lines.min(self.leaves.len()));
        std::mem::replace(&mut self.leaves, rest)
    }

    /// The hashes, in their order; the batch is empty then, and keeps its room.
    pub(super) fn clear(&mut self) -> std::vec::Drain<'_, Hash> {
        self.bytes.clear();
        self.leaves.drain(..)
    }

    /// Appends another batch's lines.
    pub(super) fn append(&mut self, other: &mut Batch) {
        self.bytes.append(&mut other.bytes);
        self.leaves.append(&mut other.leaves);
    }

    /// The lines.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many lines there are.
    pub(super) fn lines(&self) -> usize {
        self.leaves.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }
}
