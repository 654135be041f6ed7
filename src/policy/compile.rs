//! Policies become a [`PolicySet`]: checked against each other, indexed, immutable.

use std::sync::Arc;

use aws_lc_rs::digest;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use http::HeaderName;

use super::index::Index;
use super::source::{
    self, BodyIds, BodyRule, Condition, Draft, Effect, Mode, QueryRule, Setting, Subject,
};
use super::template::{Operation, Span};
use super::window::Window;
use crate::yaml::{self, At, Mark, Node, Problem, Problems, Yaml};

/// A policy file's name and text.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// The name for problems.
    pub name: Arc<str>,
    /// The YAML.
    pub text: String,
}

/// All policies, compiled; immutable.
#[derive(Debug)]
pub struct PolicySet {
    digest: Box<str>,
    pub(super) policies: Vec<Policy>,
    pub(super) index: Index,
}

/// What people are shown of a policy.
#[derive(Clone, Copy, Debug)]
pub struct Summary<'s> {
    /// Its id.
    pub id: &'s str,
    /// One sentence, if it has one.
    pub about: Option<&'s str>,
    /// Permit or forbid.
    pub effect: Effect,
    /// Enforce or shadow.
    pub mode: Mode,
}

/// One policy, compiled.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) id: Arc<str>,
    pub(super) about: Option<Box<str>>,
    pub(super) effect: Effect,
    pub(super) mode: Mode,
    pub(super) templates: Box<[CompiledTemplate]>,
    pub(super) subject: Subject,
    pub(super) conditions: Box<[Condition]>,
    pub(super) query: QueryRule,
    pub(super) headers: Box<[HeaderName]>,
    pub(super) headers_closed: bool,
    pub(super) body: BodyRule,
    pub(super) window: Option<Window>,
    /// The permits that lift this forbid.
    pub(super) unless: Box<[u32]>,
    pub(super) websocket: bool,
    pub(super) set_headers: Box<[(HeaderName, Setting)]>,
}

/// A template, and where it holds the parameters that the policy reads.
#[derive(Debug)]
pub(super) struct CompiledTemplate {
    pub(super) text: Arc<str>,
    pub(super) captures: Box<[Span]>,
}

impl PolicySet {
    /// Compiles the policies of all files; every problem of every file at once.
    pub fn load(files: &[SourceFile]) -> Result<PolicySet, Vec<Problem>> {
        let mut ids = BodyIds::default();
        let (mut drafts, mut problems) = (Vec::new(), Vec::new());
        let mut digests = Vec::new();
        for file in files {
            let mut found = Problems::new(file.name.clone());
            if let Some(root) = yaml::parse(&file.text, &mut found) {
                drafts.append(&mut source::read(&At::root(&root), &mut ids, &mut found));
                digests.extend(policy_digests(&root));
            }
            problems.append(&mut found.into_vec());
        }
        let by_id = check_ids(&drafts, &mut problems);
        check_unless(&drafts, &by_id, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let places: Vec<Place> = drafts
            .iter()
            .map(|d| (d.file.clone(), d.mark, d.key.clone()))
            .collect();
        let mut policies = Vec::with_capacity(drafts.len());
        let mut operations = Vec::with_capacity(drafts.len());
        for mut draft in drafts {
            operations.push(widened(
                &draft.effect,
                std::mem::take(&mut draft.operations),
            ));
            policies.push(Policy::new(
                draft,
                operations.last().map_or(&[], Vec::as_slice),
                &by_id,
            ));
        }
        let index =
            Index::build(&policies, &operations).map_err(|crowded| located(crowded, &places))?;
        digests.sort_unstable();
        let digest = digest::digest(&digest::SHA256, &digests.concat());
        Ok(PolicySet {
            digest: hex(digest.as_ref()).into(),
            policies,
            index,
        })
    }

    /// SHA-256 over the policies in canonical form, lower-case hex: formatting and order don't change it.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// How many policies there are.
    pub fn len(&self) -> usize {
        self.policies.len()
    }

    /// Whether there are none; such a set denies everything.
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// The names of the headers that its permits set, which are nobody else's to send.
    pub fn headers_set(&self) -> impl Iterator<Item = &HeaderName> {
        let set = self.policies.iter().flat_map(|policy| &policy.set_headers);
        set.map(|(name, _)| name)
    }

    /// The fields of bodies that enforced policies judge: each policy's id, and the name of the field.
    pub fn judged_fields(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        let enforced = self.policies.iter().filter(|p| p.mode == Mode::Enforce);
        enforced.flat_map(|policy| {
            let judged = match &policy.body {
                BodyRule::Judged(judged) => Some(judged.fields()),
                BodyRule::None | BodyRule::Any => None,
            };
            let fields = judged.into_iter().flatten();
            fields.map(move |condition| (&policy.id, &condition.label))
        })
    }

    /// The policies, for people to see.
    pub fn summaries(&self) -> impl Iterator<Item = Summary<'_>> {
        self.policies.iter().map(|p| Summary {
            id: &p.id,
            about: p.about.as_deref(),
            effect: p.effect,
            mode: p.mode,
        })
    }
}

