//! One policy that may have a say in one request, and what is known of it so far.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::sync::Arc;

use smallvec::SmallVec;

use super::context::Context;
use super::{Body, JudgedField};
use crate::policy::body::{BodyFields, Projection};
use crate::policy::compile::{CompiledTemplate, Policy, PolicySet};
use crate::policy::facts::FactRef;
use crate::policy::fault::Fault;
use crate::policy::index::{Entry, PathView};
use crate::policy::matcher::{MAX_COMPARISONS, Scope, shape};
use crate::policy::normalise::headers;
use crate::policy::source::{BodyRule, Condition, Effect, Judged, QueryRule, Stage, Subject};
use crate::policy::value::{Truth, Value};

/// One policy through one of its templates.
#[derive(Debug)]
pub(super) struct Candidate<'c> {
    pub(super) policy: &'c Policy,
    template: &'c CompiledTemplate,
    /// The path parameters that the policy reads; `None` where the text could be read in two ways.
    captures: SmallVec<[Option<Cow<'c, str>>; 4]>,
    /// Whether the caller is one that the policy speaks of.
    subject: Truth,
    /// All but the window and the body.
    head: Truth,
    window: Truth,
    window_end: Option<jiff::Timestamp>,
    body: Truth,
}

impl<'c> Candidate<'c> {
    /// Looks at everything but the body.
    pub(super) fn new(
        set: &'c PolicySet,
        entry: Entry,
        view: &PathView<'c>,
        context: &Context<'c>,
    ) -> Option<Self> {
        let policy = set.policies.get(entry.policy())?;
        let template = policy.templates.get(entry.template())?;
        let captures = template
            .captures
            .iter()
            .map(|span| view.span(*span))
            .collect();
        let mut candidate = Candidate {
            policy,
            template,
            captures,
            subject: Truth::True,
            head: Truth::True,
            window: Truth::True,
            window_end: None,
            body: Truth::True,
        };
        candidate.look(context);
        Some(candidate)
    }

    /// Whether the body could still make the policy hold or apply. A permit's window doesn't count: where it alone
    /// is in the way, the denial says so.
    pub(super) fn is_live(&self) -> bool {
        match self.policy.effect {
            Effect::Permit => self.head == Truth::True,
            Effect::Forbid => self.head.and(self.window) != Truth::False,
        }
    }

    /// Everything together.
    pub(super) fn truth(&self) -> Truth {
        self.head.and(self.window).and(self.body)
    }

    /// Whether the window alone is in the way.
    pub(super) fn only_window_fails(&self) -> bool {
        self.head.and(self.body) == Truth::True && self.window != Truth::True
    }

    /// Whether the policy speaks of this caller.
    pub(super) fn knows_subject(&self) -> bool {
        self.subject == Truth::True
    }

    /// Whether a forbid is off by its window alone, as far as can be told without reading more.
    pub(super) fn is_asleep(&self) -> bool {
        self.policy.effect == Effect::Forbid
            && self.window == Truth::False
            && self.head != Truth::False
    }

    /// The first moment, not before `at`, at which the window may be open.
    pub(super) fn opens(
        &self,
        at: jiff::Timestamp,
        context: &Context<'c>,
    ) -> Option<jiff::Timestamp> {
        match &self.policy.window {
            Some(window) => window.opens(at, |fact| context.principal_fact(fact)),
            None => Some(at),
        }
    }

    pub(super) fn window_end(&self) -> Option<jiff::Timestamp> {
        self.window_end
    }

    pub(super) fn template(&self) -> Arc<str> {
        self.template.text.clone()
    }

