//! The Merkle tree over a log's records (RFC 6962, section 2.1), as far as appending needs it.
//!
//! Of all the tree only the roots of the complete subtrees are kept that its size decomposes into: at most 64
//! hashes, from which the root follows and to which leaves are added. The same hash of a record is its leaf and
//! what the next record carries as `prev`, so that a record is hashed once.
//!
//! Deliberately absent: the leaves. Whoever proves something about one reads the log again.

use aws_lc_rs::digest::{SHA256, digest};

/// SHA-256.
pub type Hash = [u8; 32];

/// The hash that stands before the first record.
pub const ZERO: Hash = [0; 32];

/// The hash of a record: of a zero byte and its line without the line feed.
pub fn leaf(line: &[u8]) -> Hash {
    let mut text = Vec::with_capacity(line.len() + 1);
    text.push(LEAF);
    text.extend_from_slice(line);
    sha256(&text)
}

/// The hash of two subtrees.
pub fn node(left: &Hash, right: &Hash) -> Hash {
    let mut text = [NODE; 65];
    let (_, hashes) = text.split_at_mut(1);
    let (first, second) = hashes.split_at_mut(left.len());
    first.copy_from_slice(left);
    second.copy_from_slice(right);
    sha256(&text)
}

/// SHA-256 of these bytes.
pub(super) fn sha256(bytes: &[u8]) -> Hash {
    // SHA-256 is 32 bytes long; the zeros stand for a case that can't be
    digest(&SHA256, bytes).as_ref().try_into().unwrap_or(ZERO)
}

/// A tree that grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    /// Roots of complete subtrees, the largest and oldest first: one for each bit of the size.
    roots: Vec<Hash>,
}

impl Tree {
    /// A tree of so many leaves, from the roots of its complete subtrees; `None` where they don't fit the size.
    pub fn restore(size: u64, roots: Vec<Hash>) -> Option<Tree> {
        (size.count_ones() as usize == roots.len()).then_some(Tree { size, roots })
    }

    /// How many leaves it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of its complete subtrees, the largest and oldest first.
    pub fn roots(&self) -> &[Hash] {
        &self.roots
    }

    /// Adds a leaf: [`leaf`] of a record.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        // each complete subtree of the size that has now come together is joined with the one before it
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.roots.pop() {
                hash = node(&left, &hash);
            }
        }
        self.roots.push(hash);
        self.size += 1;
    }

    /// The root: of no leaves, the hash of nothing.
    pub fn root(&self) -> Hash {
        let mut roots = self.roots.iter().rev();
        match roots.next() {
            None => sha256(b""),
            Some(last) => roots.fold(*last, |right, left| node(left, &right)),
        }
    }
}

/// What is hashed before a leaf and before a node, so that neither can be taken for the other.
pub(super) const LEAF: u8 = 0;
const NODE: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of RFC 6962, section 2.1, by its words.
    fn defined(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => sha256(b""),
            [one] => *one,
            many => {
                let split = many.len().next_power_of_two() / 2;
                let (left, right) = many.split_at(split);
                node(&defined(left), &defined(right))
            }
        }
    }

    fn hex(text: &str) -> Hash {
        let digit = |at: usize| u8::from_str_radix(text.get(at..at + 2).unwrap(), 16).unwrap();
        std::array::from_fn(|index| digit(2 * index))
    }

    #[test]
    fn hashes_are_those_of_certificate_transparency() {
        // the empty tree, and the leaf of no bytes
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let nothing = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
        assert_eq!(Tree::default().root(), hex(empty));
        assert_eq!(leaf(b""), hex(nothing));
    }

    #[test]
    fn a_tree_that_grows_is_the_one_that_is_defined() {
        let leaves: Vec<Hash> = (0..200_u8).map(|number| leaf(&[number])).collect();
        let mut tree = Tree::default();
        for (size, next) in leaves.iter().enumerate() {
            assert_eq!(tree.root(), defined(leaves.split_at(size).0), "{size}");
            let restored = Tree::restore(tree.size(), tree.roots().to_vec());
            assert_eq!(restored.as_ref(), Some(&tree));
            tree.push(*next);
        }
    }

    #[test]
    fn roots_that_don_t_fit_the_size_restore_nothing() {
        for (size, roots) in [(0, 1), (1, 0), (3, 1), (3, 3), (4, 3)] {
            assert_eq!(Tree::restore(size, vec![ZERO; roots]), None, "{size}");
        }
    }
}
