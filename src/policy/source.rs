//! A policy file becomes [`Draft`]s: typed, checked one by one, each problem with its place.
//!
//! What needs more than one policy to check (`unless`, equal ids, the size of the index) is left to
//! [`compile`](super::compile).

mod body;
mod then;
mod when;
mod who;
mod wire;

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};
use http::{HeaderName, HeaderValue};

use super::body::Projection;
use super::facts::FactRef;
use super::json::{Json, Pointer};
use super::matcher::{Kind, Matcher, Names};
use super::template::Operation;
use super::window::Window;
use crate::yaml::{At, Fields, Mark, Node, Problems, Yaml};

pub use body::{BodyRule, FORM, Judged, is_json};

/// The keys of a policy file.
pub const FILE_KEYS: &[&str] = &["version", "policies"];

/// The keys of a policy.
pub const POLICY_KEYS: &[&str] = &[
    "id", "about", "effect", "mode", "do", "host", "who", "path", "query", "headers", "client",
    "body", "when", "needs", "unless", "limits", "upgrade", "then",
];

/// Whether a policy admits or refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It admits what it describes.
    Permit,
    /// It refuses what it describes, whatever permits say.
    Forbid,
}

/// Whether a policy counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    Enforce,
    /// It is evaluated and recorded only.
    Shadow,
}

impl Effect {
    /// Its name in a policy.
    pub const fn name(self) -> &'static str {
        match self {
            Effect::Permit => "permit",
            Effect::Forbid => "forbid",
        }
    }
}

impl Mode {
    /// Its name in a policy.
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Enforce => "enforce",
            Mode::Shadow => "shadow",
        }
    }
}

/// Who must be asking, besides the conditions on the principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Somebody authenticated.
    Authenticated,
    /// Anybody.
    Anyone,
}

/// When in a decision a condition can be evaluated. Later parts are looked at only for what earlier ones leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Host, path, principal, client address.
    Match,
    /// Query and headers, which can be ambiguous.
    Wire,
    /// The body.
    Body,
}

/// One condition: a fact and what it must be.
#[derive(Clone, Debug)]
pub struct Condition {
    /// How a denial names the fact: `path/account`, `body/branch`.
    pub label: Arc<str>,
    /// The fact.
    pub fact: FactRef,
    /// What it must be.
    pub matcher: Matcher,
    /// When it can be evaluated.
    pub stage: Stage,
}

/// What a policy says of the query as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryRule {
    /// There is none.
    None,
    /// It is not looked at, but for the conditions.
    Any,
    /// No other names than these.
    Only(Vec<Box<str>>),
}

/// A header's value by `then.set_headers`.
#[derive(Clone, Debug)]
pub enum Setting {
    /// Written in the policy.
    Value(HeaderValue),
    /// Taken from a fact.
    Fact(FactRef),
}

/// One policy as written.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The file.
    pub file: Arc<str>,
    /// Where its id stands.
    pub mark: Mark,
    /// The key path, such as `policies[2]`.
    pub key: Box<str>,
    /// Its unique name.
    pub id: Arc<str>,
    /// One sentence for humans.
    pub about: Option<Box<str>>,
    /// Permit or forbid.
    pub effect: Effect,
    /// Enforce or shadow.
    pub mode: Mode,
    /// Which calls.
    pub operations: Vec<Operation>,
    /// The path parameters that conditions read; [`FactRef::Path`] counts in here.
    pub captured: Vec<Box<str>>,
    /// Who must ask.
    pub subject: Subject,
    /// All conditions but those on the body, in the order of their stages.
    pub conditions: Vec<Condition>,
    /// The query as a whole.
    pub query: QueryRule,
    /// Headers that conditions name or `only` admits; a permit forwards them.
    pub headers: Vec<HeaderName>,
    /// Whether any other header that isn't inert refuses.
    pub headers_closed: bool,
    /// The body.
    pub body: BodyRule,
    /// The time.
    pub window: Option<Window>,
    /// Ids of permits that lift this forbid.
    pub unless: Vec<(Arc<str>, Mark)>,
    /// Whether this speaks of WebSocket handshakes.
    pub websocket: bool,
    /// Headers to set.
    pub set_headers: Vec<(HeaderName, Setting)>,
}