    /// What this candidate reads of the body.
    pub(super) fn reads(&self, context: &Context<'_>) -> Option<&'c Projection> {
        match &self.policy.body {
            BodyRule::Judged(judged) if judged.reads && context.fits(judged).is_ok() => {
                Some(&judged.projection)
            }
            BodyRule::Judged(_) | BodyRule::None | BodyRule::Any => None,
        }
    }

    /// A fact as this policy sees it.
    pub(super) fn fact<'e>(
        &'e self,
        context: &'e Context<'c>,
        body: Body<'e, 'e>,
        fact: &FactRef,
    ) -> Value<'e> {
        let sight = match body {
            Body::Fields(fields) => Sight::Fields(fields),
            Body::Absent => Sight::Absent,
            Body::Unread | Body::Fault(_) => Sight::NotYet,
        };
        self.sight(context, sight).value(fact)
    }

    fn sight<'e>(&'e self, context: &'e Context<'c>, body: Sight<'e>) -> View<'e, 'c> {
        View::new(context, self.policy, &self.captures, body)
    }

    /// Evaluates subject, path, client and window; then, where those leave the policy alive, query and headers,
    /// whose faults count only then.
    fn look(&mut self, context: &Context<'c>) {
        let policy = self.policy;
        let view = View::new(context, policy, &self.captures, Sight::NotYet);
        let known = context.facts.principal.is_some() || policy.subject == Subject::Anyone;
        let mut subject = Truth::from(known);
        let mut matched = Truth::from(
            policy.speaks_of_upgrade(context.facts.websocket)
                && policy.admits_body(context.facts.has_body),
        );
        for condition in policy.conditions.iter().filter(|c| c.stage == Stage::Match) {
            let truth = view.test(condition);
            if condition.fact.is_principal() {
                subject = subject.and(truth);
            } else {
                matched = matched.and(truth);
            }
        }
        let (window, window_end) = match &policy.window {
            Some(window) => window.test(context.facts.now, |fact| context.principal_fact(fact)),
            None => (Truth::True, None),
        };
        let mut head = subject.and(matched);
        let wire = |head: Truth| {
            let head = head
                .and(query_closed(policy, context))
                .and(headers_closed(policy, context));
            let conditions = policy.conditions.iter().filter(|c| c.stage == Stage::Wire);
            conditions.fold(head, |head, condition| head.and(view.test(condition)))
        };
        head = match policy.effect {
            Effect::Permit if head == Truth::True => wire(head),
            Effect::Forbid if head.and(window) != Truth::False => wire(head),
            // Asked only for when it wakes: what it stumbles on is no fault yet.
            Effect::Forbid if head != Truth::False => context.silently(|| wire(head)),
            Effect::Permit | Effect::Forbid => head,
        };
        (self.subject, self.head, self.window, self.window_end) =
            (subject, head, window, window_end);
    }

    /// Evaluates the body's conditions.
    pub(super) fn judge_body(&mut self, context: &Context<'c>, body: Body<'_, '_>) {
        let BodyRule::Judged(judged) = &self.policy.body else {
            return;
        };
        if !self.is_live() {
            return;
        }
        let sight = match body {
            _ if !context.facts.has_body => Sight::Absent,
            Body::Absent => Sight::Absent,
            _ if context.fits(judged).is_err() => {
                Sight::Fault(context.fits(judged).err().unwrap_or(Fault::ContentType))
            }
            // What others can't read of it is nothing to who reads nothing.
            _ if !judged.reads => Sight::Fitting,
            Body::Fault(fault) => Sight::Fault(fault),
            Body::Fields(fields) => Sight::Fields(fields),
            Body::Unread => Sight::NotYet,
        };
        self.body = match sight {
            Sight::Fitting => Truth::True,
            Sight::NotYet => Truth::Indeterminate,
            Sight::Fault(fault) => {
                context.note_for(self.policy, fault);
                Truth::Indeterminate
            }
            Sight::Absent | Sight::Fields(_) => self.judge_fields(judged, context, sight),
        };
    }

    fn judge_fields(&self, judged: &Judged, context: &Context<'c>, sight: Sight<'_>) -> Truth {
        let view = self.sight(context, sight);
        let mut truth = Truth::True;
        if let (Some(only), Sight::Fields(fields)) = (judged.only, sight) {
            truth = truth.and(fields.unexpected(only).is_none().into());
        }
        if let Some((field, wanted)) = &judged.exactly {
            truth = truth.and(shape::same(
                view.value(&FactRef::Body(*field)),
                wanted,
                &view,
            ));
        }
        judged
            .conditions
            .iter()
            .fold(truth, |truth, condition| truth.and(view.test(condition)))
    }

    /// How many conditions the policy has.
    pub(super) fn conditions(&self) -> usize {
        let judged = match &self.policy.body {
            BodyRule::Judged(judged) => judged.conditions.len(),
            BodyRule::None | BodyRule::Any => 0,
        };
        self.policy.conditions.len() + judged
    }

    /// Visits the names of the facts that failed and that the caller sent.
    pub(super) fn failed_fields(
        &self,
        context: &Context<'c>,
        body: Body<'_, '_>,
        mut visit: impl FnMut(&str),
    ) {
        let sight = match body {
            Body::Fields(fields) if self.is_live() => Sight::Fields(fields),
            _ => Sight::NotYet,
        };
        let view = self.sight(context, sight);
        let body_conditions = match (&self.policy.body, sight) {
            (BodyRule::Judged(judged), Sight::Fields(_)) => &*judged.conditions,
            _ => &[],
        };
        for condition in self.policy.conditions.iter().chain(body_conditions) {
            let sent = condition.label.contains('/')
                && !condition.fact.is_principal()
                && condition.fact != FactRef::ClientIp;
            if sent
                && !matches!(view.value(&condition.fact), Value::Missing)
                && view.test(condition) != Truth::True
            {
                visit(&condition.label);
            }
        }
        if let (BodyRule::Judged(judged), Sight::Fields(fields)) = (&self.policy.body, sight)
            && judged
                .only
                .is_some_and(|only| fields.unexpected(only).is_some())
        {
            visit("body"); // not which key: that text is the caller's
        }
        if query_closed(self.policy, context) != Truth::True {
            visit("query");
        }
    }

    /// Visits the body's scalar fields that this policy judges.
    pub(super) fn judged_fields(
        &self,
        context: &Context<'c>,
        body: Body<'_, '_>,
        mut visit: impl FnMut(JudgedField<'_>),
    ) {
        let (BodyRule::Judged(judged), Body::Fields(fields), true) =
            (&self.policy.body, body, self.is_live())
        else {
            return;
        };
        // What others read of a body whose type it doesn't judge, it didn't judge.
        if context.fits(judged).is_err() {
            return;
        }
        let view = self.sight(context, Sight::Fields(fields));
        for condition in judged.fields() {
            let value = match view.value(&condition.fact) {
                Value::Text(text) | Value::Wire(text) | Value::Number(text) => text,
                Value::Bool(true) => "true",
                Value::Bool(false) => "false",
                Value::Null => "null",
                Value::Missing | Value::Unreadable | Value::Texts(_) | Value::Json(_) => continue,
            };
            visit(JudgedField {
                policy: &self.policy.id,
                name: &condition.label,
                value,
            });
        }
    }
}

