//! What a request is judged by, kept in one piece: for the decision, for its record, and, while a response or
//! a tunnel is open, for judging it again under new policies.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, header};
use jiff::Timestamp;

use super::inspect::Whole;
use crate::audit::record::JudgedField;
use crate::audit::redact::Redaction;
use crate::policy::{
    Body, BodyFields, BodyPlan, Canonical, Considered, Decision, Facts, Fault, Permit, PolicySet,
    Principal, Verdict,
};

/// The longest body in bytes that is read for shadow policies alone.
const SHORT: usize = 64 << 10;

/// A request as it is judged, but for its body.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Method, host, path and query.
    pub canonical: Canonical,
    /// The headers as they came.
    pub headers: HeaderMap,
    /// Who asks.
    pub principal: Option<Arc<Principal>>,
    /// The client's address.
    pub client: IpAddr,
    /// Whether a body comes with it.
    pub has_body: bool,
    /// Whether this is a WebSocket handshake.
    pub websocket: bool,
}

/// What is known of the body.
#[derive(Clone, Debug)]
pub enum Content {
    /// None came.
    Absent,
    /// One is there; nobody has read it.
    Left,
    /// It was read.
    Whole(Whole),
    /// It can't be judged.
    Fault(Fault),
}

impl Judged {
    /// The facts of this moment.
    pub fn facts(&self, now: Timestamp) -> Facts<'_> {
        Facts {
            request: &self.canonical,
            headers: &self.headers,
            principal: self.principal.as_deref(),
            client: self.client,
            has_body: self.has_body,
            websocket: self.websocket,
            now,
        }
    }

    /// Whether a body that only shadow policies ask for is read for them: one that announces that it is short and
    /// plain, since what breaks while it is read refuses the request.
    pub fn shadow_may_read(&self) -> bool {
        let length = self.headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        length.is_some_and(|length| length <= SHORT)
            && !self.headers.contains_key(header::CONTENT_ENCODING)
    }

    /// The permit that these policies would give the request at this moment.
    pub fn permit(
        &self,
        policies: &PolicySet,
        content: &Content,
        depth: usize,
        now: Timestamp,
    ) -> Option<Permit> {
        let candidates = policies.consider(&self.facts(now));
        // Nothing of this goes on record.
        let (decision, _) = content.decide(candidates, depth, &Redaction::default());
        match decision.verdict {
            Verdict::Permit(permit) => Some(permit),
            Verdict::Deny(_) => None,
        }
    }
}

impl Content {
    /// The verdict on the candidates of the request that it came with, and what the record tells of the fields that they
    /// judged. JSON may nest so deeply.
    pub fn decide(
        &self,
        candidates: Considered<'_>,
        depth: usize,
        redaction: &Redaction,
    ) -> (Decision, Vec<JudgedField>) {
        let read = |plan: BodyPlan<'_>| match (plan, self) {
            (BodyPlan::Json(projection), Content::Whole(Whole { bytes, .. })) => {
                Some(BodyFields::json(bytes, projection, depth))
            }
            (BodyPlan::Form(projection), Content::Whole(Whole { bytes, .. })) => {
                Some(BodyFields::form(bytes, projection))
            }
            (BodyPlan::Leave, _) | (_, Content::Absent | Content::Left | Content::Fault(_)) => None,
        };
        let fields = read(candidates.body_plan());
        let shadow_fields = read(candidates.shadow_plan());
        let asked = candidates.body_plan().wants();
        let body = match (&fields, self) {
            (Some(Ok(fields)), _) => Body::Fields(fields),
            (Some(Err(fault)), _) | (None, Content::Fault(fault)) => Body::Fault(*fault),
            (None, Content::Absent) => Body::Absent,
            // Asked for, but gone: it was streamed past under the policies of its time.
            (None, Content::Left) if asked => Body::Fault(Fault::BodyIncomplete),
            (None, Content::Left | Content::Whole(_)) => Body::Unread,
        };
        let shadow_body = match (&shadow_fields, body) {
            (Some(Ok(fields)), _) => Body::Fields(fields),
            (Some(Err(fault)), _) => Body::Fault(*fault),
            // What others read of it is not what shadow policies ask for.
            (None, Body::Fields(_)) => Body::Unread,
            (None, body) => body,
        };
        let told = redaction.told(&candidates, body);
        (candidates.decide_both(body, shadow_body), told)
    }
}
