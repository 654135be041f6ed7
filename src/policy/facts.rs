//! What is known of one request, and the names under which conditions refer to it.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use jiff::Timestamp;

use super::json::Pointer;
use super::{Canonical, Principal};

/// Everything about one request that a decision depends on, but for the body.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Method, host, path and query.
    pub request: &'a Canonical,
    /// The headers as they came.
    pub headers: &'a HeaderMap,
    /// Who asks; `None` where no credential came.
    pub principal: Option<&'a Principal>,
    /// The peer's address.
    pub client: IpAddr,
    /// Whether a body comes with it, as far as the head tells (a length above zero, chunks, an open stream).
    pub has_body: bool,
    /// Whether this is a WebSocket handshake.
    pub websocket: bool,
    /// The moment for which the request is judged.
    pub now: Timestamp,
}

impl FactRef {
    /// Whether this is a fact of the principal.
    pub fn is_principal(&self) -> bool {
        match self {
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
            | FactRef::CertFingerprint => true,
            FactRef::Path(_)
            | FactRef::Query(_)
            | FactRef::Header(_)
            | FactRef::Body(_)
            | FactRef::ClientIp
            | FactRef::Host => false,
        }
    }
}

/// The name of one fact, resolved when the policy was compiled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FactRef {
    /// `agent`.
    Agent,
    /// `user`.
    User,
    /// `workload`.
    Workload,
    /// `provider`.
    Provider,
    /// `session`.
    Session,
    /// `task`.
    Task,
    /// `groups`.
    Groups,
    /// `claims/…`.
    Claim(Pointer),
    /// `cert/spiffe_id`.
    CertSpiffeId,
    /// `cert/dns`.
    CertDns,
    /// `cert/email`.
    CertEmail,
    /// `cert/fingerprint`.
    CertFingerprint,
    /// `path/…`: the index into the policy's captured parameters.
    Path(u16),
    /// `query/…`: the decoded name.
    Query(Box<str>),
    /// `headers/…`.
    Header(HeaderName),
    /// `body/…`: the index into the policy set's body fields.
    Body(u32),
    /// `client/ip`.
    ClientIp,
    /// `host`.
    Host,
}
