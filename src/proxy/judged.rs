//! What a request is judged by, kept in one piece: for the decision, for its record, and, while a response or
//! a tunnel is open, for judging it again under new policies.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use jiff::Timestamp;

use super::inspect::Whole;
use crate::policy::{
    Body, BodyFields, BodyPlan, Canonical, Considered, Decision, Facts, Fault, PolicySet,
    Principal, Verdict,
};

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

    /// Whether these policies would permit the request at this moment.
    pub fn holds(
        &self,
        policies: &PolicySet,
        content: &Content,
        depth: usize,
        now: Timestamp,
    ) -> bool {
        let candidates = policies.consider(&self.facts(now));
        match content.decide(candidates, depth).verdict {
            Verdict::Permit(_) => true,
            Verdict::Deny(_) => false,
        }
    }
}

impl Content {
    /// The verdict on the candidates of the request that it came with. JSON may nest so deeply.
    pub fn decide(&self, candidates: Considered<'_>, depth: usize) -> Decision {
        let fields = match (candidates.body_plan(), self) {
            (BodyPlan::Json(projection), Content::Whole(Whole { bytes, .. })) => {
                Some(BodyFields::json(bytes, projection, depth))
            }
            (BodyPlan::Form(projection), Content::Whole(Whole { bytes, .. })) => {
                Some(BodyFields::form(bytes, projection))
            }
            (BodyPlan::Leave, _) | (_, Content::Absent | Content::Left | Content::Fault(_)) => None,
        };
        let asked = candidates.body_plan().wants();
        let body = match (&fields, self) {
            (Some(Ok(fields)), _) => Body::Fields(fields),
            (Some(Err(fault)), _) | (None, Content::Fault(fault)) => Body::Fault(*fault),
            (None, Content::Absent) => Body::Absent,
            // Asked for, but gone: it was streamed past under the policies of its time.
            (None, Content::Left) if asked => Body::Fault(Fault::BodyIncomplete),
            (None, Content::Left | Content::Whole(_)) => Body::Unread,
        };
        candidates.decide(body)
    }
}
