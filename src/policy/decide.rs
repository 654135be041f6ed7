//! The verdict, and the only place where a [`Permit`] is made.
//!
//! [`PolicySet::consider`] finds the candidates of a request before its body is touched, and
//! [`Considered::decide`] ends it. In between the caller reads the body, if [`Considered::body_plan`] asks for it.
//!
//! A permit holds where all its conditions are true. A forbid applies where none is false and no permit that it
//! names holds. One forbid that applies denies; else one permit that holds permits; else the request is denied.

mod candidate;
mod context;
mod denial;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use smallvec::SmallVec;

use self::candidate::Candidate;
use self::context::Context;
use super::body::{BodyFields, Projection};
use super::compile::PolicySet;
use super::facts::{FactRef, Facts};
use super::fault::{Fault, Reason};
use super::source::{Effect, FORM, Mode, Setting};
use super::value::{Truth, Value};

/// What was decided, for the answer and for the record.
#[derive(Debug)]
pub struct Decision {
    /// Permit or deny.
    pub verdict: Verdict,
    /// The template that the path matched: the chosen permit's, else one of a candidate's.
    pub template: Option<Arc<str>>,
    /// What each shadow policy said that holds or applies, sorted by id.
    pub shadow: Vec<Shadow>,
}

/// A scalar field of a body that an enforced policy judged, with its whole value. What of it may be told is for the
/// caller to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JudgedField<'f> {
    /// The policy's id.
    pub policy: &'f Arc<str>,
    /// The field's name, such as `body/branch`.
    pub name: &'f Arc<str>,
    /// The value as text: a string's own, a number as it was written, `true`, `false` or `null`.
    pub value: &'f str,
}

/// Permit or deny; nothing in between.
#[derive(Debug)]
pub enum Verdict {
    /// The request may go.
    Permit(Permit),
    /// It may not.
    Deny(Denial),
}

/// The right to forward one request. Only this module makes one, and it can't be cloned.
#[derive(Debug)]
pub struct Permit {
    policy: Arc<str>,
    set_headers: Vec<(HeaderName, HeaderValue)>,
    named_headers: Box<[HeaderName]>,
    until: Option<Timestamp>,
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
    /// The judged fields that failed and that the caller sent, such as `body/branch` or `path/account`, sorted.
    /// Only of policies whose `who` the caller fits.
    pub fields: Vec<Box<str>>,
}

/// What a policy in `mode: shadow` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shadow {
    /// Its id.
    pub policy: Arc<str>,
    /// A permit that holds, or a forbid that applies.
    pub effect: Effect,
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

impl BodyPlan<'_> {
    /// Whether the body is to be read.
    pub fn wants(&self) -> bool {
        match self {
            BodyPlan::Leave => false,
            BodyPlan::Json(_) | BodyPlan::Form(_) => true,
        }
    }
}

/// What became of the body.
#[derive(Debug, Clone, Copy)]
pub enum Body<'f, 'b> {
    /// No body came.
    Absent,
    /// Nobody asked for it.
    Unread,
    /// It was read.
    Fields(&'f BodyFields<'b>),
    /// It can't be read.
    Fault(Fault),
}

/// The candidates of one request, before its body.
#[derive(Debug)]
pub struct Considered<'c> {
    set: &'c PolicySet,
    context: Context<'c>,
    candidates: SmallVec<[Candidate<'c>; 4]>,
    /// Enforced forbids whose window alone keeps them off now: a permit ends when one of them may wake.
    asleep: Vec<Candidate<'c>>,
    /// What live candidates read of the body, together; apart from that, what live shadow policies do: what those
    /// stumble on is nothing to the others.
    projection: Option<Cow<'c, Projection>>,
    shadow_projection: Option<Cow<'c, Projection>>,
    /// The path has more readings than were looked at, so that a forbid may have been missed.
    unbounded: bool,
}

impl PolicySet {
    /// Finds the candidates: all that method, host, path and subject leave over, with everything evaluated that
    /// doesn't need the body.
    pub fn consider<'c>(&'c self, facts: &Facts<'c>) -> Considered<'c> {
        let context = Context::new(*facts);
        let mut candidates = SmallVec::new();
        let fact = |name: &FactRef| context.principal_fact(name);
        self.index.permits(facts.request, fact, |entry, view| {
            candidates.extend(Candidate::new(self, entry, &view, &context));
        });
        let mut asleep = Vec::new();
        let complete =
            self.index.forbids(facts.request, fact, |entry, view| {
                match Candidate::new(self, entry, &view, &context) {
                    Some(forbid) if forbid.is_live() => candidates.push(forbid),
                    Some(forbid) if forbid.is_asleep() && forbid.policy.mode == Mode::Enforce => {
                        asleep.push(forbid);
                    }
                    Some(_) | None => {}
                }
            });
        let projection = union(&candidates, &context, Mode::Enforce);
        let shadow_projection = union(&candidates, &context, Mode::Shadow);
        Considered {
            set: self,
            context,
            candidates,
            asleep,
            projection,
            shadow_projection,
            unbounded: !complete,
        }
    }