impl Policy {
    fn new(draft: Draft, operations: &[Operation], by_id: &ById) -> Policy {
        let captures = |operation: &Operation| {
            draft
                .captured
                .iter()
                .filter_map(|name| operation.template.parameter(name))
                .map(|p| p.span)
                .collect()
        };
        let templates = operations
            .iter()
            .map(|operation| CompiledTemplate {
                text: operation.template.text.clone(),
                captures: captures(operation),
            })
            .collect();
        let unless = draft
            .unless
            .iter()
            .filter_map(|(id, _)| by_id.get(id)?.0.try_into().ok())
            .collect();
        Policy {
            id: draft.id,
            about: draft.about,
            effect: draft.effect,
            mode: draft.mode,
            templates,
            subject: draft.subject,
            conditions: draft.conditions.into(),
            query: draft.query,
            headers: draft.headers.into(),
            headers_closed: draft.headers_closed,
            body: draft.body,
            window: draft.window,
            unless,
            websocket: draft.websocket,
            set_headers: draft.set_headers.into(),
        }
    }
}

/// Each id's index and effect.
type ById = HashMap<Arc<str>, (usize, Effect), FixedState>;

/// The most unknown ids for which a near one is looked for.
const MOST_GUESSES: usize = 16;

/// Where a policy stands.
type Place = (Arc<str>, Mark, Box<str>);

fn check_ids(drafts: &[Draft], problems: &mut Vec<Problem>) -> ById {
    let mut by_id = ById::default();
    for (at, draft) in drafts.iter().enumerate() {
        if let Some((first, ..)) = by_id.get(&draft.id) {
            let place = drafts
                .get(*first)
                .map(|d| format!("{}:{}:{}", d.file, d.mark.line, d.mark.column));
            let message = format!(
                "the id `{}` is taken at {}",
                draft.id,
                place.unwrap_or_default()
            );
            problems.push(problem(draft, draft.mark, "id", message));
            continue;
        }
        by_id.insert(draft.id.clone(), (at, draft.effect));
    }
    by_id
}

fn check_unless(drafts: &[Draft], by_id: &ById, problems: &mut Vec<Problem>) {
    let known: Vec<&str> = drafts.iter().map(|draft| &*draft.id).collect();
    let mut told = 0;
    for draft in drafts {
        for (id, mark) in &draft.unless {
            let message = match by_id.get(id) {
                // A shadow permit may stand here and lifts nothing, so that a permit can be tried out.
                Some((_, Effect::Permit)) => continue,
                Some((_, Effect::Forbid)) => {
                    format!("`{id}` is a forbid; only permits lift a forbid")
                }
                None => {
                    // To look for a near one takes time: where much is wrong, the first ones will do.
                    told += 1;
                    let near = (told <= MOST_GUESSES).then(|| yaml::nearest(id, &known));
                    match near.flatten() {
                        Some(near) => {
                            format!("no policy has the id `{id}`; did you mean `{near}`?")
                        }
                        None => format!("no policy has the id `{id}`"),
                    }
                }
            };
            problems.push(problem(draft, *mark, "unless", message));
        }
    }
}

fn problem(draft: &Draft, mark: Mark, key: &str, message: String) -> Problem {
    Problem {
        file: draft.file.clone(),
        mark: Some(mark),
        key: format!("{}.{key}", draft.key),
        message,
    }
}

fn located(crowded: Vec<(usize, String)>, places: &[Place]) -> Vec<Problem> {
    let locate = |(at, message): (usize, String)| {
        let (file, mark, key) = places.get(at)?;
        Some(Problem {
            file: file.clone(),
            mark: Some(*mark),
            key: key.to_string(),
            message,
        })
    };
    crowded.into_iter().filter_map(locate).collect()
}

/// A forbid on GET covers HEAD, which answers with the same headers.
fn widened(effect: &Effect, mut operations: Vec<Operation>) -> Vec<Operation> {
    if *effect == Effect::Forbid {
        for methods in operations.iter_mut().filter_map(|o| o.methods.as_mut()) {
            if methods.iter().any(|m| **m == *"GET") && !methods.iter().any(|m| **m == *"HEAD") {
                methods.push("HEAD".into());
            }
        }
    }
    operations
}

/// The digest of each policy of a file.
fn policy_digests(root: &Node) -> Vec<[u8; 32]> {
    let Yaml::Map(entries) = &root.value else {
        return Vec::new();
    };
    let Some((
        _,
        Node {
            value: Yaml::List(policies),
            ..
        },
    )) = entries.iter().find(|(key, _)| key.text == "policies")
    else {
        return Vec::new();
    };
    let mut buffer = Vec::new();
    let digest_of = |policy| {
        buffer.clear();
        write_canonical(policy, &mut buffer);
        digest::digest(&digest::SHA256, &buffer)
            .as_ref()
            .try_into()
            .unwrap_or_default()
    };
    policies.iter().map(digest_of).collect()
}

/// Type, length and content, keys sorted: no two different values are written alike.
fn write_canonical(node: &Node, out: &mut Vec<u8>) {
    let mut put = |tag: u8, text: &str| {
        out.push(tag);
        out.extend_from_slice(&(text.len() as u64).to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    };
    match &node.value {
        Yaml::Null => put(b'0', ""),
        Yaml::Bool(value) => put(b'b', if *value { "1" } else { "0" }),
        Yaml::Number(text) => put(b'n', text),
        Yaml::Text(text) => put(b't', text),
        Yaml::List(items) => {
            put(b'l', &items.len().to_string());
            items.iter().for_each(|item| write_canonical(item, out));
        }
        Yaml::Map(entries) => {
            put(b'm', &entries.len().to_string());
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by(|a, b| a.0.text.cmp(&b.0.text));
            for (key, value) in sorted {
                out.extend_from_slice(&(key.text.len() as u64).to_be_bytes());
                out.extend_from_slice(key.text.as_bytes());
                write_canonical(value, out);
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String can't fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests;