/// The most references that are kept at hand: more would take as long to find as to ask for.
const MAX_KNOWN: usize = 16;

/// What of the body a policy sees.
#[derive(Clone, Copy)]
enum Sight<'e> {
    /// It was not read, so nothing can be said of it.
    NotYet,
    /// There is none.
    Absent,
    /// Only its type is judged, and it fits.
    Fitting,
    /// It can't be read.
    Fault(Fault),
    /// Its fields.
    Fields(&'e BodyFields<'e>),
}

/// The facts as one candidate sees them.
struct View<'e, 'c> {
    context: &'e Context<'c>,
    policy: &'e Policy,
    captures: &'e [Option<Cow<'c, str>>],
    body: Sight<'e>,
    /// The comparisons that the condition may still make: each has its own, so that their order never matters.
    left: Cell<u32>,
    /// What conditions refer to, by the place of the reference in the policy: inside `every` it is asked for at each element, and
    /// to find it may mean to walk over a whole query.
    known: RefCell<SmallVec<[(*const FactRef, Value<'e>); 2]>>,
}

impl<'e, 'c> View<'e, 'c> {
    fn new(
        context: &'e Context<'c>,
        policy: &'e Policy,
        captures: &'e [Option<Cow<'c, str>>],
        body: Sight<'e>,
    ) -> Self {
        View {
            context,
            policy,
            captures,
            body,
            left: Cell::new(MAX_COMPARISONS),
            known: RefCell::default(),
        }
    }

    fn test(&self, condition: &Condition) -> Truth {
        self.left.set(MAX_COMPARISONS);
        condition.matcher.test(self.value(&condition.fact), self)
    }

    fn value(&self, fact: &FactRef) -> Value<'e> {
        match fact {
            FactRef::Path(index) => match self.captures.get(usize::from(*index)) {
                Some(Some(text)) => Value::Wire(text),
                Some(None) | None => Value::Unreadable,
            },
            FactRef::Query(name) => self.wire(self.context.query().value(name)),
            FactRef::Header(name) => self.wire(headers::single(self.context.facts.headers, name)),
            FactRef::Body(id) => match self.body {
                Sight::Fields(fields) => fields.field(*id),
                Sight::Absent => Value::Missing,
                Sight::NotYet | Sight::Fitting | Sight::Fault(_) => Value::Unreadable,
            },
            FactRef::ClientIp => Value::Text(self.context.client()),
            FactRef::Host => Value::Text(self.context.facts.request.host()),
            FactRef::Agent
            | FactRef::User
            | FactRef::Workload
            | FactRef::Provider
            | FactRef::Session
            | FactRef::Task
            | FactRef::Groups
            | FactRef::Claim(_)
            | FactRef::CertSpiffeId
            | FactRef::CertDns
            | FactRef::CertEmail
            | FactRef::CertFingerprint => self.context.principal_fact(fact),
        }
    }

    fn wire<'v>(&self, value: Result<Option<&'v str>, Fault>) -> Value<'v> {
        match value {
            Ok(Some(text)) => Value::Wire(text),
            Ok(None) => Value::Missing,
            Err(fault) => {
                self.context.note_for(self.policy, fault);
                Value::Unreadable
            }
        }
    }
}

