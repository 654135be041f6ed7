//! Templates of many policies in one tree of segments, asked where another template may meet them.

use std::cell::Cell;
use std::collections::BTreeMap;

use crate::policy::template::{Operation, Part};

/// Templates, each under the position of its policy.
#[derive(Debug)]
pub(super) struct Tree {
    root: Node,
    /// Nodes that may still be looked at, so that templates of many parameters take no quadratic time. Where it
    /// runs out, less is found.
    steps: Cell<usize>,
}

#[derive(Debug, Default)]
struct Node {
    /// By the literal in lower case, as forbids see it.
    literals: BTreeMap<String, Node>,
    any: Option<Box<Node>>,
    pattern: Option<Box<Node>>,
    end: Leaf,
    tail: Leaf,
}

/// The first policy of each method.
#[derive(Debug, Default)]
struct Leaf {
    any: Option<usize>,
    methods: BTreeMap<Box<str>, usize>,
}

const STEPS: usize = 20_000_000;

impl Default for Tree {
    fn default() -> Self {
        Self {
            root: Node::default(),
            steps: Cell::new(STEPS),
        }
    }
}

impl Tree {
    /// Adds a policy's operation.
    pub(super) fn insert(&mut self, operation: &Operation, policy: usize) {
        let mut node = &mut self.root;
        let mut tail = false;
        for part in &operation.template.parts {
            node = match part {
                Part::Literal(text) => node.literals.entry(text.to_ascii_lowercase()).or_default(),
                Part::Any => node.any.get_or_insert_default(),
                Part::Matches(_) => node.pattern.get_or_insert_default(),
                Part::Tail => {
                    tail = true;
                    break;
                }
            };
        }
        let leaf = if tail { &mut node.tail } else { &mut node.end };
        match &operation.methods {
            None => {
                leaf.any.get_or_insert(policy);
            }
            Some(methods) => {
                for method in methods {
                    leaf.methods.entry(method.clone()).or_insert(policy);
                }
            }
        }
    }

    /// A policy of this tree that some call of a forbid's operation is about as well.
    pub(super) fn meets(&self, forbid: &Operation) -> Option<usize> {
        self.meets_below(&self.root, &forbid.template.parts, forbid)
    }

    /// A forbid of this tree that every call of the operation is about as well.
    pub(super) fn covers(&self, operation: &Operation) -> Option<usize> {
        covers_below(&self.root, &operation.template.parts, operation)
    }

    fn meets_below(&self, node: &Node, parts: &[Part], forbid: &Operation) -> Option<usize> {
        self.steps.set(self.steps.get().checked_sub(1)?);
        let Some((part, rest)) = parts.split_first() else {
            return node.end.shares(forbid);
        };
        if let Some(found) = node.tail.shares(forbid) {
            return Some(found);
        }
        let children = || node.literals.values().chain(node.parameters());
        match part {
            Part::Literal(text) => node
                .literals
                .get(&text.to_ascii_lowercase())
                .into_iter()
                .chain(node.parameters())
                .find_map(|child| self.meets_below(child, rest, forbid)),
            Part::Any | Part::Matches(_) => {
                children().find_map(|child| self.meets_below(child, rest, forbid))
            }
            Part::Tail => children().find_map(|child| {
                child
                    .end
                    .shares(forbid)
                    .or_else(|| self.meets_below(child, parts, forbid))
            }),
        }
    }
}

impl Node {
    fn parameters(&self) -> impl Iterator<Item = &Node> {
        self.any.iter().chain(&self.pattern).map(|node| &**node)
    }
}

fn covers_below(node: &Node, parts: &[Part], operation: &Operation) -> Option<usize> {
    let Some((part, rest)) = parts.split_first() else {
        return node.end.includes(operation);
    };
    if let Some(found) = node.tail.includes(operation) {
        return Some(found);
    }
    let literal = match part {
        Part::Literal(text) => node.literals.get(&text.to_ascii_lowercase()),
        Part::Any | Part::Matches(_) => None,
        Part::Tail => return None,
    };
    literal
        .into_iter()
        .chain(node.any.as_deref())
        .find_map(|child| covers_below(child, rest, operation))
}

impl Leaf {
    /// A policy that speaks of one of a forbid's methods.
    fn shares(&self, forbid: &Operation) -> Option<usize> {
        let named = || match &forbid.methods {
            None => self.methods.values().next().copied(),
            Some(methods) => methods.iter().find_map(|method| {
                let head = self.methods.get("HEAD").filter(|_| **method == *"GET");
                self.methods.get(method).or(head).copied()
            }),
        };
        self.any.or_else(named)
    }

    /// A forbid, when each of the operation's methods is one that a forbid here speaks of.
    fn includes(&self, operation: &Operation) -> Option<usize> {
        if self.any.is_some() {
            return self.any;
        }
        let mut found = None;
        for method in operation.methods.as_deref()? {
            let get = self.methods.get("GET").filter(|_| **method == *"HEAD");
            found = Some(*self.methods.get(method).or(get)?);
        }
        found
    }
}
