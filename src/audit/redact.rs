//! What a record tells of the fields that policies judged in a body: by `audit.fields`, nothing, the value, or its HMAC.
//!
//! The rules are matched with the policies once, when both come into force, so that a request costs one look-up for each
//! field, and nothing at all where there are no rules. The key stays here: the policy core never sees it.
//!
//! Deliberately absent: a salt for each record or field. Equal values are to be found again, by whoever has the log
//! without the key, and by whoever has the key without the log: `openssl dgst -sha256 -hmac "$key"` makes the same.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;

use super::encode;
use super::record::JudgedField;
use crate::config::Fields;
use crate::config::fields::{FieldName, FieldRule, Show};
use crate::policy::{Body, Considered, PolicySet};
use crate::yaml::Problem;

/// The rules of one configuration for one policy set.
#[derive(Default)]
pub struct Redaction {
    /// For each policy that judges fields of which something is told, those fields.
    shown: HashMap<Arc<str>, Vec<(Arc<str>, Show)>>,
    key: Option<hmac::Key>,
}

impl Redaction {
    /// Matches the rules with what these policies judge.
    pub fn new(fields: &Fields, policies: &PolicySet) -> Redaction {
        let mut shown: HashMap<Arc<str>, Vec<(Arc<str>, Show)>> = HashMap::new();
        if !fields.rules.is_empty() {
            for (policy, name) in policies.judged_fields() {
                let fits = |rule: &&FieldRule| {
                    rule.covers(policy) && rule.fields.iter().any(|f| f.name.fits(name))
                };
                let rules = fields.rules.iter().filter(fits);
                if let Some(show) = rules.map(|rule| rule.show).max() {
                    let of = shown.entry(policy.clone()).or_default();
                    of.push((name.clone(), show));
                }
            }
        }
        let key = fields.key.as_ref();
        Redaction {
            shown,
            key: key.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, &secret.0)),
        }
    }

    /// What is told of the fields that these candidates judge in this body, in their order.
    pub fn told(&self, candidates: &Considered<'_>, body: Body<'_, '_>) -> Vec<JudgedField> {
        let mut told: Vec<(JudgedField, Show)> = Vec::new();
        if self.shown.is_empty() {
            return Vec::new();
        }
        candidates.judged(body, |field| {
            let Some(show) = self.show(field.policy, field.name) else {
                return;
            };
            let room = told.len() < MAX_FIELDS;
            match told.iter_mut().find(|((name, _), _)| name == field.name) {
                // Judged by several policies: the rule that tells less counts.
                Some(((_, text), known)) if *known < show => {
                    (*text, *known) = (self.tell(show, field.value), show);
                }
                Some(_) => {}
                None if room => {
                    let text = self.tell(show, field.value);
                    told.push(((field.name.clone(), text), show));
                }
                None => {}
            }
        });
        told.into_iter().map(|(field, _)| field).collect()
    }

    fn show(&self, policy: &str, name: &str) -> Option<Show> {
        let fields = self.shown.get(policy)?;
        let found = fields.iter().find(|(known, _)| **known == *name);
        found.map(|(_, show)| *show)
    }

    fn tell(&self, show: Show, value: &str) -> Box<str> {
        match (show, &self.key) {
            (Show::Shown, _) => cut(value).into(),
            (Show::Hmac, Some(key)) => {
                let tag = hmac::sign(key, value.as_bytes());
                let digest: [u8; 32] = tag.as_ref().try_into().unwrap_or_default();
                let digits = encode::hex_digits(&digest);
                format!("{HMAC}{}", String::from_utf8_lossy(&digits)).into()
            }
            // A configuration with such a rule has a key; without one, there is nothing to tell.
            (Show::Hmac, None) => HMAC.into(),
        }
    }
}

/// The names of fields that no policy of their rule judges, each at its place: perhaps a slip, perhaps policies that
/// are yet to come.
pub fn unjudged(fields: &Fields, policies: &PolicySet) -> Vec<Problem> {
    let judged = |rule: &FieldRule, field: &FieldName| {
        policies
            .judged_fields()
            .any(|(policy, name)| field.name.fits(name) && rule.covers(policy))
    };
    let rules = fields.rules.iter();
    let names = rules.flat_map(|rule| rule.fields.iter().map(move |field| (rule, field)));
    names
        .filter(|(rule, field)| !judged(rule, field))
        .map(|(_, field)| field.unjudged.clone())
        .collect()
}

// The key's own `Debug` is another crate's to choose.
impl fmt::Debug for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redaction")
            .field("policies", &self.shown.len())
            .finish_non_exhaustive()
    }
}

/// The beginning of a text, whole characters only.
fn cut(text: &str) -> &str {
    let end = (0..=text.len().min(MAX_VALUE))
        .rev()
        .find(|at| text.is_char_boundary(*at));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

/// What stands before the digits of an HMAC.
const HMAC: &str = "hmac-sha256:";
/// The most fields that a record tells.
const MAX_FIELDS: usize = 16;
/// The most bytes of a value that a record shows.
const MAX_VALUE: usize = 128;

#[cfg(test)]
mod tests;
