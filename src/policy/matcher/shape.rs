//! Conditions on the inside of a JSON value: pointers, `only`, `exactly`, and the quantifiers over arrays.
//!
//! Keys that equal a judged key but for case are a fault: some servers read them as that key. So are keys with a
//! NUL, at which readers written in C end them.

use smallvec::SmallVec;

use super::compare;
use super::number;
use super::{Scope, Shape};
use crate::policy::fault::Fault;
use crate::policy::json::{Json, Pointer, array_index, equal_but_for_case};
use crate::policy::value::{Truth, Value};

/// How deep a `json` string may nest.
const MAX_DEPTH: usize = 64;

impl Shape {
    /// Whether the value is of this shape.
    pub fn test<S: Scope>(&self, value: Value<'_>, scope: &S) -> Truth {
        if matches!(value, Value::Missing | Value::Unreadable) && !self.is_matcher() {
            return Truth::Indeterminate;
        }
        let mut result = Truth::True;
        if let Some(itself) = &self.itself {
            result = itself.test(value, scope);
        }
        if let Some(exactly) = &self.exactly
            && result != Truth::False
        {
            result = result.and(same(value, exactly, scope));
        }
        if let Some(only) = &self.only
            && result != Truth::False
        {
            let whole: Tails<'_> = only.iter().map(Pointer::tokens).collect();
            result = result.and(closed(value, &whole, scope));
        }
        let fields = self.fields.iter();
        let held = compare::all(
            fields
                .take_while(|_| result != Truth::False)
                .map(|(pointer, matcher)| matcher.test(at(value, pointer, scope), scope)),
        );
        result.and(held)
    }

    /// Whether it only has operators on the value itself.
    pub(super) fn is_matcher(&self) -> bool {
        self.only.is_none() && self.exactly.is_none() && self.fields.is_empty()
    }
}

/// Whether every element is of this shape; nothing is said of no elements.
pub(super) fn every<S: Scope>(shape: &Shape, value: Value<'_>, scope: &S) -> Truth {
    match length(value) {
        None | Some(0) => Truth::Indeterminate,
        Some(_) => compare::all(elements(value).map(|element| shape.test(element, scope))),
    }
}

/// Whether some element is of this shape.
pub(super) fn some<S: Scope>(shape: &Shape, value: Value<'_>, scope: &S) -> Truth {
    match length(value) {
        None => Truth::Indeterminate,
        Some(_) => compare::any(elements(value).map(|element| shape.test(element, scope))),
    }
}

/// Whether the text is JSON of this shape.
pub(super) fn json<S: Scope>(shape: &Shape, value: Value<'_>, scope: &S) -> Truth {
    let Some(text) = compare::text(value) else {
        return Truth::Indeterminate;
    };
    match Json::parse(text.as_bytes(), MAX_DEPTH) {
        Ok(json) => shape.test(Value::from(&json), scope),
        Err(fault) => {
            scope.note(fault);
            Truth::Indeterminate
        }
    }
}

/// How many elements a list has; `None` where the value is none.
pub(super) fn length(value: Value<'_>) -> Option<usize> {
    match value {
        Value::Texts(texts) => Some(texts.len()),
        Value::Json(Json::Array(items)) => Some(items.len()),
        Value::Missing
        | Value::Unreadable
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Text(_)
        | Value::Wire(_)
        | Value::Json(_) => None,
    }
}

fn elements(value: Value<'_>) -> impl Iterator<Item = Value<'_>> {
    let (mut texts, mut items): (&[Box<str>], &[Json]) = (&[], &[]);
    if let Value::Texts(of_text) = value {
        texts = of_text;
    } else if let Value::Json(Json::Array(of_json)) = value {
        items = of_json;
    }
    texts
        .iter()
        .map(|text| Value::Text(text))
        .chain(items.iter().map(Value::from))
}

/// The value at a pointer inside another; unreadable where a key on the way has a variant in case.
fn at<'v, S: Scope>(value: Value<'v>, pointer: &Pointer, scope: &S) -> Value<'v> {
    let (mut json, tokens) = match (value, pointer.tokens()) {
        (value, []) => return value,
        (Value::Json(json), tokens) => (json, tokens),
        (Value::Texts(texts), [index]) => {
            let text = array_index(index).and_then(|i| texts.get(i));
            return text.map_or(Value::Missing, |text| Value::Text(text));
        }
        (Value::Unreadable, _) => return Value::Unreadable,
        _ => return Value::Missing,
    };
    for token in tokens {
        let inner = match json {
            Json::Object(members) => {
                if has_variant(members, token) {
                    scope.note(Fault::JsonKeyCase);
                    return Value::Unreadable;
                }
                json.member(token)
            }
            Json::Array(items) => array_index(token).and_then(|index| items.get(index)),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => None,
        };
        match inner {
            Some(inner) => json = inner,
            None => return Value::Missing,
        }
    }
    json.into()
}

