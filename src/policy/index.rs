//! From method, host, path and subject to a handful of candidates.
//!
//! Two trees of path segments, one of permits and one of forbids, each under a root for every exact host and
//! one for the policies that name none. A node has its literal children in a hash map, so that a walk costs the
//! same among ten routes and a hundred thousand. At a leaf stand, by method, [`Group`]s of filed policies.
//!
//! Forbids match wider than permits: their literals ignore ASCII case, their leaves the trailing slash, a
//! forbid on GET covers HEAD, and every reading of the path that an upstream might take is walked.

mod group;
mod literals;
mod radix;
mod view;

use std::borrow::Cow;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use self::group::Group;
use self::literals::Literals;
pub(super) use self::view::PathView;
use super::compile::Policy;
use super::facts::FactRef;
use super::json::Json;
use super::matcher::pattern::Pattern;
use super::matcher::{Op, Operand};
use super::normalise::{Canonical, Reading};
use super::source::Effect;
use super::template::{Operation, Part};
use super::value::{Truth, Value};

/// One template of one policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    policy: u32,
    template: u16,
}

impl Entry {
    /// The policy's index in its set.
    pub(super) fn policy(self) -> usize {
        self.policy as usize
    }

    /// The template's index in its policy.
    pub(super) fn template(self) -> usize {
        usize::from(self.template)
    }
}

/// The index of a policy set.
#[derive(Debug, Default)]
pub(super) struct Index {
    permits: Tree,
    forbids: Tree,
}

/// A problem with one policy that shows only beside the others.
pub(super) type Crowded = (usize, String);

impl Index {
    /// Files every policy.
    pub(super) fn build(
        policies: &[Policy],
        operations: &[Vec<Operation>],
    ) -> Result<Index, Vec<Crowded>> {
        let mut problems = Vec::new();
        let mut index = Index {
            permits: Tree::new(false),
            forbids: Tree::new(true),
        };
        for (at, (policy, operations)) in policies.iter().zip(operations).enumerate() {
            let tree = match policy.effect {
                Effect::Permit => &mut index.permits,
                Effect::Forbid => &mut index.forbids,
            };
            for (template, operation) in operations.iter().enumerate() {
                let (Ok(policy_index), Ok(template)) = (u32::try_from(at), u16::try_from(template))
                else {
                    problems.push((at, "too many policies or operations".to_owned()));
                    continue;
                };
                let entry = Entry {
                    policy: policy_index,
                    template,
                };
                if let Err(error) = tree.insert(&exact_hosts(policy), operation, entry) {
                    problems.push((at, error));
                }
            }
        }
        index.permits.file(policies, &mut problems);
        index.forbids.file(policies, &mut problems);
        if problems.is_empty() {
            Ok(index)
        } else {
            // A policy stands at as many leaves as it has methods.
            problems.sort();
            problems.dedup();
            Err(problems)
        }
    }