impl Scope for View<'_, '_> {
    fn fact(&self, fact: &FactRef) -> Value<'_> {
        let place = std::ptr::from_ref(fact);
        let mut known = self.known.borrow_mut();
        if let Some((_, value)) = known.iter().find(|(known, _)| std::ptr::eq(*known, place)) {
            return *value;
        }
        let value = self.value(fact);
        if known.len() < MAX_KNOWN {
            known.push((place, value));
        }
        value
    }

    fn spend(&self) -> bool {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.unwrap_or_default());
        left.is_some()
    }

    fn note(&self, fault: Fault) {
        self.context.note_for(self.policy, fault);
    }
}

impl Policy {
    /// A permit speaks of WebSockets only where it says so; a forbid that doesn't say speaks of both.
    fn speaks_of_upgrade(&self, websocket: bool) -> bool {
        self.websocket == websocket || (self.effect == Effect::Forbid && !self.websocket)
    }

    fn admits_body(&self, has_body: bool) -> bool {
        !has_body || !matches!(self.body, BodyRule::None)
    }
}

fn query_closed(policy: &Policy, context: &Context<'_>) -> Truth {
    match &policy.query {
        QueryRule::Any => Truth::True,
        QueryRule::None => context
            .facts
            .request
            .query()
            .is_none_or(str::is_empty)
            .into(),
        QueryRule::Only(known) => match context.query().fault() {
            Some(fault) => {
                context.note_for(policy, fault);
                Truth::Indeterminate
            }
            None => context
                .query()
                .names()
                .all(|name| known.iter().any(|k| **k == *name))
                .into(),
        },
    }
}

fn headers_closed(policy: &Policy, context: &Context<'_>) -> Truth {
    let known = |name| {
        headers::is_inert(name) || headers::is_the_proxys(name) || policy.headers.contains(name)
    };
    (!policy.headers_closed || context.facts.headers.keys().all(known)).into()
}
