//! The demo's token issuer: one ES256 key, made at start, and its JWK set.

use anyhow::Context;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

/// The issuer's name in tokens.
pub(super) const ISSUER: &str = "https://issuer.demo";
/// Whom tokens are for.
pub(super) const AUDIENCE: &str = "https://api.demo";

/// Signs the demo's tokens.
pub(super) struct Issuer {
    key: EncodingKey,
    /// The public half, as a JWK set (RFC 7517).
    pub(super) jwks: String,
}

impl Issuer {
    pub(super) fn new() -> anyhow::Result<Issuer> {
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref())?;
        // An uncompressed point: 4, then x and y of 32 bytes each (SEC 1, section 2.3.3).
        let point = pair.public_key().as_ref();
        let (x, y) = point
            .get(1..)
            .context("a public key")?
            .split_at_checked(32)
            .context("a P-256 point")?;
        let jwks = json!({ "keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "demo",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }] });
        Ok(Issuer {
            key: EncodingKey::from_ec_der(pkcs8.as_ref()),
            jwks: jwks.to_string(),
        })
    }

    /// A token of the support agent that works on ticket T1 for Ann, issued at `iat` and good for an hour.
    pub(super) fn support_token(&self, iat: Timestamp) -> anyhow::Result<String> {
        let exp = iat.checked_add(SignedDuration::from_hours(1))?;
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "iat": iat.as_second(), "exp": exp.as_second(),
            "jti": format!("demo-{}", iat.as_second()), "sub": "ann", "sid": "session-1",
            "act": { "sub": "spiffe://demo/agent/support/7" },
            "tenant": "acme",
            "ticket": { "id": "T1", "account_id": "42", "expires": exp.as_second() },
        });
        let header = Header {
            kid: Some("demo".to_owned()),
            ..Header::new(Algorithm::ES256)
        };
        Ok(jsonwebtoken::encode(&header, &claims, &self.key)?)
    }
}
