//! One condition over one value, in three-valued logic.
//!
//! A [`Matcher`] is read from YAML once, with every problem told at its place, and evaluated without
//! allocating. It never lower-cases, trims or decodes: what it sees was normalised before.

pub mod glob;

use super::facts::FactRef;
use super::fault::Fault;
use super::json::{Json, Pointer};
use super::value::{Truth, Value};
use crate::yaml::{At, Problems};

/// A conjunction of operators over one value.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// The operators; never empty.
    pub ops: Vec<Op>,
}

/// One operator with its operand.
#[derive(Clone, Debug)]
pub enum Op {
    /// `eq`, a bare scalar, or `$…`.
    Eq(Operand),
    /// `ne`.
    Ne(Operand),
    /// `in` or a bare list.
    In(Vec<Operand>),
    /// `in: $…`: the fact is a list.
    InFact(FactRef),
    /// `not_in`.
    NotIn(Vec<Operand>),
    /// `not_in: $…`.
    NotInFact(FactRef),
    // the others: see the module's files
}

/// What an operator compares with.
#[derive(Clone, Debug)]
pub enum Operand {
    /// A value written in the policy.
    Literal(Json),
    /// `$section/pointer`.
    Fact(FactRef),
}

/// A condition on the inside of a JSON value: `only`, `exactly` and pointers relative to it, or operators on itself.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// Nothing else may be there.
    pub only: Option<Vec<Pointer>>,
    /// The value is this.
    pub exactly: Option<Json>,
    /// Pointers and their matchers.
    pub fields: Vec<(Pointer, Matcher)>,
    /// Operators on the value itself (an array of texts, say).
    pub itself: Option<Matcher>,
}

/// Where an evaluation finds other facts and leaves what it stumbled on.
pub trait Scope {
    /// The fact's value.
    fn fact(&self, fact: &FactRef) -> Value<'_>;
    /// Notes a fault found inside a value; the first one is kept.
    fn note(&self, fault: Fault);
}

/// How `$section/pointer` becomes a [`FactRef`] while a policy is read.
pub trait Names {
    /// Resolves the text after the dollar; the error says what would be right.
    fn resolve(&mut self, reference: &str) -> Result<FactRef, String>;
}

/// Which values a matcher will see, which decides what it may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Path parameters, query values, headers, form fields: untyped text.
    Wire,
    /// Identities and claims.
    Claim,
    /// JSON of a body.
    Body,
    /// The host: in a glob, `*` is one DNS label.
    Host,
    /// The client's address.
    Address,
}

impl Matcher {
    /// Reads a matcher: a scalar, a list, `$…` or an object of operators.
    pub fn read(
        at: &At<'_>,
        kind: Kind,
        names: &mut dyn Names,
        problems: &mut Problems,
    ) -> Option<Matcher> {
        let _ = (kind, names);
        at.problem(problems, "not yet");
        None
    }

    /// Whether the value satisfies every operator.
    pub fn test<S: Scope>(&self, value: Value<'_>, scope: &S) -> Truth {
        let _ = (value, scope);
        Truth::Indeterminate
    }
}
