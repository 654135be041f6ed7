//! `body`: what a policy says of the content.

use super::{Condition, Reader, Stage};
use crate::policy::body::Projection;
use crate::policy::facts::FactRef;
use crate::policy::json::{Json, Pointer};
use crate::policy::matcher::{Kind, literal};
use crate::yaml::{At, Fields};

/// What a policy says of the body.
#[derive(Clone, Debug)]
pub enum BodyRule {
    /// No body may come.
    None,
    /// It is not looked at.
    Any,
    /// It is judged.
    Judged(Box<Judged>),
}

/// A judged body.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The content types that fit, lower-cased `type/subtype`.
    pub content_types: Vec<Box<str>>,
    /// What is to be read. Empty where only the content type counts.
    pub projection: Projection,
    /// Whether anything is to be read at all.
    pub reads: bool,
    /// The id under which the projection reports what `only` doesn't admit, and whether there is an `only`.
    pub only: Option<u32>,
    /// The whole body must be this; the id is that of the pointer `""`.
    pub exactly: Option<(u32, Json)>,
    /// Conditions on its fields, and those others that refer to them.
    pub conditions: Vec<Condition>,
}

impl Judged {
    /// The conditions on fields of the body, under whose names records tell them.
    pub fn fields(&self) -> impl Iterator<Item = &Condition> {
        // The others are of the path or the query, and refer to the body.
        self.conditions
            .iter()
            .filter(|condition| condition.label.starts_with("body"))
    }
}

/// The content type that is judged where a policy names none.
const JSON: &str = "application/json";
/// Judged as a form.
pub const FORM: &str = "application/x-www-form-urlencoded";

impl Reader<'_> {
    /// Reads `body`. Comes last among the sections, as it takes over every condition that reads the body.
    pub(super) fn body(&mut self, map: &Fields<'_>, permit: bool) -> Option<BodyRule> {
        let at = map.optional("body");
        let rule = match &at {
            None if permit => BodyRule::None,
            None => BodyRule::Any,
            Some(at) if at.is_word("none") => BodyRule::None,
            Some(at) if at.is_word("any") => BodyRule::Any,
            Some(at) => return self.judged(at),
        };
        if !self.scope.body.is_empty() {
            map.at().problem(self.problems, "`$body/…` refers to a body that this policy does not judge; write `body: { … }` with that field");
        }
        Some(rule)
    }

    fn judged(&mut self, at: &At<'_>) -> Option<BodyRule> {
        let mut content_types = Vec::new();
        let mut only: Option<Vec<Pointer>> = None;
        let mut exactly = None;
        let mut says = false;
        let mut fields: Vec<(Pointer, u32)> = Vec::new();
        for (key, value) in at.entries(self.problems)? {
            says = true;
            match key.text.as_str() {
                "content_type" => content_types = self.content_types(&value),
                "only" => only = Some(self.pointers(&value)),
                "exactly" => {
                    let root = Pointer::parse("")?;
                    let id = self.scope.fields.field(&root);
                    fields.push((root, id));
                    exactly = literal(&value, self.problems).map(|whole| (id, whole));
                }
                text if text.is_empty() || text.starts_with('/') => {
                    let Some(pointer) = Pointer::parse(text) else {
                        self.problems.add(Some(key.mark), value.key(), format!("`{text}` is no JSON Pointer (RFC 6901): `~` wants 0 or 1 after it"));
                        continue;
                    };
                    let id = self.scope.fields.field(&pointer);
                    fields.push((pointer, id));
                    self.condition(&value, &format!("body{text}"), FactRef::Body(id), Kind::Body);
                }
                text => self.problems.add(
                    Some(key.mark),
                    value.key(),
                    format!("unknown key `{text}`; known here: content_type, only, exactly, and JSON Pointers such as `/{text}`"),
                ),
            }
        }
        fields.append(&mut self.scope.body);
        fields.sort();
        fields.dedup();
        let reads = !fields.is_empty() || only.is_some();
        if !says {
            at.problem(
                self.problems,
                "an empty `body` judges nothing; write `none` or `any`, or name fields",
            );
        }
        if content_types.is_empty() {
            content_types.push(JSON.into());
        }
        if reads && let Some(odd) = content_types.iter().find(|t| !is_json(t) && ***t != *FORM) {
            at.problem(self.problems, format!("fields of `{odd}` can't be judged; JSON (`application/json`, `…+json`) and `{FORM}` can"));
        }
        let admitted = only.map(|mut list| {
            list.extend(fields.iter().map(|(pointer, _)| pointer.clone()));
            list
        });
        let (projection, only) = self.scope.fields.projection(fields, admitted);
        let (mut conditions, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.conditions)
            .into_iter()
            .partition(|c| c.stage == Stage::Body);
        conditions.shrink_to_fit();
        self.conditions = others;
        Some(BodyRule::Judged(Box::new(Judged {
            content_types,
            projection,
            reads,
            only,
            exactly,
            conditions,
        })))
    }

    fn content_types(&mut self, at: &At<'_>) -> Vec<Box<str>> {
        let mut types = Vec::new();
        let items = at.one_or_many();
        if items.is_empty() {
            at.problem(self.problems, "the list is empty; name at least one");
        }
        for item in items {
            let Some(text) = item.text(self.problems) else {
                continue;
            };
            let token = |s: &str| {
                !s.is_empty()
                    && s.bytes().all(|b| {
                        b.is_ascii_graphic()
                            && !b.is_ascii_uppercase()
                            && !b"()<>@,;:\\\"/[]?=*".contains(&b)
                    })
            };
            match text.split_once('/') {
                Some((kind, subtype)) if token(kind) && token(subtype) => types.push(text.into()),
                _ => item.problem(
                    self.problems,
                    "write a content type as `type/subtype`, lower-case and without parameters",
                ),
            }
        }
        types
    }

    fn pointers(&mut self, at: &At<'_>) -> Vec<Pointer> {
        let mut list = Vec::new();
        for item in at.items(self.problems) {
            let Some(text) = item.text(self.problems) else {
                continue;
            };
            match Pointer::parse(text) {
                Some(pointer) => list.push(pointer),
                None => item.problem(
                    self.problems,
                    format!("`{text}` is no JSON Pointer (RFC 6901); it begins with `/`"),
                ),
            }
        }
        list
    }
}

/// Whether bodies of this type are judged as JSON.
pub fn is_json(content_type: &str) -> bool {
    content_type == JSON || content_type == "text/json" || content_type.ends_with("+json")
}
