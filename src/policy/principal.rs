//! Who asks: the identity that a token, a client certificate or both gave.

use jiff::Timestamp;

use super::json::Json;

/// A verified identity. Every provider's claims are mapped to these names, so that a policy never knows an
/// issuer's dialect.
#[derive(Clone, Debug, PartialEq)]
pub struct Principal {
    /// The configured provider's name; `None` where only a certificate came.
    pub provider: Option<Box<str>>,
    /// The agent or other non-human identity that acts.
    pub agent: Option<Box<str>>,
    /// The person on whose behalf it acts.
    pub user: Option<Box<str>>,
    /// The workload that it runs in.
    pub workload: Option<Box<str>>,
    /// The session.
    pub session: Option<Box<str>>,
    /// The task.
    pub task: Option<Box<str>>,
    /// The groups; no claim is the empty list.
    pub groups: Vec<Box<str>>,
    /// The token's verified claims, an object; empty where no token came.
    pub claims: Json,
    /// The client certificate.
    pub cert: Option<Certificate>,
    /// The token's id (`jti`), for records.
    pub token_id: Option<Box<str>>,
    /// The first moment at which this identity no longer counts: the token's `exp` with its issuer's leeway, or the
    /// end of the certificate, whichever is first.
    pub expires_at: Option<Timestamp>,
}

impl Default for Principal {
    fn default() -> Self {
        Self {
            provider: None,
            agent: None,
            user: None,
            workload: None,
            session: None,
            task: None,
            groups: Vec::new(),
            claims: Json::Object(Vec::new()),
            cert: None,
            token_id: None,
            expires_at: None,
        }
    }
}

/// What policies see of a verified client certificate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Certificate {
    /// The SPIFFE ID (the one URI SAN of an X.509-SVID).
    pub spiffe_id: Option<Box<str>>,
    /// DNS SANs, lower-cased.
    pub dns: Vec<Box<str>>,
    /// E-mail SANs.
    pub email: Vec<Box<str>>,
    /// SHA-256 over the DER certificate, lower-case hex.
    pub fingerprint: Box<str>,
}
