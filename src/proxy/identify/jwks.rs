//! A provider's keys, in the form in which they verify.
//!
//! A JWK set (RFC 7517) holds whatever its issuer publishes. What can't verify a token here is left out when the
//! set is read, and never comes near a token: symmetric keys, keys for encryption, algorithms and curves that
//! aren't known, RSA keys that are short or of the ROCA family, points that aren't on their curve, and keys whose
//! private half was published with them. Each key knows the algorithms that it fits, so that a token's `alg`
//! can't turn one kind of key into another (RFC 8725, section 3.1).

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ParsedPublicKey};
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

use super::jwt;
use super::refusal::Refusal;
use crate::config::Secret;
use crate::policy::Json;

/// The most keys in a set.
const MOST_KEYS: usize = 256;

/// The deepest nesting of a JWK set.
const DEPTH: usize = 16;

/// The keys of one provider.
pub(super) struct KeySet {
    keys: Vec<Key>,
    secret: bool,
}

struct Key {
    id: Option<Box<str>>,
    fits: Vec<Algorithm>,
    key: DecodingKey,
    // What it was made of, to see whether a fetched set differs from the one before.
    source: Option<Jwk>,
}

impl KeySet {
    /// The usable keys of a set that was read with the configuration.
    pub(super) fn from_set(set: &JwkSet) -> KeySet {
        KeySet {
            keys: set.keys.iter().cloned().filter_map(Key::public).collect(),
            secret: false,
        }
    }

    /// The one key of an issuer with which a secret is shared.
    pub(super) fn from_secret(secret: &Secret) -> KeySet {
        // RFC 7518, section 3.2: a secret as long as the hash or longer.
        let fits = [
            (Algorithm::HS256, 32),
            (Algorithm::HS384, 48),
            (Algorithm::HS512, 64),
        ]
        .into_iter()
        .filter(|(_, least)| secret.0.len() >= *least)
        .map(|(algorithm, _)| algorithm)
        .collect();
        KeySet {
            keys: vec![Key {
                id: None,
                fits,
                key: DecodingKey::from_secret(&secret.0),
                source: None,
            }],
            secret: true,
        }
    }

    /// Reads a fetched set; `None` where it isn't strict JSON, is no set, or holds no key that is of use.
    pub(super) fn read(body: &[u8]) -> Option<KeySet> {
        // The strict reader refuses what serde_json lets through: duplicate keys, lone surrogates.
        Json::parse(body, DEPTH).ok()?;
        let raw: RawSet = serde_json::from_slice(body).ok()?;
        if raw.keys.len() > MOST_KEYS {
            return None;
        }
        // Key by key: one that isn't understood must not hide the others.
        let keys: Vec<Key> = raw
            .keys
            .into_iter()
            .filter(|key| {
                ["d", "p", "q", "k"]
                    .iter()
                    .all(|private| key.get(private).is_none())
            })
            .filter_map(|key| serde_json::from_value(key).ok())
            .filter_map(Key::public)
            .collect();
        (!keys.is_empty()).then_some(KeySet {
            keys,
            secret: false,
        })
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether both hold the same keys, in whatever order.
    pub(super) fn same(&self, other: &KeySet) -> bool {
        let within = |one: &KeySet, two: &KeySet| {
            one.keys
                .iter()
                .all(|key| two.keys.iter().any(|other| other.source == key.source))
        };
        self.keys.len() == other.keys.len() && within(self, other) && within(other, self)
    }

    /// The one key for a token's `kid` and `alg`. Without a `kid`, the one that fits.
    pub(super) fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<&DecodingKey, Refusal> {
        // A shared secret has no id of its own; whatever the token calls it, there is only this one.
        let named = |key: &&Key| self.secret || id.is_none_or(|id| key.id.as_deref() == Some(id));
        let mut fitting = self
            .keys
            .iter()
            .filter(named)
            .filter(|key| key.fits.contains(&algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(&key.key),
            (Some(_), Some(_)) => Err(Refusal::AmbiguousKey),
            (None, _) if id.is_some() && self.keys.iter().any(|key| named(&key)) => {
                Err(Refusal::KeyMismatch)
            }
            (None, _) => Err(Refusal::UnknownKey),
        }
    }
}

#[derive(Deserialize)]
struct RawSet {
    keys: Vec<serde_json::Value>,
}

impl Key {
    /// A public key for signatures; `None` where it isn't one that verifies here.
    fn public(jwk: Jwk) -> Option<Key> {
        let common = &jwk.common;
        let signs = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature))
            && common
                .key_operations
                .as_ref()
                .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        if !signs {
            return None;
        }
        let mut fits = match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) => rsa_algorithms(&rsa.n, &rsa.e)?,
            AlgorithmParameters::EllipticCurve(ec) => {
                vec![point_algorithm(&ec.curve, &ec.x, &ec.y)?]
            }
            AlgorithmParameters::OctetKeyPair(pair) => {
                let length = jwt::decode(&pair.x).ok()?.len();
                (pair.curve == EllipticCurve::Ed25519 && length == 32)
                    .then(|| vec![Algorithm::EdDSA])?
            }
            // A symmetric key in a public set is either a mistake or an attack; the rest isn't known here.
            AlgorithmParameters::OctetKey(_) | AlgorithmParameters::Other(_) => return None,
            _ => return None,
        };
        if let Some(declared) = common.key_algorithm {
            let declared = Algorithm::try_from(declared).ok()?;
            fits.retain(|algorithm| *algorithm == declared);
        }
        if fits.is_empty() {
            return None;
        }
        Some(Key {
            id: common.key_id.as_deref().map(Into::into),
            fits,
            key: DecodingKey::from_jwk(&jwk).ok()?,
            source: Some(jwk),
        })
    }
}

