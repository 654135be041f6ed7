//! `eq`, `in`, `lt` and their kin: two values against each other.
//!
//! Whoever compares values of two types picks one of several coercions; here there is one only (untyped text
//! that is a canonical decimal, against a number), and all else is indeterminate. Untyped text against a
//! boolean is indeterminate too: say `eq: "true"`.

use std::cmp::Ordering;

use super::number;
use super::{Operand, Scope};
use crate::policy::json::Json;
use crate::policy::value::{Truth, Value};

/// Whether a value equals another, which it is asked for.
pub fn equal(a: Value<'_>, b: Value<'_>) -> Truth {
    use Value::{Bool, Missing, Null, Number, Text, Unreadable, Wire};
    match (a, b) {
        (Missing | Unreadable, _) | (_, Missing | Unreadable) => Truth::Indeterminate,
        (Text(a) | Wire(a), Text(b) | Wire(b)) => (a == b).into(),
        (Null, Null) => Truth::True,
        // Null compares to nothing but null: a `ne` that it passed would be a way round, as servers take it for
        // a default.
        (Null, _) => Truth::Indeterminate,
        (_, Null) => Truth::False,
        (Bool(a), Bool(b)) => (a == b).into(),
        (Number(a), Number(b)) => number::equal(a, b),
        (Wire(text), Number(number)) | (Number(number), Wire(text)) => {
            if number::is_canonical(text) {
                number::equal(text, number)
            } else {
                Truth::Indeterminate
            }
        }
        _ => Truth::Indeterminate,
    }
}

/// Whether the value stands to the operand in an order that `accept` takes. Numbers only.
pub(super) fn ordered<S: Scope>(
    value: Value<'_>,
    operand: &Operand,
    scope: &S,
    accept: fn(Ordering) -> bool,
) -> Truth {
    let other = operand_value(operand, scope);
    let (a, b) = match (value, other) {
        (Value::Number(a), Value::Number(b)) => (a, b),
        (Value::Wire(text), Value::Number(b)) if number::is_canonical(text) => (text, b),
        (Value::Number(a), Value::Wire(text)) if number::is_canonical(text) => (a, text),
        _ => return Truth::Indeterminate,
    };
    number::compare(a, b).map_or(Truth::Indeterminate, |c| c.is(accept))
}

/// Whether the value equals the operand.
pub(super) fn equals_operand<S: Scope>(value: Value<'_>, operand: &Operand, scope: &S) -> Truth {
    equal(value, operand_value(operand, scope))
}

/// Whether the value is an element of the fact, which must be a list.
pub(super) fn member<S: Scope>(value: Value<'_>, list: Value<'_>, scope: &S) -> Truth {
    search(value, list, scope).map_or(Truth::Indeterminate, |found| found.truth)
}

/// The same, where a null in the list says nothing, as a reference to null does.
pub(super) fn member_of_fact<S: Scope>(value: Value<'_>, list: Value<'_>, scope: &S) -> Truth {
    match search(value, list, scope) {
        Some(found) if !found.null => found.truth,
        Some(found) if found.truth == Truth::True && !matches!(value, Value::Null) => Truth::True,
        Some(_) | None => Truth::Indeterminate,
    }
}

/// What a walk over a list found: whether the value is there, and whether it passed a null on the way.
struct Found {
    truth: Truth,
    null: bool,
}

/// Walks over a list up to the value, as far as the work allows: `None` where it can't be told. A walk, as numbers
/// equal each other in ways that no hash knows.
fn search<S: Scope>(value: Value<'_>, list: Value<'_>, scope: &S) -> Option<Found> {
    if matches!(value, Value::Missing | Value::Unreadable) {
        return None;
    }
    let mut found = Found {
        truth: Truth::False,
        null: false,
    };
    // False where nothing is left to look for.
    let mut goes_on = |element: Value<'_>| {
        if !scope.spend() {
            found.truth = found.truth.or(Truth::Indeterminate);
            return false;
        }
        found.null |= matches!(element, Value::Null);
        found.truth = found.truth.or(equal(value, element));
        found.truth != Truth::True
    };
    match list {
        Value::Texts(texts) => {
            texts.iter().all(|text| goes_on(Value::Text(text)));
        }
        Value::Json(Json::Array(items)) => {
            items.iter().all(|item| goes_on(item.into()));
        }
        Value::Missing
        | Value::Unreadable
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Text(_)
        | Value::Wire(_)
        | Value::Json(_) => return None,
    }
    Some(found)
}

/// What an operand stands for. A reference to null stands for nothing.
pub(super) fn operand_value<'v, S: Scope>(operand: &'v Operand, scope: &'v S) -> Value<'v> {
    match operand {
        Operand::Literal(literal) => literal.into(),
        Operand::Fact(fact) => {
            let value = scope.fact(fact);
            if matches!(value, Value::Null) {
                Value::Missing
            } else {
                value
            }
        }
    }
}

/// Disjunction; the first true ends it.
pub(super) fn any(truths: impl IntoIterator<Item = Truth>) -> Truth {
    let mut result = Truth::False;
    for truth in truths {
        result = result.or(truth);
        if result == Truth::True {
            break;
        }
    }
    result
}

/// Conjunction; the first false ends it.
pub(super) fn all(truths: impl IntoIterator<Item = Truth>) -> Truth {
    !any(truths.into_iter().map(|truth| !truth))
}

/// The text of a value that is one, typed or not.
pub(super) fn text(value: Value<'_>) -> Option<&str> {
    match value {
        Value::Text(text) | Value::Wire(text) => Some(text),
        Value::Missing
        | Value::Unreadable
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Texts(_)
        | Value::Json(_) => None,
    }
}