    /// Consider and decide in one, for a caller that has the body's fields at hand or needs none.
    pub fn decide(&self, facts: &Facts<'_>, body: Body<'_, '_>) -> Decision {
        self.consider(facts).decide(body)
    }
}

impl<'c> Considered<'c> {
    /// Whether a live candidate judges the body, and how it is to be read.
    pub fn body_plan(&self) -> BodyPlan<'_> {
        self.plan(self.projection.as_deref())
    }

    /// What the live shadow policies would read of the body. Never a reason to refuse: where the body can't be
    /// had without that risk, they do without.
    pub fn shadow_plan(&self) -> BodyPlan<'_> {
        self.plan(self.shadow_projection.as_deref())
    }

    fn plan<'p>(&self, projection: Option<&'p Projection>) -> BodyPlan<'p> {
        match projection {
            None => BodyPlan::Leave,
            Some(projection) if self.context.content_type_is(FORM) => BodyPlan::Form(projection),
            Some(projection) => BodyPlan::Json(projection),
        }
    }

    /// Visits the scalar fields of the body that enforced policies judge: one that several judge comes once for each. The
    /// body is the one to decide by.
    pub fn judged(&self, body: Body<'_, '_>, mut visit: impl FnMut(JudgedField<'_>)) {
        let enforced = |c: &&Candidate<'_>| c.policy.mode == Mode::Enforce;
        for candidate in self.candidates.iter().filter(enforced) {
            candidate.judged_fields(&self.context, body, &mut visit);
        }
    }

    /// The verdict, where nobody read the body for shadow policies.
    pub fn decide(self, body: Body<'_, '_>) -> Decision {
        self.decide_both(body, Body::Unread)
    }

    /// The verdict. The second body is the same one, read by [`shadow_plan`](Self::shadow_plan).
    pub fn decide_both(mut self, body: Body<'_, '_>, shadow_body: Body<'_, '_>) -> Decision {
        for candidate in &mut self.candidates {
            let body = match candidate.policy.mode {
                Mode::Enforce => body,
                Mode::Shadow => shadow_body,
            };
            candidate.judge_body(&self.context, body);
        }
        let template = self.template();
        let shadow = self.shadow();
        match self.permit(body) {
            Ok(permit) => Decision {
                verdict: Verdict::Permit(permit.0),
                template: Some(permit.1),
                shadow,
            },
            Err(denial) => Decision {
                verdict: Verdict::Deny(denial),
                template,
                shadow,
            },
        }
    }

    fn permit(&self, body: Body<'_, '_>) -> Result<(Permit, Arc<str>), Denial> {
        if self.unbounded {
            return Err(self.deny(Reason::AmbiguousRequest, Some(Fault::PathTooComplex), body));
        }
        if self.context.principal_expired() {
            return Err(self.deny(Reason::InvalidToken, None, body));
        }
        let Some(chosen) = self
            .holding(Mode::Enforce)
            .min_by(|a, b| a.policy.id.cmp(&b.policy.id))
        else {
            return Err(self.no_permit(body));
        };
        if self.applying(Mode::Enforce).next().is_some() {
            return Err(self.no_permit(body));
        }
        let Some(set_headers) = self.set_headers(body) else {
            return Err(self.deny(Reason::ObligationFailed, None, body));
        };
        let permit = Permit {
            policy: chosen.policy.id.clone(),
            set_headers,
            named_headers: chosen.policy.headers.clone(),
            until: self.until(chosen),
        };
        Ok((permit, chosen.template()))
    }

    /// When the right ends: with the permit's window, with the identity, or when a forbid that is lifted or asleep
    /// may begin to apply.
    fn until(&self, chosen: &Candidate<'c>) -> Option<Timestamp> {
        let identity = self.context.facts.principal.and_then(|p| p.expires_at);
        // None of these applies, or there were no permit: each is lifted.
        let awake = self.candidates.iter().filter(|c| {
            c.policy.effect == Effect::Forbid
                && c.policy.mode == Mode::Enforce
                && c.truth() != Truth::False
        });
        awake
            .chain(&self.asleep)
            .filter_map(|forbid| self.begins(forbid))
            .chain(chosen.window_end())
            .chain(identity)
            .min()
    }

    /// When a forbid that doesn't apply now may begin to: in the first hour of its window after its lift, if any, has
    /// ended. `None`: never.
    fn begins(&self, forbid: &Candidate<'c>) -> Option<Timestamp> {
        let now = self.context.facts.now;
        let lifted = self
            .lifting(forbid)
            .map(|permit| permit.window_end())
            // A permit without an end lifts for good; of those with one, the last to end counts.
            .try_fold(now, |last, end| end.map(|end| last.max(end)));
        forbid.opens(lifted?, &self.context)
    }

    /// Permits that hold.
    fn holding(&self, mode: Mode) -> impl Iterator<Item = &Candidate<'c>> {
        self.candidates.iter().filter(move |c| {
            c.policy.effect == Effect::Permit && c.policy.mode == mode && c.truth() == Truth::True
        })
    }

    /// Forbids that apply.
    fn applying(&self, mode: Mode) -> impl Iterator<Item = &Candidate<'c>> {
        self.candidates.iter().filter(move |c| {
            c.policy.effect == Effect::Forbid
                && c.policy.mode == mode
                && c.truth() != Truth::False
                && !self.lifted(c)
        })
    }

    fn lifted(&self, forbid: &Candidate<'c>) -> bool {
        self.lifting(forbid).next().is_some()
    }

    /// The permits that hold and lift this forbid.
    fn lifting<'s>(&'s self, forbid: &'s Candidate<'c>) -> impl Iterator<Item = &'s Candidate<'c>> {
        // Most forbids name none, and then nothing is evaluated.
        let permits = match &*forbid.policy.unless {
            [] => None,
            unless => Some(self.holding(Mode::Enforce).filter(|permit| {
                unless.iter().any(|at| {
                    self.set
                        .policies
                        .get(*at as usize)
                        .is_some_and(|policy| std::ptr::eq(policy, permit.policy))
                })
            })),
        };
        permits.into_iter().flatten()
    }

    /// The headers that all holding permits set; `None` where two disagree or a value can't stand in a header.
    fn set_headers(&self, body: Body<'_, '_>) -> Option<Vec<(HeaderName, HeaderValue)>> {
        let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
        for permit in self.holding(Mode::Enforce) {
            for (name, setting) in &permit.policy.set_headers {
                let value = match setting {
                    Setting::Value(value) => value.clone(),
                    Setting::Fact(fact) => match permit.fact(&self.context, body, fact) {
                        Value::Text(text) | Value::Wire(text) | Value::Number(text) => {
                            HeaderValue::from_str(text).ok()?
                        }
                        Value::Missing
                        | Value::Unreadable
                        | Value::Null
                        | Value::Bool(_)
                        | Value::Texts(_)
                        | Value::Json(_) => return None,
                    },
                };
                match headers.iter().find(|(known, _)| known == name) {
                    Some((_, known)) if *known != value => return None,
                    Some(_) => {}
                    None => headers.push((name.clone(), value)),
                }
            }
        }
        Some(headers)
    }

    fn template(&self) -> Option<Arc<str>> {
        self.candidates.first().map(Candidate::template)
    }

    fn shadow(&self) -> Vec<Shadow> {
        let all = self
            .holding(Mode::Shadow)
            .chain(self.applying(Mode::Shadow));
        let mut shadow: Vec<Shadow> = all
            .map(|c| Shadow {
                policy: c.policy.id.clone(),
                effect: c.policy.effect,
            })
            .collect();
        shadow.sort_by(|a, b| a.policy.cmp(&b.policy));
        shadow.dedup();
        shadow
    }
}

