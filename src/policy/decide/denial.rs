//! Why a request is denied.

use std::cmp::{Ordering, Reverse};

use super::candidate::Candidate;
use super::{Body, Considered, Denial};
use crate::policy::fault::{Fault, Reason};
use crate::policy::source::{Effect, Mode};
use crate::policy::value::Truth;

/// The most fields that a denial names.
const MAX_FIELDS: usize = 16;

impl Considered<'_> {
    /// The denial where no permit holds, or a forbid applies: a fault first, then a forbid, then the window.
    /// Who came without a credential is told to bring one, unless a forbid certainly applies.
    pub(super) fn no_permit(&self, body: Body<'_, '_>) -> Denial {
        if let Some(fault) = self.context.fault() {
            return self.deny(fault.reason(), Some(fault), body);
        }
        let anonymous = self.context.facts.principal.is_none();
        let certain = self
            .applying(Mode::Enforce)
            .any(|forbid| forbid.truth() == Truth::True);
        let forbidden = self.applying(Mode::Enforce).next().is_some();
        let early = |c: &Candidate<'_>| {
            c.policy.effect == Effect::Permit
                && c.policy.mode == Mode::Enforce
                && c.only_window_fails()
        };
        let reason = match (forbidden, anonymous) {
            (true, false) => Reason::Forbidden,
            (true, true) if certain => Reason::Forbidden,
            (false, _) if self.candidates.iter().any(early) => Reason::OutsideWindow,
            (_, true) => Reason::NoCredentials,
            (false, false) => Reason::NoPolicy,
        };
        self.deny(reason, None, body)
    }

    /// A denial for this reason, with the forbids that apply and the fields that failed.
    pub(super) fn deny(&self, reason: Reason, fault: Option<Fault>, body: Body<'_, '_>) -> Denial {
        let mut policies: Vec<_> = self
            .applying(Mode::Enforce)
            .map(|c| c.policy.id.clone())
            .collect();
        policies.sort();
        policies.dedup();
        Denial {
            reason,
            fault,
            policies,
            fields: self.failed_fields(reason, body),
        }
    }

    /// Fields are named where no permit held for their sake: not to whom no policy knows, and not beside a forbid.
    fn failed_fields(&self, reason: Reason, body: Body<'_, '_>) -> Vec<Box<str>> {
        let mut fields: Vec<Box<str>> = Vec::new();
        if reason != Reason::NoPolicy {
            return fields;
        }
        let known = |c: &&Candidate<'_>| {
            c.policy.effect == Effect::Permit && c.policy.mode == Mode::Enforce && c.knows_subject()
        };
        let mut nearest = None;
        for candidate in self.candidates.iter().filter(known) {
            let mut failed: Vec<Box<str>> = Vec::new();
            candidate.failed_fields(&self.context, body, |field| failed.push(field.into()));
            failed.sort();
            failed.dedup();
            if failed.is_empty() {
                continue;
            }
            // The policy that came nearest to holding says what is worth mending; the others speak of other calls.
            let far = (failed.len(), Reverse(candidate.conditions()));
            match nearest.map_or(Ordering::Less, |nearest| far.cmp(&nearest)) {
                Ordering::Less => (fields, nearest) = (failed, Some(far)),
                Ordering::Equal => fields.append(&mut failed),
                Ordering::Greater => {}
            }
        }
        fields.sort();
        fields.dedup();
        fields.truncate(MAX_FIELDS);
        fields
    }
}
