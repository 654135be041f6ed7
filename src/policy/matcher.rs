//! One condition over one value, in three-valued logic.
//!
//! A [`Matcher`] is read from YAML once, with every problem told at its place, and evaluated without
//! allocating (but for `json`, which parses). It never lower-cases, trims or decodes: what it sees was
//! normalised before. To add an operator is to add a variant to [`Op`]; the compiler lists the rest.

mod affix;
pub mod cidr;
pub mod compare;
mod contradiction;
mod domain;
pub mod glob;
mod literals;
mod members;
pub mod number;
mod op;
pub mod pattern;
mod read;
pub mod segments;
pub mod shape;
#[cfg(test)]
mod tests;
pub mod url;

use super::facts::FactRef;
use super::fault::Fault;
use super::json::{Json, Pointer};
use super::value::{Truth, Value};
use crate::yaml::{At, Problems};

pub use literals::literal;
pub use members::Members;
pub use op::{JsonType, Op};

/// A conjunction of operators over one value.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// The operators; never empty.
    pub ops: Vec<Op>,
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
    /// Nothing else may be there; the pointers of `fields` are among these.
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
    /// Takes one comparison with a list's element out of what a condition may cost; false where nothing is left, and
    /// then the condition can't be told.
    fn spend(&self) -> bool;
}

/// The most comparisons with elements of lists that one condition makes: both lists may come from outside, and each
/// element of one is looked for in the other. About ten milliseconds.
pub const MAX_COMPARISONS: u32 = 1 << 20;

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
    /// Reads a matcher: a scalar, a list, `$…` or an object of operators. `None` where there is a problem.
    pub fn read(
        at: &At<'_>,
        kind: Kind,
        names: &mut dyn Names,
        problems: &mut Problems,
    ) -> Option<Matcher> {
        read::matcher(at, kind, names, problems)
    }

    /// Whether the value satisfies every operator.
    pub fn test<S: Scope>(&self, value: Value<'_>, scope: &S) -> Truth {
        match self.ops.as_slice() {
            [op] => op.test(value, scope),
            ops => compare::all(ops.iter().map(|op| op.test(value, scope))),
        }
    }

    /// Visits every fact that the matcher refers to, as often as it does.
    pub fn references(&self, visit: &mut dyn FnMut(&FactRef)) {
        for op in &self.ops {
            op.references(visit);
        }
    }

    /// The names of all operators.
    pub const fn operators() -> &'static [&'static str] {
        &op::OPERATORS
    }
}

impl Operand {
    fn reference(&self, visit: &mut dyn FnMut(&FactRef)) {
        match self {
            Operand::Fact(fact) => visit(fact),
            Operand::Literal(_) => {}
        }
    }
}

impl Shape {
    /// Visits every fact that the shape refers to.
    pub fn references(&self, visit: &mut dyn FnMut(&FactRef)) {
        let fields = self.fields.iter().map(|(_, matcher)| matcher);
        for matcher in fields.chain(&self.itself) {
            matcher.references(visit);
        }
    }
}