impl Permit {
    /// The policy that was chosen.
    pub fn policy(&self) -> &Arc<str> {
        &self.policy
    }

    /// Headers to set on the request, by the obligations of all holding permits.
    pub fn set_headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.set_headers
    }

    /// Headers that the chosen permit names, which therefore are forwarded.
    pub fn named_headers(&self) -> &[HeaderName] {
        &self.named_headers
    }

    /// When the right ends: the end of the policy's window, of the identity, of what lifts a forbid, or the moment at
    /// which a forbid's own window may open; whichever is first.
    pub fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// A permit that nothing decided, to test what takes one.
    #[cfg(test)]
    pub(crate) fn for_tests(until: Option<Timestamp>) -> Permit {
        Permit {
            policy: "tests".into(),
            set_headers: Vec::new(),
            named_headers: Box::default(),
            until,
        }
    }

    /// The same, with obligations and named headers.
    #[cfg(test)]
    pub(crate) fn with_headers(
        self,
        set: Vec<(HeaderName, HeaderValue)>,
        named: Vec<HeaderName>,
    ) -> Permit {
        Permit {
            set_headers: set,
            named_headers: named.into(),
            ..self
        }
    }
}

/// What is to be read of the body; `None` where no live candidate asks for it.
fn union<'c>(
    candidates: &[Candidate<'c>],
    context: &Context<'c>,
    mode: Mode,
) -> Option<Cow<'c, Projection>> {
    if !context.facts.has_body {
        return None;
    }
    let mut parts = candidates
        .iter()
        .filter(|c| c.policy.mode == mode && c.is_live())
        .filter_map(|c| c.reads(context));
    let first = parts.next()?;
    let mut all = vec![first];
    all.extend(parts.filter(|part| !std::ptr::eq(*part, first)));
    Some(if all.len() == 1 {
        Cow::Borrowed(first)
    } else {
        Cow::Owned(Projection::merge(&all))
    })
}
