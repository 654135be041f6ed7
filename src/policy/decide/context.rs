//! What all candidates of one request share.

use std::cell::{Cell, OnceCell};

use crate::policy::compile::Policy;
use crate::policy::facts::{FactRef, Facts};
use crate::policy::fault::Fault;
use crate::policy::normalise::headers::{self, ContentType};
use crate::policy::normalise::query::Query;
use crate::policy::principal::Principal;
use crate::policy::source::{Judged, Mode};
use crate::policy::value::Value;

/// What all candidates of a request share; parsed when first asked for.
#[derive(Debug)]
pub(super) struct Context<'c> {
    pub(super) facts: Facts<'c>,
    query: OnceCell<Query<'c>>,
    client: OnceCell<String>,
    content_type: OnceCell<Result<Option<ContentType<'c>>, Fault>>,
    /// The first fault, in the order of their declaration, that a judged part was found to have.
    fault: Cell<Option<Fault>>,
}

impl<'c> Context<'c> {
    pub(super) fn new(facts: Facts<'c>) -> Self {
        Self {
            facts,
            query: OnceCell::new(),
            client: OnceCell::new(),
            content_type: OnceCell::new(),
            fault: Cell::new(None),
        }
    }

    /// The fault that a denial gives.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault.get()
    }

    /// Whether the identity ended.
    pub(super) fn principal_expired(&self) -> bool {
        self.facts
            .principal
            .and_then(|p| p.expires_at)
            .is_some_and(|end| end <= self.facts.now)
    }

    pub(super) fn principal_fact(&self, fact: &FactRef) -> Value<'c> {
        self.facts
            .principal
            .map_or(Value::Missing, |principal| principal_fact(principal, fact))
    }

    fn note(&self, fault: Fault) {
        self.fault.set(Some(
            self.fault.get().map_or(fault, |known| known.min(fault)),
        ));
    }

    /// Evaluates what has no say in this verdict, so that its faults have none either.
    pub(super) fn silently<T>(&self, evaluate: impl FnOnce() -> T) -> T {
        let known = self.fault.get();
        let result = evaluate();
        self.fault.set(known);
        result
    }

    /// Notes what a policy stumbled on, unless it is one that only watches: its reading refuses nobody.
    pub(super) fn note_for(&self, policy: &Policy, fault: Fault) {
        match policy.mode {
            Mode::Enforce => self.note(fault),
            Mode::Shadow => {}
        }
    }

    /// The client's address as text.
    pub(super) fn client(&self) -> &str {
        self.client
            .get_or_init(|| self.facts.client.to_canonical().to_string())
    }

    pub(super) fn query(&self) -> &Query<'c> {
        self.query
            .get_or_init(|| Query::parse(self.facts.request.query()))
    }

    fn content_type(&self) -> &Result<Option<ContentType<'c>>, Fault> {
        self.content_type
            .get_or_init(|| headers::content_type(self.facts.headers))
    }

    /// Whether the body says that it is of this type.
    pub(super) fn content_type_is(&self, essence: &str) -> bool {
        matches!(self.content_type(), Ok(Some(content_type)) if *content_type.essence == *essence)
    }

    /// Whether the body's type is one that the policy judges.
    pub(super) fn fits(&self, judged: &Judged) -> Result<(), Fault> {
        match self.content_type() {
            Ok(Some(found)) if judged.content_types.iter().any(|wanted| found.fits(wanted)) => {
                Ok(())
            }
            Ok(_) => Err(Fault::ContentType),
            Err(fault) => Err(*fault),
        }
    }
}

fn principal_fact<'p>(principal: &'p Principal, fact: &FactRef) -> Value<'p> {
    let text = |text: &'p Option<Box<str>>| text.as_deref().map_or(Value::Missing, Value::Text);
    let cert = || principal.cert.as_ref();
    match fact {
        FactRef::Agent => text(&principal.agent),
        FactRef::User => text(&principal.user),
        FactRef::Workload => text(&principal.workload),
        FactRef::Provider => text(&principal.provider),
        FactRef::Session => text(&principal.session),
        FactRef::Task => text(&principal.task),
        FactRef::Groups => Value::Texts(&principal.groups),
        FactRef::Claim(pointer) => principal
            .claims
            .at(pointer)
            .map_or(Value::Missing, Value::from),
        FactRef::CertSpiffeId => cert().map_or(Value::Missing, |c| text(&c.spiffe_id)),
        FactRef::CertDns => cert().map_or(Value::Missing, |c| Value::Texts(&c.dns)),
        FactRef::CertEmail => cert().map_or(Value::Missing, |c| Value::Texts(&c.email)),
        FactRef::CertFingerprint => cert().map_or(Value::Missing, |c| Value::Text(&c.fingerprint)),
        FactRef::Path(_)
        | FactRef::Query(_)
        | FactRef::Header(_)
        | FactRef::Body(_)
        | FactRef::ClientIp
        | FactRef::Host => Value::Missing,
    }
}
