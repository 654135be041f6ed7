//! A token issuer for benches and endurance runs: one ES256 key, its JWK set, and a token of the world's agent.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

/// What `issuer` made.
pub(crate) struct Issued {
    /// The public key, as a JWK set (RFC 7517).
    pub(crate) jwks: String,
    /// A token that is good for an hour.
    pub(crate) token: String,
}

/// Makes a key and signs a token with it. The agent works on ticket T1 of tenant acme, whose account is 42.
pub(crate) fn issue() -> Issued {
    let pkcs8 =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .expect("randomness");
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref())
        .expect("a key that was just made");
    // An uncompressed point: 4, then x and y of 32 bytes each (SEC 1, section 2.3.3).
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let jwks = json!({ "keys": [{
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "bench",
        "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
    }] });
    let now = Timestamp::now().as_second();
    let claims = json!({
        "iss": "https://issuer.bench", "aud": "bench", "iat": now, "exp": now + 3_500,
        "jti": "bench-1", "sub": "ann", "sid": "session-1",
        "act": { "sub": "spiffe://bench/agent/support/7" },
        "tenant": "acme",
        "ticket": { "id": "T1", "account_id": "42", "expires": now + 3_500 },
    });
    let header = Header {
        kid: Some("bench".to_owned()),
        ..Header::new(Algorithm::ES256)
    };
    let key = EncodingKey::from_ec_der(pkcs8.as_ref());
    let token = jsonwebtoken::encode(&header, &claims, &key).expect("a signature");
    Issued {
        jwks: jwks.to_string(),
        token,
    }
}
