//! The verdict, and the only place where a [`Permit`] is made.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use jiff::Timestamp;

use super::fault::{Fault, Reason};

/// What was decided, for the answer and for the record.
#[derive(Debug)]
pub struct Decision {
    /// Permit or deny.
    pub verdict: Verdict,
    /// What each shadow policy that would have mattered would have said.
    pub shadow: Vec<Shadow>,
}

/// Permit or deny; nothing in between.
#[derive(Debug)]
pub enum Verdict {
    /// The request may go.
    Permit(Permit),
    /// It may not.
    Deny(Denial),
}

/// The right to forward one request. Only [`decide`](self) makes one, and it can't be cloned.
#[derive(Debug)]
pub struct Permit {
    /// The policy that was chosen.
    pub(crate) policy: Arc<str>,
    /// The template that the path matched.
    pub(crate) template: Arc<str>,
    /// Headers to set on the request, by `then`.
    pub(crate) set_headers: Vec<(HeaderName, HeaderValue)>,
    /// Headers that holding permits name, which therefore are forwarded.
    pub(crate) named_headers: Vec<HeaderName>,
    /// When the right ends: the earliest end of the policy's windows.
    pub(crate) until: Option<Timestamp>,
    _made_here: (),
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The reason.
    pub reason: Reason,
    /// What was ambiguous or unreadable.
    pub fault: Option<Fault>,
    /// The forbids that apply, by id, sorted.
    pub policies: Vec<Arc<str>>,
    /// The judged fields that failed and that the caller sent, such as `body/branch` or `path/account`.
    pub fields: Vec<String>,
}

/// What a policy in `mode: shadow` would have said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shadow {
    /// Its id.
    pub policy: Arc<str>,
    /// `true`: a shadow permit holds; `false`: a shadow forbid applies.
    pub permits: bool,
}

impl Permit {
    /// A permit without a decision, for tests of what comes after one.
    #[cfg(test)]
    pub(crate) fn for_tests(until: Option<Timestamp>) -> Permit {
        Permit {
            policy: Arc::from("test"),
            template: Arc::from("/{any...}"),
            set_headers: Vec::new(),
            named_headers: Vec::new(),
            until,
            _made_here: (),
        }
    }

    /// The policy that was chosen.
    pub fn policy(&self) -> &Arc<str> {
        &self.policy
    }

    /// The template that the path matched.
    pub fn template(&self) -> &Arc<str> {
        &self.template
    }

    /// When the right ends, if it does.
    pub fn until(&self) -> Option<Timestamp> {
        self.until
    }
}
