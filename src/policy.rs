//! The policy core: a pure function of a [`PolicySet`] and [`Facts`].
//!
//! Nothing in here does I/O, is async or reads a clock; `now` is a fact like the others (`tests/tidy.rs`
//! holds this). The proxy, `portcullis test` and a program that embeds the library run the same code.
//!
//! 1. [`normalise`]: a request's method, host, path and query become one [`Canonical`] value, or are refused.
//! 2. [`source`]: a policy file becomes typed policies, each problem with its place.
//! 3. [`compile`]: policies become a [`PolicySet`]: an index, and conditions over facts.
//! 4. `index`: method, host, path and subject leave a handful of candidates.
//! 5. [`matcher`]: one condition over one value, in three-valued logic.
//! 6. [`body`]: the body's judged fields, read in one pass.
//! 7. [`decide`]: the verdict, and the only place where a [`Permit`] is made.
//!
//! Beside these, [`cases`] runs example requests, and [`lint`] warns of what loads and is yet likely a mistake.

pub mod body;
pub mod cases;
pub mod compile;
pub mod decide;
pub mod facts;
pub mod fault;
mod index;
pub mod json;
pub mod lint;
pub mod matcher;
pub mod normalise;
pub mod principal;
pub mod source;
pub mod template;
pub mod value;
pub mod window;

pub use body::{BodyFields, Projection};
pub use compile::{PolicySet, SourceFile, Summary};
pub use decide::{
    Body, BodyPlan, Considered, Decision, Denial, JudgedField, Permit, Shadow, Verdict,
};
pub use facts::{FactRef, Facts};
pub use fault::{Fault, Reason};
pub use json::Json;
pub use normalise::Canonical;
pub use principal::{Certificate, Principal};
pub use source::{Effect, Mode};
pub use value::{Truth, Value};
