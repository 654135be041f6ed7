//! What is to be read from a body, as a trie over the reference tokens of its pointers.
//!
//! A walk that follows a document down the trie learns at each node all there is to do there: which slot the
//! value fills, and which closed lists it must not stray from. It keeps no state of its own for that.

use std::collections::BTreeMap;

use crate::policy::fault::Fault;
use crate::policy::json::scan::MAX_DEPTH;
use crate::policy::json::{Pointer, array_index, fold};

/// Closed lists, a bit each.
pub(super) type Lists = u64;

/// How many closed lists fit into one trie.
pub(super) const LISTS: usize = 64;

/// A place in a body that a field or a closed list names, or that leads to one.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Its pointer as text.
    pub(super) pointer: Box<str>,
    /// The slot that its value fills.
    pub(super) slot: Option<usize>,
    /// The lists that admit something further down, but not this place as a whole.
    pub(super) way: Lists,
    /// The lists that admit this place and all under it.
    pub(super) inside: Lists,
    // Sorted by their keys' length in characters, which case folding doesn't change.
    children: Vec<Child>,
    // A bit for each such length (63 and above share one).
    lengths: u64,
    // The children whose key is an array index, sorted: (index, place among the children).
    indexes: Vec<(usize, usize)>,
}

#[derive(Debug)]
struct Child {
    key: Box<str>,
    folded: Box<str>,
    chars: usize,
    // Whether a sibling's key differs only in case: then either key in a body equals a judged key but for case.
    ambiguous: bool,
    node: Node,
}

impl Node {
    /// The trie of fields, each with its slot, and of closed lists, at most [`LISTS`].
    pub(super) fn build<'p>(
        fields: impl Iterator<Item = (&'p Pointer, usize)>,
        lists: &[Vec<Pointer>],
    ) -> Node {
        let mut draft = Draft::default();
        for (pointer, slot) in fields {
            let (place, whole) = draft.place(pointer);
            if whole {
                place.slot = Some(slot);
            }
        }
        let mut all = 0;
        for (bit, list) in lists.iter().take(LISTS).enumerate() {
            let list_bit = 1 << bit;
            all |= list_bit;
            for pointer in list {
                // What a shorter pointer covers needs no closer look.
                let covered = list.iter().any(|other| leads_to(other, pointer));
                if covered {
                    continue;
                }
                match draft.place(pointer) {
                    (place, true) => place.inside |= list_bit,
                    (place, false) => place.leads |= list_bit,
                }
            }
        }
        draft.finish(String::new(), 0, all)
    }

    /// Whether anything is to be done under this place.
    pub(super) fn is_inner(&self) -> bool {
        self.way != 0 || !self.children.is_empty()
    }

    /// The child of this key; a key that equals a child's but for case is a fault.
    #[inline]
    pub(super) fn child(&self, key: &str) -> Result<Option<&Node>, Fault> {
        let chars = if key.is_ascii() {
            key.len()
        } else {
            key.chars().count()
        };
        if self.lengths & length_bit(chars) == 0 {
            return Ok(None);
        }
        let start = self.children.partition_point(|child| child.chars < chars);
        let alike = || {
            let tail = self.children.iter().skip(start);
            tail.take_while(|child| child.chars == chars)
        };
        match alike().find(|child| *child.key == *key) {
            Some(child) if child.ambiguous => Err(Fault::JsonKeyCase),
            Some(child) => Ok(Some(&child.node)),
            None if alike().any(|child| fold::folds_to(key, &child.folded)) => {
                Err(Fault::JsonKeyCase)
            }
            None => Ok(None),
        }
    }

    /// The children whose key is an array index, by that index.
    pub(super) fn elements(&self) -> impl Iterator<Item = (usize, &Node)> {
        let node = |place: usize| self.children.get(place).map(|child| &child.node);
        self.indexes
            .iter()
            .filter_map(move |(index, place)| Some((*index, node(*place)?)))
    }

    /// The keys of all children, with their nodes.
    pub(super) fn members(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.children.iter().map(|child| (&*child.key, &child.node))
    }
}

/// A node while the trie grows.
#[derive(Default)]
struct Draft {
    slot: Option<usize>,
    inside: Lists,
    /// The lists that admit something under this place that is too deep to be laid.
    leads: Lists,
    children: BTreeMap<Box<str>, Draft>,
}

impl Draft {
    /// The place of a pointer; or, where that is deeper than any document that is read, the last on the way
    /// there, and `false`.
    fn place(&mut self, pointer: &Pointer) -> (&mut Draft, bool) {
        let mut place = self;
        for token in pointer.tokens().iter().take(MAX_DEPTH) {
            place = place.children.entry(token.clone()).or_default();
        }
        (place, pointer.tokens().len() <= MAX_DEPTH)
    }

    /// Which lists reach this place or something under it.
    fn reached(&self) -> Lists {
        let below = self.children.values().map(Draft::reached);
        below.fold(self.inside | self.leads, |all, lists| all | lists)
    }

    /// `above`: the lists that admit something above this place; `reaching`: those that admit it or lead on from it.
    fn finish(self, pointer: String, above: Lists, reaching: Lists) -> Node {
        let inside = self.inside | above;
        let mut children: Vec<Child> = Vec::with_capacity(self.children.len());
        for (key, draft) in self.children {
            let reached = draft.reached();
            let node = draft.finish(step(&pointer, &key), inside, reached);
            children.push(Child {
                folded: key.chars().map(fold::fold).collect(),
                chars: key.chars().count(),
                ambiguous: false,
                key,
                node,
            });
        }
        let folded: Vec<Box<str>> = children.iter().map(|child| child.folded.clone()).collect();
        for child in &mut children {
            child.ambiguous = folded
                .iter()
                .filter(|other| **other == child.folded)
                .count()
                > 1;
        }
        children.sort_by_key(|child| child.chars);
        let places = children.iter().enumerate();
        let mut indexes: Vec<(usize, usize)> = places
            .filter_map(|(place, child)| Some((array_index(&child.key)?, place)))
            .collect();
        indexes.sort_unstable();
        Node {
            pointer: pointer.into(),
            slot: self.slot,
            way: reaching & !inside,
            inside,
            lengths: children
                .iter()
                .fold(0, |bits, child| bits | length_bit(child.chars)),
            children,
            indexes,
        }
    }
}

/// The pointer of a member, or of an element, as text.
pub(super) fn step(pointer: &str, token: &str) -> String {
    let mut text =
        String::with_capacity(pointer.len().saturating_add(token.len()).saturating_add(1));
    text.push_str(pointer);
    text.push('/');
    for character in token.chars() {
        match character {
            '~' => text.push_str("~0"),
            '/' => text.push_str("~1"),
            _ => text.push(character),
        }
    }
    text
}

/// Whether the one pointer is truly above the other.
fn leads_to(above: &Pointer, below: &Pointer) -> bool {
    above.tokens().len() < below.tokens().len() && below.tokens().starts_with(above.tokens())
}

#[inline]
fn length_bit(chars: usize) -> u64 {
    1 << chars.min(63)
}