/// The ids under which a policy set's bodies are read: one for each pointer, one for each closed list.
#[derive(Debug, Default)]
pub struct BodyIds {
    fields: HashMap<Pointer, u32, FixedState>,
    lists: HashMap<Vec<Pointer>, u32, FixedState>,
    /// What many policies read alike is worked out and kept once.
    projections: HashMap<Reading, Projection, FixedState>,
    labels: HashSet<Arc<str>, FixedState>,
}

/// What one policy reads of a body: its fields, and its closed list.
type Reading = (Vec<(Pointer, u32)>, Option<u32>);

impl BodyIds {
    /// The id of this pointer.
    pub fn field(&mut self, pointer: &Pointer) -> u32 {
        let next = u32::try_from(self.fields.len()).unwrap_or(u32::MAX);
        *self.fields.entry(pointer.clone()).or_insert(next)
    }

    /// The label, shared with all policies that judge a fact of this name.
    fn label(&mut self, text: &str) -> Arc<str> {
        self.labels
            .get_or_insert_with(text, |text| text.into())
            .clone()
    }

    /// The projection of these fields, sorted, and of what `only` admits, with the latter's id.
    pub fn projection(
        &mut self,
        fields: Vec<(Pointer, u32)>,
        only: Option<Vec<Pointer>>,
    ) -> (Projection, Option<u32>) {
        let only = only.map(|mut list| {
            list.sort();
            list.dedup();
            let next = u32::try_from(self.lists.len()).unwrap_or(u32::MAX);
            (*self.lists.entry(list.clone()).or_insert(next), list)
        });
        let id = only.as_ref().map(|(id, _)| *id);
        let known = self.projections.entry((fields, id));
        let projection = known.or_insert_with_key(|(fields, _)| {
            Projection::new(fields, &only.into_iter().collect::<Vec<_>>())
        });
        (projection.clone(), id)
    }
}

/// Reads every policy of a file. Policies with a problem are left out; the set is refused as a whole then.
pub fn read(root: &At<'_>, fields: &mut BodyIds, problems: &mut Problems) -> Vec<Draft> {
    let Some(file) = root.fields(FILE_KEYS, problems) else {
        return Vec::new();
    };
    if let Some(version) = file.required("version", problems) {
        version.integer(1, 1, problems);
    }
    let Some(policies) = file.required("policies", problems) else {
        return Vec::new();
    };
    let items = policies.items(problems);
    items
        .iter()
        .filter_map(|at| Reader::new(fields, problems).policy(at))
        .collect()
}

/// What is gathered while one policy is read.
struct Reader<'p> {
    problems: &'p mut Problems,
    scope: NameScope<'p>,
    conditions: Vec<Condition>,
}

/// Resolves `$…` for one policy.
struct NameScope<'p> {
    fields: &'p mut BodyIds,
    /// Parameters that every template has; others can't be referred to.
    parameters: Vec<Box<str>>,
    captured: Vec<Box<str>>,
    /// Body pointers that `$body/…` refers to.
    body: Vec<(Pointer, u32)>,
}

impl<'p> Reader<'p> {
    fn new(fields: &'p mut BodyIds, problems: &'p mut Problems) -> Self {
        let scope = NameScope {
            fields,
            parameters: Vec::new(),
            captured: Vec::new(),
            body: Vec::new(),
        };
        Self {
            problems,
            scope,
            conditions: Vec::new(),
        }
    }