/// What an RSA key of 2048 to 8192 bits with an odd exponent of at least 3 fits.
fn rsa_algorithms(modulus: &str, exponent: &str) -> Option<Vec<Algorithm>> {
    let modulus = jwt::decode(modulus).ok()?;
    let exponent = jwt::decode(exponent).ok()?;
    let bits = (modulus.len() * 8).checked_sub(modulus.first()?.leading_zeros() as usize)?;
    let exponent = match exponent.as_slice() {
        // RFC 7518, section 6.3.1: no leading zeros.
        [] | [0, ..] => return None,
        bytes if bytes.len() > 4 => return None,
        bytes => bytes
            .iter()
            .fold(0u32, |e, byte| (e << 8) | u32::from(*byte)),
    };
    let good = modulus.first() != Some(&0)
        && (2048..=8192).contains(&bits)
        && exponent >= 3
        && exponent % 2 == 1
        && !roca(&modulus);
    good.then(|| {
        vec![
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ]
    })
}

/// What a point fits: the one algorithm of its curve, if it is on the curve.
fn point_algorithm(curve: &EllipticCurve, x: &str, y: &str) -> Option<Algorithm> {
    let (algorithm, verification, length) = match curve {
        EllipticCurve::P256 => (Algorithm::ES256, &ECDSA_P256_SHA256_FIXED, 32),
        EllipticCurve::P384 => (Algorithm::ES384, &ECDSA_P384_SHA384_FIXED, 48),
        EllipticCurve::P521 | EllipticCurve::Ed25519 => return None,
        _ => return None,
    };
    let (x, y) = (jwt::decode(x).ok()?, jwt::decode(y).ok()?);
    if x.len() != length || y.len() != length {
        return None;
    }
    let point = [&[4], x.as_slice(), y.as_slice()].concat();
    ParsedPublicKey::new(verification, point)
        .is_ok()
        .then_some(algorithm)
}

/// Whether a modulus has the fingerprint of keys that can be factored (CVE-2017-15361): modulo each of these
/// primes it is a power of 65537. By chance that happens once in more than a hundred million keys.
fn roca(modulus: &[u8]) -> bool {
    const PRIMES: [u32; 38] = [
        3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89,
        97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
    ];
    PRIMES.iter().all(|prime| {
        let rest = modulus
            .iter()
            .fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        let powers = std::iter::successors(Some(1), |power| Some(power * (65537 % prime) % prime));
        powers.take(*prime as usize).any(|power| power == rest)
    })
}
