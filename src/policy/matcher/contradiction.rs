//! What can never hold, where that is evident from the policy alone.
//!
//! Such a condition is a mistake: on a permit it denies everything, on a forbid it protects nothing. Found are
//! types that exclude each other, literals that a neighbour rejects, and empty ranges of numbers. Not looked
//! for is what would take a proof, such as a glob and a regex without a common text.

use std::cmp::Ordering;

use super::domain::{Domain, Types};
use super::literals::NoFacts;
use super::number;
use super::{Op, Operand, Shape};
use crate::policy::json::Json;
use crate::policy::value::{Truth, Value};

/// Why a value from this place can never be of this shape, if that is evident.
pub(super) fn find(shape: &Shape, domain: &Domain) -> Option<String> {
    let ops = shape
        .itself
        .as_ref()
        .map_or(&[][..], |matcher| &matcher.ops);
    of_types(ops, domain)
        .or_else(|| of_literals(ops, domain))
        .or_else(|| of_bounds(ops))
        .or_else(|| of_exactly(shape, domain))
}

fn of_types(ops: &[Op], domain: &Domain) -> Option<String> {
    let mut left = domain.types;
    let mut before = "";
    for op in ops {
        let taken = domain.taken_by(op);
        if (taken & domain.types).is_empty() {
            let of_text = !(domain.types & Types::TEXT).is_empty();
            let quoting =
                if of_text && matches!(op, Op::Eq(_) | Op::Ne(_) | Op::In(_) | Op::NotIn(_)) {
                    "; quote the literal to compare texts"
                } else {
                    ""
                };
            return Some(format!(
                "can never hold: `{}` takes {taken} here, but {} is {}{quoting}",
                op.name(),
                domain.name,
                domain.types & Types::PRESENT,
            ));
        }
        if (taken & left).is_empty() {
            return Some(format!(
                "can never hold: `{before}` leaves {left}, but `{}` takes {taken}; drop one of them",
                op.name()
            ));
        }
        left = left & taken;
        before = op.name();
    }
    None
}

/// Each literal of `eq` or `in` is put to the other operators.
fn of_literals(ops: &[Op], domain: &Domain) -> Option<String> {
    for (position, op) in ops.iter().enumerate() {
        let operands: &[Operand] = if let Op::Eq(operand) = op {
            std::slice::from_ref(operand)
        } else if let Op::In(members) = op {
            members
        } else {
            continue;
        };
        let others = || ops.iter().enumerate().filter(move |(i, _)| *i != position);
        let rejecting = |operand: &Operand| match operand {
            Operand::Fact(_) => None,
            Operand::Literal(literal) => others()
                .find(|(_, other)| rejects(other, literal, domain))
                .map(|(_, other)| other.name()),
        };
        let rejected: Option<Vec<_>> = operands.iter().map(rejecting).collect();
        if let Some(by) = rejected.as_deref().and_then(<[_]>::first) {
            return Some(if matches!(op, Op::Eq(_)) {
                format!("can never hold: `{by}` rejects the literal of `eq`")
            } else {
                format!("can never hold: no literal of `in` passes the others, such as `{by}`")
            });
        }
    }
    None
}

fn rejects(op: &Op, literal: &Json, domain: &Domain) -> bool {
    let value = match literal {
        Json::Text(text) if domain.untyped => Value::Wire(text),
        // What equals the number is its canonical text.
        Json::Number(text) if domain.untyped && number::is_canonical(text) => Value::Wire(text),
        Json::Number(_) if domain.untyped => return false,
        Json::Null
        | Json::Bool(_)
        | Json::Number(_)
        | Json::Text(_)
        | Json::Array(_)
        | Json::Object(_) => literal.into(),
    };
    let mut refers = false;
    op.references(&mut |_| refers = true);
    match op.test(value, &NoFacts) {
        Truth::True => false,
        Truth::Indeterminate => !refers,
        // False whatever the facts are.
        Truth::False => true,
    }
}

fn of_exactly(shape: &Shape, domain: &Domain) -> Option<String> {
    if domain.of_shape(shape).is_empty() {
        return Some(format!(
            "can never hold: {} of this type has no inside; drop `only`, `exactly` or the operators beside them",
            domain.name
        ));
    }
    let exactly = shape.exactly.as_ref()?;
    let rest = Shape {
        exactly: None,
        ..shape.clone()
    };
    let rejected = rest.test(exactly.into(), &NoFacts) == Truth::False;
    rejected.then(|| "can never hold: what stands beside `exactly` rejects its value".to_owned())
}

fn of_bounds(ops: &[Op]) -> Option<String> {
    let bound = |literal: &Operand| match literal {
        Operand::Literal(Json::Number(text)) => Some(text.clone()),
        Operand::Literal(_) | Operand::Fact(_) => None,
    };
    let pairs = ops
        .iter()
        .flat_map(|lower| ops.iter().map(move |upper| (lower, upper)));
    for (lower, upper) in pairs {
        let (least, most) = match (lower, upper) {
            (Op::Gt(a) | Op::Gte(a), Op::Lt(b) | Op::Lte(b)) => (bound(a), bound(b)),
            _ => continue,
        };
        let (Some(least), Some(most)) = (least, most) else {
            continue;
        };
        let inclusive = matches!((lower, upper), (Op::Gte(_), Op::Lte(_)));
        let room = |order: Ordering| order.is_lt();
        let room_or_equal = |order: Ordering| order.is_le();
        let found = number::compare(&least, &most)?;
        if found.is(if inclusive { room_or_equal } else { room }) == Truth::False {
            return Some(format!(
                "can never hold: no number satisfies `{}: {least}` and `{}: {most}`",
                lower.name(),
                upper.name()
            ));
        }
    }
    None
}