    /// Visits the permits that may hold.
    pub(super) fn permits<'r, 'v>(
        &self,
        request: &'r Canonical,
        fact: impl Fn(&FactRef) -> Value<'v>,
        mut visit: impl FnMut(Entry, PathView<'r>),
    ) {
        let view = PathView::Canonical(request);
        self.permits.walk(request, |leaf| {
            leaf.candidates(request.method(), &view, &fact, |entry| {
                visit(entry, view.clone())
            });
        });
    }

    /// Visits the forbids that may apply. False where the path has more readings than are looked at.
    pub(super) fn forbids<'r, 'v>(
        &self,
        request: &'r Canonical,
        fact: impl Fn(&FactRef) -> Value<'v>,
        mut visit: impl FnMut(Entry, PathView<'r>),
    ) -> bool {
        if self.forbids.is_empty() {
            return true;
        }
        let view = PathView::Canonical(request);
        self.forbids.walk(request, |leaf| {
            leaf.candidates(request.method(), &view, &fact, |entry| {
                visit(entry, view.clone())
            });
        });
        request.readings().iter().all(|reading| {
            self.forbids.walk_reading(request, reading, |leaf, texts| {
                let view = PathView::Reading(texts.into());
                leaf.candidates(request.method(), &view, &fact, |entry| {
                    visit(entry, view.clone())
                });
            })
        })
    }
}

#[derive(Debug, Default)]
struct Tree {
    nodes: Vec<Node>,
    hosts: HashMap<Box<str>, u32, FixedState>,
    /// Of forbids: literals are kept in lower case, trailing slashes are ignored.
    wide: bool,
}

#[derive(Debug, Default)]
struct Node {
    literals: Literals,
    any: Option<u32>,
    patterns: Vec<(Pattern, u32)>,
    /// Where the path ends here: without a trailing slash, with one.
    end: [Option<Box<Leaf>>; 2],
    /// Where one segment or more follow.
    tail: [Option<Box<Leaf>>; 2],
}

/// The policies of one template, by method.
#[derive(Debug, Default)]
struct Leaf {
    any: Slot,
    methods: Vec<(Box<str>, Slot)>,
}

/// First what was gathered, then what was filed.
#[derive(Debug, Default)]
struct Slot {
    gathered: Vec<Entry>,
    group: Group,
}

/// Every policy that names no exact host stands under the first node.
const ANY_HOST: u32 = 0;

/// The most regexes that one segment is tried against.
const MAX_PATTERNS: usize = 32;

/// The most steps of one walk over a reading in which `%2F` may or may not part segments.
const MAX_STEPS: usize = 4_096;

impl Tree {
    fn new(wide: bool) -> Tree {
        Tree {
            nodes: vec![Node::default()],
            hosts: HashMap::default(),
            wide,
        }
    }

    fn is_empty(&self) -> bool {
        self.nodes.len() <= 1
            && self
                .node(ANY_HOST)
                .is_none_or(|n| n.end.iter().chain(&n.tail).all(Option::is_none))
    }

    fn node(&self, id: u32) -> Option<&Node> {
        self.nodes.get(id as usize)
    }

    fn insert(
        &mut self,
        hosts: &[Box<str>],
        operation: &Operation,
        entry: Entry,
    ) -> Result<(), String> {
        let roots: Vec<u32> = match hosts {
            [] => vec![ANY_HOST],
            hosts => hosts.iter().map(|host| self.root(host)).collect(),
        };
        for root in roots {
            let leaf = self.leaf(root, operation)?;
            leaf.add(operation.methods.as_deref(), entry);
        }
        Ok(())
    }

    fn root(&mut self, host: &str) -> u32 {
        if let Some(id) = self.hosts.get(host) {
            return *id;
        }
        let id = push(&mut self.nodes);
        self.hosts.insert(host.into(), id);
        id
    }

    fn leaf(&mut self, root: u32, operation: &Operation) -> Result<&mut Leaf, String> {
        let template = &operation.template;
        let (mut at, mut tail) = (root, false);
        for part in &template.parts {
            let next = match part {
                Part::Tail => {
                    tail = true;
                    break;
                }
                part => self.child(at, part)?,
            };
            at = next;
        }
        let slash = usize::from(template.trailing_slash && !self.wide);
        let node = self
            .nodes
            .get_mut(at as usize)
            .ok_or("the index is inconsistent")?;
        let ends = if tail { &mut node.tail } else { &mut node.end };
        let end = ends.get_mut(slash).ok_or("the index is inconsistent")?;
        Ok(end.get_or_insert_default())
    }

    fn child(&mut self, at: u32, part: &Part) -> Result<u32, String> {
        let next = u32::try_from(self.nodes.len()).map_err(|_| "too many routes")?;
        let wide = self.wide;
        let node = self
            .nodes
            .get_mut(at as usize)
            .ok_or("the index is inconsistent")?;
        let child = match part {
            Part::Literal(text) => {
                let key = if wide {
                    text.to_ascii_lowercase().into()
                } else {
                    text.clone()
                };
                node.literals.get_or_insert(key, next)
            }
            Part::Any => *node.any.get_or_insert(next),
            Part::Matches(pattern) => match node
                .patterns
                .iter()
                .find(|(known, _)| known.text() == pattern.text())
            {
                Some((_, child)) => *child,
                None if node.patterns.len() >= MAX_PATTERNS => {
                    return Err(format!(
                        "more than {MAX_PATTERNS} regexes at the same place of a path; judge the parameter under `path` instead"
                    ));
                }
                None => {
                    node.patterns.push((pattern.clone(), next));
                    next
                }
            },
            Part::Tail => return Err("the index is inconsistent".to_owned()),
        };
        if child == next {
            push(&mut self.nodes);
        }
        Ok(child)
    }

    fn file(&mut self, policies: &[Policy], problems: &mut Vec<Crowded>) {
        self.nodes.shrink_to_fit();
        for node in &mut self.nodes {
            for leaf in node.end.iter_mut().chain(&mut node.tail).flatten() {
                let slots = std::iter::once(&mut leaf.any)
                    .chain(leaf.methods.iter_mut().map(|(_, slot)| slot));
                for slot in slots {
                    match Group::build(std::mem::take(&mut slot.gathered), policies) {
                        Ok(group) => slot.group = group,
                        Err((entry, error)) => problems.push((entry.policy(), error)),
                    }
                }
            }
        }
    }

    fn roots(&self, host: &str) -> impl Iterator<Item = u32> + use<> {
        std::iter::once(ANY_HOST).chain(self.hosts.get(host).copied())
    }

    fn literal(&self, node: &Node, text: &str) -> Option<u32> {
        if matches!(node.literals, Literals::None) {
            return None;
        }
        if self.wide && text.bytes().any(|b| b.is_ascii_uppercase()) {
            return node.literals.get(&text.to_ascii_lowercase());
        }
        node.literals.get(text)
    }

    /// Visits every node that a segment of this text leads to.
    fn children(&self, node: &Node, text: &str, mut visit: impl FnMut(u32)) {
        self.literal(node, text).into_iter().for_each(&mut visit);
        if !text.is_empty() {
            node.any.into_iter().for_each(&mut visit);
            // What can't be told counts against the request, as everywhere.
            let fits = |truth| {
                if self.wide {
                    truth != Truth::False
                } else {
                    truth == Truth::True
                }
            };
            node.patterns
                .iter()
                .filter(|(p, _)| fits(p.test(text)))
                .for_each(|(_, child)| visit(*child));
        }
    }

    /// Visits every leaf that the canonical path reaches.
    fn walk(&self, path: &Canonical, mut visit: impl FnMut(&Leaf)) {
        let count = path.segments();
        let slash = usize::from(path.trailing_slash() && !self.wide);
        let mut open: SmallVec<[(u32, usize); 16]> =
            self.roots(path.host()).map(|root| (root, 0)).collect();
        while let Some((id, at)) = open.pop() {
            let Some(node) = self.node(id) else { continue };
            let ends = if at < count { &node.tail } else { &node.end };
            if let Some(Some(leaf)) = ends.get(slash) {
                visit(leaf);
            }
            if at < count {
                self.children(node, path.segment(at), |child| open.push((child, at + 1)));
            }
        }
    }

    /// Visits every leaf that a reading reaches, with the texts that its template's parts took. A part takes one
    /// piece, or a whole segment of several. False where that has too many ways.
    fn walk_reading<'r>(
        &self,
        path: &Canonical,
        reading: &'r Reading,
        mut visit: impl FnMut(&Leaf, Vec<Cow<'r, str>>),
    ) -> bool {
        let pieces = &reading.pieces;
        let mut open: Vec<(u32, usize, Vec<Cow<'r, str>>)> = self
            .roots(path.host())
            .map(|root| (root, 0, Vec::new()))
            .collect();
        let mut steps = 0;
        while let Some((id, at, texts)) = open.pop() {
            steps += 1;
            if steps > MAX_STEPS {
                return false;
            }
            let Some(node) = self.node(id) else { continue };
            let Some((first, rest)) = pieces.get(at..).and_then(<[_]>::split_first) else {
                if let [Some(leaf), _] = &node.end {
                    visit(leaf, texts);
                }
                continue;
            };
            if let [Some(leaf), _] = &node.tail {
                let mut texts = texts.clone();
                texts.extend(
                    pieces
                        .iter()
                        .skip(at)
                        .map(|piece| Cow::Borrowed(&*piece.text)),
                );
                visit(leaf, texts);
            }
            let mut step = |text: Cow<'r, str>, next: usize| {
                self.children(node, &text, |child| {
                    let mut texts = texts.clone();
                    texts.push(text.clone());
                    open.push((child, next, texts));
                });
            };
            let inside = rest.iter().take_while(|piece| !piece.begins);
            let more = inside.clone().count();
            if first.begins && more > 0 {
                let joined = inside.fold(first.text.to_string(), |text, piece| {
                    text + "/" + &piece.text
                });
                step(Cow::Owned(joined), at + 1 + more);
            }
            step(Cow::Borrowed(&*first.text), at + 1);
        }
        true
    }
}

impl Leaf {
    fn add(&mut self, methods: Option<&[Box<str>]>, entry: Entry) {
        let Some(methods) = methods else {
            self.any.gathered.push(entry);
            return;
        };
        for method in methods {
            match self.methods.iter_mut().find(|(known, _)| known == method) {
                Some((_, slot)) => slot.gathered.push(entry),
                None => self.methods.push((
                    method.clone(),
                    Slot {
                        gathered: vec![entry],
                        group: Group::default(),
                    },
                )),
            }
        }
    }

    fn candidates<'r, 'v>(
        &self,
        method: &str,
        view: &PathView<'r>,
        fact: &impl Fn(&FactRef) -> Value<'v>,
        mut visit: impl FnMut(Entry),
    ) {
        let named = self
            .methods
            .iter()
            .find(|(known, _)| **known == *method)
            .map(|(_, slot)| slot);
        for slot in std::iter::once(&self.any).chain(named) {
            slot.group.candidates(view, fact, &mut visit);
        }
    }
}

/// The hosts of a policy that says them literally; empty where it doesn't.
fn exact_hosts(policy: &Policy) -> Vec<Box<str>> {
    let text = |operand: &Operand| match operand {
        Operand::Literal(Json::Text(text)) => Some(text.clone()),
        _ => None,
    };
    let ops = policy
        .conditions
        .iter()
        .filter(|c| c.fact == FactRef::Host)
        .flat_map(|c| &c.matcher.ops);
    ops.filter_map(|op| match op {
        Op::Eq(operand) => Some(vec![text(operand)?]),
        Op::In(members) => members.iter().map(text).collect(),
        _ => None,
    })
    .next()
    .unwrap_or_default()
}

fn push(nodes: &mut Vec<Node>) -> u32 {
    nodes.push(Node::default());
    u32::try_from(nodes.len() - 1).unwrap_or(u32::MAX)
}
