//! Policies become a [`PolicySet`].

use std::marker::PhantomData;
use std::sync::Arc;

use super::body::{BodyFields, Projection};
use super::decide::{Decision, Denial, Verdict};
use super::facts::Facts;
use super::fault::{Fault, Reason};
use crate::yaml::Problem;

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
}

impl PolicySet {
    /// Compiles the policies of all files; every problem of every file at once.
    pub fn load(files: &[SourceFile]) -> Result<PolicySet, Vec<Problem>> {
        let _ = files;
        Ok(PolicySet {
            digest: Box::default(),
        })
    }

    /// SHA-256 over the policies in canonical form, lower-case hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// How many policies there are.
    pub fn len(&self) -> usize {
        0
    }

    /// Whether there are none; such a set denies everything.
    pub fn is_empty(&self) -> bool {
        true
    }

    /// Finds the live candidates: all that method, host, path, subject and the other facts leave over.
    pub fn consider<'s>(&'s self, facts: &Facts<'_>) -> Considered<'s> {
        let _ = facts;
        Considered { set: PhantomData }
    }
}

/// The candidates of one request, before its body.
#[derive(Debug)]
pub struct Considered<'s> {
    set: PhantomData<&'s PolicySet>,
}

/// How the body is to be read, if at all.
#[derive(Debug)]
pub enum BodyPlan<'c> {
    /// No live candidate asks for it.
    Leave,
    /// As JSON, with [`BodyFields::json`].
    Json(&'c Projection),
    /// As a form, with [`BodyFields::form`].
    Form(&'c Projection),
}

/// What became of the body.
#[derive(Debug)]
pub enum Body<'b> {
    /// No body came.
    Absent,
    /// Nobody asked for it.
    Unread,
    /// It was read.
    Fields(&'b BodyFields<'b>),
    /// It can't be read.
    Fault(Fault),
}

impl<'s> Considered<'s> {
    /// Whether a live candidate judges the body, and how it is to be read.
    pub fn body_plan(&self) -> BodyPlan<'_> {
        BodyPlan::Leave
    }

    /// The verdict.
    pub fn decide(self, facts: &Facts<'_>, body: Body<'_>) -> Decision {
        let _ = (facts, body);
        let denial = Denial {
            reason: Reason::NoPolicy,
            fault: None,
            policies: Vec::new(),
            fields: Vec::new(),
        };
        Decision {
            verdict: Verdict::Deny(denial),
            shadow: Vec::new(),
        }
    }
}
