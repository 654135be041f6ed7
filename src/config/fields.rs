//! `audit.fields`: what records tell of the fields that policies judged in a body. Nothing, unless a rule says so.
//!
//! A rule names fields and policies by globs as policies read them. Deliberately absent: a rule that takes away, since
//! there is nothing to take away from; of several that fit, the one that tells less counts.

use super::load::Loader;
use super::raw::AUDIT_FIELDS;
use super::read::{Reader, text};
use super::{Secret, secrets};
use crate::policy::json::Pointer;
use crate::policy::matcher::glob::Glob;
use crate::yaml::{At, Problem, Problems};

/// What records tell of judged fields.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    /// The rules; without any, records hold no field's value.
    pub rules: Vec<FieldRule>,
    /// The key of [`Show::Hmac`]; always there where a rule says so.
    pub key: Option<Secret>,
}

/// Some fields of some policies, and how they are told.
#[derive(Debug, Clone)]
pub struct FieldRule {
    /// The fields, by the names that policies and denials give them.
    pub fields: Vec<FieldName>,
    /// The policies, of which one must have judged the field; empty: any.
    pub policies: Vec<Name>,
    /// How the value is told.
    pub show: Show,
}

/// A name, or a glob over names.
#[derive(Debug, Clone)]
pub enum Name {
    /// Without a star, byte for byte: a name may hold what means something else in a glob.
    Exact(Box<str>),
    /// With one.
    Glob(Glob),
}

/// Fields by name: `body/branch`, `body/arguments/**`.
#[derive(Debug, Clone)]
pub struct FieldName {
    /// The name.
    pub name: Name,
    /// What someone should know of where no policy judges such a field.
    pub unjudged: Problem,
}

/// How a field's value is told. In order: a later one tells less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Show {
    /// As it came.
    Shown,
    /// By HMAC-SHA-256 over the whole value, so that equal ones can be found without being read.
    Hmac,
}

impl FieldRule {
    /// Whether it speaks of this policy.
    pub fn covers(&self, policy: &str) -> bool {
        self.policies.is_empty() || self.policies.iter().any(|name| name.fits(policy))
    }
}

impl Name {
    /// Whether this is the name, or among those that the glob speaks of.
    pub fn fits(&self, text: &str) -> bool {
        match self {
            Name::Exact(name) => **name == *text,
            Name::Glob(glob) => glob.is_match(text),
        }
    }
}

/// Reads `fields` and `fields_key` of the audit section.
pub(super) fn read(audit: &Reader<'_>, cx: &mut Loader<'_>) -> Fields {
    let key = audit.value("fields_key");
    let key = key.and_then(|at| Some((at, secrets::secret(&at, cx)?)));
    if let Some((at, Secret(bytes))) = &key
        && bytes.len() < LEAST_KEY
    {
        let found = bytes.len();
        let message = format!("expected at least {LEAST_KEY} bytes, found {found}");
        cx.problem(at, message);
    }
    let Some(at) = audit.value("fields") else {
        return Fields::default();
    };
    let items = at.items(&mut cx.problems);
    let rules: Vec<FieldRule> = items.iter().filter_map(|item| rule(item, cx)).collect();
    let hashes = |rule: &FieldRule| rule.show == Show::Hmac;
    if rules.iter().any(hashes) && audit.written("fields_key").is_none() {
        cx.problem(
            &at,
            "`as: hmac` takes a key; expected `fields_key` beside it",
        );
    }
    Fields {
        rules,
        key: key.map(|(_, secret)| secret),
    }
}

fn rule(at: &At<'_>, cx: &mut Loader<'_>) -> Option<FieldRule> {
    let reader = Reader::open(at, &AUDIT_FIELDS, cx)?;
    let (fields_at, _) = reader.written("fields").zip(reader.written("as"))?;
    let show = match reader.word("as", cx) {
        "hmac" => Show::Hmac,
        _ => Show::Shown,
    };
    let fields = named(&fields_at, cx, field);
    let policies_at = reader.written("policies");
    let policies = policies_at.map(|at| named(&at, cx, name));
    Some(FieldRule {
        fields,
        policies: policies.unwrap_or_default(),
        show,
    })
}

/// The items of a list that isn't empty: an empty one would say nothing, or everything.
fn named<T>(
    at: &At<'_>,
    cx: &mut Loader<'_>,
    mut read: impl FnMut(&At<'_>, &mut Loader<'_>) -> Option<T>,
) -> Vec<T> {
    let items = at.one_or_many();
    if items.is_empty() {
        cx.problem(at, "the list is empty; name at least one");
    }
    items.iter().filter_map(|item| read(item, cx)).collect()
}

fn field(at: &At<'_>, cx: &mut Loader<'_>) -> Option<FieldName> {
    let written = text(at, cx)?;
    let pointer = written.strip_prefix("body");
    let known = pointer.is_some_and(|pointer| pointer.is_empty() || pointer.starts_with('/'));
    if !known {
        let wanted = "expected a field of a body by the name that policies give it: `body/branch`, \
                      or a glob such as `body/**`";
        cx.problem(at, wanted);
        return None;
    }
    if pointer.is_some_and(|pointer| Pointer::parse(pointer).is_none()) {
        let wanted = "expected a JSON Pointer (RFC 6901) after `body`: `~` wants 0 or 1 after it";
        cx.problem(at, wanted);
        return None;
    }
    let name = name(at, cx)?;
    let mut unjudged = Problems::new(cx.problems.file().clone());
    at.problem(&mut unjudged, "no policy of this rule judges such a field");
    Some(FieldName {
        name,
        unjudged: unjudged.into_vec().pop()?,
    })
}

fn name(at: &At<'_>, cx: &mut Loader<'_>) -> Option<Name> {
    let written = text(at, cx)?;
    if !written.contains('*') {
        return Some(Name::Exact(written.into()));
    }
    match Glob::new(written, b'/') {
        Ok(glob) => Some(Name::Glob(glob)),
        Err(message) => {
            cx.problem(at, message);
            None
        }
    }
}

/// As long as what it makes: a shorter key is easier to guess than the digest (RFC 2104, section 3).
const LEAST_KEY: usize = 32;