fn has_variant(members: &[(Box<str>, Json)], key: &str) -> bool {
    members
        .iter()
        .any(|(other, _)| equal_but_for_case(other, key) || other.contains('\0'))
}

/// What is left of pointers on the way down; on the stack but for long lists.
type Tails<'p> = SmallVec<[&'p [Box<str>]; 16]>;

/// Whether nothing is there but what these pointers cover. What only leads to a pointer must be a container
/// on the way, or an empty object.
fn closed<S: Scope>(value: Value<'_>, pointers: &[&[Box<str>]], scope: &S) -> Truth {
    if pointers.iter().any(|tokens| tokens.is_empty()) {
        return Truth::True;
    }
    let below = |admits: &dyn Fn(&str) -> bool| -> Tails<'_> {
        let inner = pointers.iter().filter_map(|tokens| tokens.split_first());
        inner
            .filter(|(first, _)| admits(first))
            .map(|(_, rest)| rest)
            .collect()
    };
    match value {
        Value::Json(Json::Object(members)) => compare::all(members.iter().map(|(key, inner)| {
            let inside = below(&|token| token == &**key);
            let variant = || {
                let mut tokens = pointers.iter().filter_map(|tokens| tokens.first());
                key.contains('\0') || tokens.any(|token| equal_but_for_case(token, key))
            };
            match inside.is_empty() {
                false => closed(inner.into(), &inside, scope),
                true if variant() => {
                    scope.note(Fault::JsonKeyCase);
                    Truth::Indeterminate
                }
                true => Truth::False,
            }
        })),
        Value::Json(Json::Array(_)) | Value::Texts(_) if length(value) != Some(0) => {
            compare::all(elements(value).enumerate().map(|(index, inner)| {
                let inside = below(&|token| array_index(token) == Some(index));
                match inside.is_empty() {
                    true => Truth::False,
                    false => closed(inner, &inside, scope),
                }
            }))
        }
        Value::Missing | Value::Unreadable => Truth::Indeterminate,
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Text(_)
        | Value::Wire(_)
        | Value::Texts(_)
        | Value::Json(_) => Truth::False,
    }
}

/// Whether a value is the same as a literal, all the way down: objects as sets of keys, arrays in order,
/// numbers by value. Indeterminate only where two numbers, or keys that differ in case, leave it open.
pub fn same<S: Scope>(value: Value<'_>, literal: &Json, scope: &S) -> Truth {
    match (value, literal) {
        (Value::Missing | Value::Unreadable, _) => Truth::Indeterminate,
        (Value::Json(Json::Object(members)), Json::Object(expected)) => {
            same_members(members, expected, scope)
        }
        (Value::Json(Json::Array(_)) | Value::Texts(_), Json::Array(expected)) => {
            if length(value) != Some(expected.len()) {
                return Truth::False;
            }
            let pairs = elements(value).zip(expected);
            compare::all(pairs.map(|(inner, expected)| same(inner, expected, scope)))
        }
        (Value::Number(a), Json::Number(b)) => number::equal(a, b),
        // Untyped text compares as it does to `eq`.
        (Value::Wire(_), Json::Null | Json::Bool(_) | Json::Number(_)) => {
            compare::equal(value, literal.into())
        }
        (Value::Wire(a) | Value::Text(a), Json::Text(b)) => (*a == **b).into(),
        (Value::Bool(a), Json::Bool(b)) => (a == *b).into(),
        (Value::Null, Json::Null) => Truth::True,
        _ => Truth::False,
    }
}

fn same_members<S: Scope>(
    members: &[(Box<str>, Json)],
    expected: &[(Box<str>, Json)],
    scope: &S,
) -> Truth {
    if expected.iter().any(|(key, _)| has_variant(members, key)) {
        scope.note(Fault::JsonKeyCase);
        return Truth::Indeterminate;
    }
    if members.len() != expected.len() {
        return Truth::False;
    }
    compare::all(expected.iter().map(|(key, expected)| {
        let member = members.iter().find(|(k, _)| k == key);
        member.map_or(Truth::False, |(_, inner)| {
            same(inner.into(), expected, scope)
        })
    }))
}
