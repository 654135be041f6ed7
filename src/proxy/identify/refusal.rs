//! Why an identity could not be had: one closed list, each with a stable code for records and metrics.
//!
//! The texts are for operators and never hold any part of a token. What a caller sees is the [`Reason`] alone.

use std::fmt;
use std::sync::Arc;

use crate::policy::Reason;

/// No identity, by culprit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityError {
    /// The credential is not good.
    Client(Refusal),
    /// This provider's keys can't be had, or are too old: nothing can be said about the token.
    OursKeysAway {
        /// The provider's configured name.
        provider: Arc<str>,
    },
}

impl IdentityError {
    /// The stable name for records and metrics: snake case.
    pub fn code(&self) -> &'static str {
        match self {
            IdentityError::Client(refusal) => refusal.code(),
            IdentityError::OursKeysAway { .. } => "keys_unavailable",
        }
    }

    /// What the caller is told.
    pub fn reason(&self) -> Reason {
        match self {
            IdentityError::Client(_) => Reason::InvalidToken,
            IdentityError::OursKeysAway { .. } => Reason::Unavailable,
        }
    }
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdentityError::Client(refusal) => refusal.fmt(f),
            IdentityError::OursKeysAway { provider } => {
                write!(f, "the keys of provider {provider} are unavailable")
            }
        }
    }
}

impl std::error::Error for IdentityError {}

impl From<Refusal> for IdentityError {
    fn from(refusal: Refusal) -> IdentityError {
        IdentityError::Client(refusal)
    }
}

// One line a refusal: its name, code and text stand together; the text is the doc.
macro_rules! refusals {
    ($($name:ident = $code:literal: $text:literal,)*) => {
        /// What is wrong with a credential.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Refusal { $(#[doc = $text] $name,)* }

        impl Refusal {
            /// Every refusal, in the order of their declaration.
            pub const ALL: &'static [Refusal] = &[$(Refusal::$name,)*];

            /// The stable name for records and metrics.
            pub const fn code(self) -> &'static str {
                match self { $(Refusal::$name => $code,)* }
            }

            const fn text(self) -> &'static str {
                match self { $(Refusal::$name => $text,)* }
            }
        }
    };
}

refusals! {
    CredentialTwice = "credential_twice": "more than one Authorization header came",
    Scheme = "unsupported_scheme": "the Authorization header isn't `Bearer` and a token",
    TooLong = "token_too_long": "the token is longer than 16 KiB",
    Malformed = "malformed_token": "the token isn't three parts of canonical base64url",
    HeaderSyntax = "token_header": "the token's header isn't a strict JSON object, or a parameter in it has the wrong type",
    PayloadSyntax = "token_payload": "the token's payload isn't a strict JSON object",
    Critical = "critical_header": "the token's header has `crit` or `b64`, and no extension is known here",
    Type = "token_type": "the token's `typ` isn't one that the provider issues",
    Issuer = "unknown_issuer": "no provider has this issuer",
    Algorithm = "algorithm_not_allowed": "the token's algorithm isn't in the provider's list",
    UnknownKey = "unknown_key": "the provider has no such key",
    KeyMismatch = "key_mismatch": "the key that the token names isn't one for its algorithm",
    AmbiguousKey = "ambiguous_key": "more than one of the provider's keys would fit",
    Signature = "bad_signature": "the signature isn't the key's",
    ClaimMissing = "claim_missing": "a claim that must be there is absent",
    ClaimType = "claim_type": "a claim has the wrong type, or a value out of bounds",
    Expired = "token_expired": "the token has expired",
    NotYetValid = "token_not_yet_valid": "the token isn't valid yet",
    IssuedInFuture = "issued_in_future": "the token was issued in the future",
    Lifetime = "lifetime_too_long": "the token lives longer than the provider may let one live",
    Audience = "wrong_audience": "the token is meant for another audience",
    Binding = "binding_unsupported": "the token is bound in a way that can't be verified here",
    BindingMismatch = "binding_mismatch": "the token is bound to another client certificate, or none came",
    Unbound = "not_bound": "a client certificate came with a token that isn't bound to it",
    Actor = "actor_unmapped": "the token has an actor, and the agent isn't named in it",
    Agent = "agent_not_allowed": "the provider may not assert this agent",
    Groups = "too_many_groups": "the token lists more groups than are looked at",
    CertificateExpired = "certificate_expired": "the client certificate has expired",
    CertificateNotYetValid = "certificate_not_yet_valid": "the client certificate isn't valid yet",
    CertificateUntrusted = "certificate_untrusted": "the client certificate is no longer vouched for, or is asked for by now and didn't come",
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_map_to_one_reason_each() {
        let mut codes: Vec<_> = Refusal::ALL.iter().map(|r| r.code()).collect();
        codes.push("keys_unavailable");
        let count = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), count);
        assert!(
            codes
                .iter()
                .all(|c| c.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        );
        assert_eq!(
            IdentityError::from(Refusal::Expired).reason(),
            Reason::InvalidToken
        );
        let away = IdentityError::OursKeysAway {
            provider: "corp".into(),
        };
        assert_eq!(
            (away.reason(), away.code()),
            (Reason::Unavailable, "keys_unavailable")
        );
    }
}