    fn policy(mut self, at: &At<'_>) -> Option<Draft> {
        let map = at.fields(POLICY_KEYS, self.problems)?;
        let id = self.id(&map);
        for (key, what) in LATER {
            if let Some(value) = map.optional(key) {
                value.problem(self.problems, format!("`{key}` ({what}) comes in a later version; this one refuses a file that relies on it"));
            }
        }
        let effect = self
            .word(
                &map,
                "effect",
                &[("permit", Effect::Permit), ("forbid", Effect::Forbid)],
            )
            .unwrap_or(Effect::Permit);
        let mode = self
            .word(
                &map,
                "mode",
                &[("enforce", Mode::Enforce), ("shadow", Mode::Shadow)],
            )
            .unwrap_or(Mode::Enforce);
        let permit = effect == Effect::Permit;
        let about = map
            .optional("about")
            .and_then(|at| at.text(self.problems).map(Into::into));
        let operations = self.operations(&map);
        let subject = self.who(&map, permit);
        if let Some(host) = map.optional("host") {
            self.condition(&host, "host", FactRef::Host, Kind::Host);
        }
        self.path(&map);
        self.client(&map);
        let query = self.query(&map, permit);
        let (headers, headers_closed) = self.headers(&map);
        let websocket = self
            .word(&map, "upgrade", &[("websocket", true)])
            .unwrap_or(false);
        let set_headers = self.then(&map, permit);
        let body = self.body(&map, permit);
        if websocket && map.optional("body").is_some() {
            at.problem(
                self.problems,
                "`upgrade` excludes `body`: the frames of a WebSocket are not judged",
            );
        }
        let window = map.optional("when").and_then(|at| self.window(&at));
        let unless = self.unless(&map, permit);
        self.conditions.sort_by_key(|condition| condition.stage);
        let (id, mark) = id?;
        Some(Draft {
            file: self.problems.file().clone(),
            mark,
            key: at.key().into(),
            id,
            about,
            effect,
            mode,
            operations,
            captured: self.scope.captured,
            subject,
            conditions: self.conditions,
            query,
            headers,
            headers_closed,
            body: body?,
            window,
            unless,
            websocket,
            set_headers,
        })
    }

    fn id(&mut self, map: &Fields<'_>) -> Option<(Arc<str>, Mark)> {
        let at = map.required("id", self.problems)?;
        let text = at.text(self.problems)?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-/:".contains(&b);
        if text.is_empty() || text.len() > 128 || !text.bytes().all(plain) {
            at.problem(
                self.problems,
                "an id is 1 to 128 letters, digits and `. _ - / :`",
            );
            return None;
        }
        Some((text.into(), at.node.mark))
    }

    /// One of a few words.
    fn word<T: Copy>(&mut self, map: &Fields<'_>, key: &str, words: &[(&str, T)]) -> Option<T> {
        let at = map.optional(key)?;
        let text = at.text(self.problems)?;
        let found = words
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            at.problem(
                self.problems,
                format!("`{text}` is not known here; write {}", known.join(" or ")),
            );
        }
        found
    }

    fn operations(&mut self, map: &Fields<'_>) -> Vec<Operation> {
        let Some(at) = map.required("do", self.problems) else {
            return Vec::new();
        };
        let mut operations: Vec<Operation> = Vec::new();
        for item in at.one_or_many() {
            let Some(text) = item.text(self.problems) else {
                continue;
            };
            match Operation::parse(text) {
                Ok(operation) => operations.push(operation),
                Err(error) => item.problem(self.problems, error),
            }
        }
        if at.one_or_many().is_empty() {
            at.problem(self.problems, "a policy speaks of at least one operation");
        }
        if operations.len() > MAX_OPERATIONS {
            at.problem(
                self.problems,
                format!("a policy speaks of at most {MAX_OPERATIONS} operations"),
            );
        }
        let Some((first, others)) = operations.split_first() else {
            return operations;
        };
        let everywhere = |name: &str| others.iter().all(|o| o.template.parameter(name).is_some());
        self.scope.parameters = first
            .template
            .parameters
            .iter()
            .map(|p| p.name.clone())
            .filter(|name| everywhere(name))
            .collect();
        operations
    }

    /// Reads a matcher and keeps it as a condition.
    fn condition(&mut self, at: &At<'_>, label: &str, fact: FactRef, kind: Kind) {
        let Some(matcher) = Matcher::read(at, kind, &mut self.scope, self.problems) else {
            return;
        };
        let mut stage = stage_of(&fact);
        matcher.references(&mut |fact| stage = stage.max(stage_of(fact)));
        self.conditions.push(Condition {
            label: self.scope.fields.label(label),
            fact,
            matcher,
            stage,
        });
    }
}

