//! Keys of each kind, made when the target starts, and strangers that have others.

use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::b64;

/// The secret of the provider that shares one: long enough for each algorithm.
pub(crate) const SECRET: &[u8] =
    b"a secret of sixty-four bytes, which is as long as HS512 wants it";

/// Somebody who signs.
pub(crate) struct Signer {
    pub(crate) id: &'static str,
    /// What it signs with where nothing else is asked for.
    pub(crate) algorithm: Algorithm,
    key: Key,
    /// The public half; `None` for a shared secret.
    pub(crate) jwk: Option<Value>,
    /// Whether the verification has this key.
    pub(crate) trusted: bool,
}

struct Key {
    family: Family,
    key: EncodingKey,
}

#[derive(Clone, Copy, PartialEq)]
enum Family {
    Ec,
    Ed,
    Rsa,
    Hmac,
}

/// Those that are trusted first. The strangers claim the ids of others, and one of them has for its secret what
/// everybody knows: a public key.
pub(crate) static SIGNERS: LazyLock<Vec<Signer>> = LazyLock::new(|| {
    let first = ec("k0", Algorithm::ES256, true);
    let known = first.jwk.clone().unwrap_or_default();
    let public = json!({ "keys": [known] }).to_string();
    let x = known["x"].as_str().unwrap_or_default().to_owned();
    vec![
        first,
        ed("k1", true),
        rsa("k2", true),
        hmac("k3", SECRET, true),
        ec("k4", Algorithm::ES384, true),
        ec("k0", Algorithm::ES256, false),
        ed("k1", false),
        rsa("k2", false),
        hmac(
            "k3",
            b"another secret, as long as the one that is shared with the other",
            false,
        ),
        hmac("k0", public.as_bytes(), false),
        hmac("k0", x.as_bytes(), false),
        hmac("k3", b"", false),
    ]
});

impl Signer {
    /// The token, or nothing where this key doesn't sign by that algorithm.
    pub(crate) fn sign(&self, header: &str, payload: &str, algorithm: Algorithm) -> Option<String> {
        let signed = format!("{}.{}", b64(header.as_bytes()), b64(payload.as_bytes()));
        let family = match algorithm {
            Algorithm::ES256 | Algorithm::ES384 => Family::Ec,
            Algorithm::EdDSA => Family::Ed,
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => Family::Hmac,
            _ => Family::Rsa,
        };
        if family != self.key.family {
            return None;
        }
        let signature =
            jsonwebtoken::crypto::sign(signed.as_bytes(), &self.key.key, algorithm).ok()?;
        Some(format!("{signed}.{signature}"))
    }
}

fn ec(id: &'static str, algorithm: Algorithm, trusted: bool) -> Signer {
    let (kind, curve): (&EcdsaSigningAlgorithm, _) = match algorithm {
        Algorithm::ES384 => (&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
        _ => (&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"),
    };
    let der = EcdsaKeyPair::generate_pkcs8(kind, &SystemRandom::new()).expect("a key");
    let pair = EcdsaKeyPair::from_pkcs8(kind, der.as_ref()).expect("a key");
    let point = &pair.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    Signer {
        id,
        algorithm,
        key: Key {
            family: Family::Ec,
            key: EncodingKey::from_ec_der(der.as_ref()),
        },
        jwk: Some(json!({ "kty": "EC", "crv": curve, "kid": id, "x": b64(x), "y": b64(y) })),
        trusted,
    }
}

fn ed(id: &'static str, trusted: bool) -> Signer {
    let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
    let pair = Ed25519KeyPair::from_pkcs8(der.as_ref()).expect("a key");
    let x = b64(pair.public_key().as_ref());
    Signer {
        id,
        algorithm: Algorithm::EdDSA,
        key: Key {
            family: Family::Ed,
            key: EncodingKey::from_ed_der(der.as_ref()),
        },
        jwk: Some(json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": x })),
        trusted,
    }
}

fn rsa(id: &'static str, trusted: bool) -> Signer {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
    let public = pair.public_key();
    let (n, e) = (public.modulus(), public.exponent());
    let (n, e) = (
        b64(n.big_endian_without_leading_zero()),
        b64(e.big_endian_without_leading_zero()),
    );
    let der: Pkcs8V1Der<'_> = pair.as_der().expect("a key");
    Signer {
        id,
        algorithm: Algorithm::RS256,
        key: Key {
            family: Family::Rsa,
            key: EncodingKey::from_rsa_der(pkcs1(der.as_ref())),
        },
        jwk: Some(json!({ "kty": "RSA", "kid": id, "n": n, "e": e })),
        trusted,
    }
}

/// The PKCS #1 key within a PKCS #8 one of 2048 bits (RFC 5208): what follows the fixed 26 bytes of its head.
fn pkcs1(pkcs8: &[u8]) -> &[u8] {
    &pkcs8[26..]
}

fn hmac(id: &'static str, secret: &[u8], trusted: bool) -> Signer {
    Signer {
        id,
        algorithm: Algorithm::HS512,
        key: Key {
            family: Family::Hmac,
            key: EncodingKey::from_secret(secret),
        },
        jwk: None,
        trusted,
    }
}