impl NameScope<'_> {
    /// The index of a path parameter among those that the policy reads.
    fn parameter(&mut self, name: &str) -> Result<u16, String> {
        if !self.parameters.iter().any(|p| **p == *name) {
            let has: Vec<&str> = self.parameters.iter().map(|p| &**p).collect();
            return Err(match has.is_empty() {
                true => format!(
                    "no parameter `{name}` stands in every template of this policy (none does)"
                ),
                false => format!(
                    "the template has no parameter \"{name}\" (it has: {})",
                    has.join(", ")
                ),
            });
        }
        let index = self
            .captured
            .iter()
            .position(|p| **p == *name)
            .unwrap_or_else(|| {
                self.captured.push(name.into());
                self.captured.len() - 1
            });
        u16::try_from(index).map_err(|_| "too many parameters".to_owned())
    }
}

impl Names for NameScope<'_> {
    fn resolve(&mut self, reference: &str) -> Result<FactRef, String> {
        let (section, rest) = reference.split_once('/').unwrap_or((reference, ""));
        match section {
            "path" => self.parameter(rest).map(FactRef::Path),
            "query" if !rest.is_empty() => Ok(FactRef::Query(rest.into())),
            "headers" => wire::judged_header(rest).map(FactRef::Header),
            "body" => {
                let pointer = Pointer::parse(&format!("/{rest}")).ok_or_else(|| format!("`/{rest}` is no JSON Pointer (RFC 6901)"))?;
                let id = self.fields.field(&pointer);
                self.body.push((pointer, id));
                Ok(FactRef::Body(id))
            }
            "client" if rest == "ip" => Ok(FactRef::ClientIp),
            "host" if rest.is_empty() => Ok(FactRef::Host),
            _ => who::fact(reference).ok_or_else(|| {
                format!("`${reference}` names no fact; write `$claims/…`, `$path/…`, `$query/…`, `$headers/…`, `$body/…`, `$agent`, `$user` or alike")
            }),
        }
    }
}

/// More than any sentence names.
const MAX_OPERATIONS: usize = 256;

/// Keys of policies that this version refuses, and what they are for.
const LATER: [(&str, &str); 2] = [("needs", "approvals"), ("limits", "budgets and counts")];

/// A YAML value as JSON, numbers as written.
pub fn json_of(node: &Node) -> Json {
    match &node.value {
        Yaml::Null => Json::Null,
        Yaml::Bool(value) => Json::Bool(*value),
        Yaml::Number(text) => Json::Number(text.as_str().into()),
        Yaml::Text(text) => Json::Text(text.as_str().into()),
        Yaml::List(items) => Json::Array(items.iter().map(json_of).collect()),
        Yaml::Map(entries) => Json::Object(
            entries
                .iter()
                .map(|(key, value)| (key.text.as_str().into(), json_of(value)))
                .collect(),
        ),
    }
}

fn stage_of(fact: &FactRef) -> Stage {
    match fact {
        FactRef::Query(_) | FactRef::Header(_) => Stage::Wire,
        FactRef::Body(_) => Stage::Body,
        FactRef::Agent
        | FactRef::User
        | FactRef::Workload
        | FactRef::Provider
        | FactRef::Session
        | FactRef::Task
        | FactRef::Groups
        | FactRef::Claim(_)
        | FactRef::CertSpiffeId
        | FactRef::CertDns
        | FactRef::CertEmail
        | FactRef::CertFingerprint
        | FactRef::Path(_)
        | FactRef::ClientIp
        | FactRef::Host => Stage::Match,
    }
}
