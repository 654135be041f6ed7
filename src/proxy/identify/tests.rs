//! An issuer in miniature: its keys, its tokens, its configuration.

mod caching;
mod certificates;
mod claims_rules;
mod fetching;
mod rotation;
mod tokens;
mod vectors;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::KeyPair;

use super::*;
use crate::config::ClaimMap;
use crate::policy::json::Pointer;

/// The moment at which most tests are set.
const NOW: i64 = 1_800_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key that an issuer signs with: ES256, ES384, or else EdDSA.
struct Signer {
    id: &'static str,
    algorithm: Algorithm,
    pair: KeyPair,
}

impl Signer {
    fn new(id: &'static str, algorithm: Algorithm) -> Signer {
        let kind = if algorithm == Algorithm::ES256 {
            &rcgen::PKCS_ECDSA_P256_SHA256
        } else if algorithm == Algorithm::ES384 {
            &rcgen::PKCS_ECDSA_P384_SHA384
        } else {
            &rcgen::PKCS_ED25519
        };
        Signer {
            id,
            algorithm,
            pair: KeyPair::generate_for(kind).unwrap(),
        }
    }

    fn jwk(&self) -> serde_json::Value {
        let raw = self.pair.public_key_raw();
        let mut jwk = if self.algorithm == Algorithm::EdDSA {
            serde_json::json!({"kty": "OKP", "crv": "Ed25519", "x": b64(raw)})
        } else {
            let (x, y) = raw[1..].split_at(raw.len() / 2);
            let curve = if self.algorithm == Algorithm::ES256 {
                "P-256"
            } else {
                "P-384"
            };
            serde_json::json!({"kty": "EC", "crv": curve, "x": b64(x), "y": b64(y)})
        };
        jwk["kid"] = self.id.into();
        jwk
    }

    /// Signs whatever stands in header and payload.
    fn sign(&self, header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", b64(header), b64(payload));
        let der = self.pair.serialize_der();
        let key = if self.algorithm == Algorithm::EdDSA {
            EncodingKey::from_ed_der(&der)
        } else {
            EncodingKey::from_ec_der(&der)
        };
        let signature =
            jsonwebtoken::crypto::sign(signed.as_bytes(), &key, self.algorithm).unwrap();
        format!("{signed}.{signature}")
    }

    fn header(&self) -> String {
        format!(
            r#"{{"alg":"{:?}","kid":"{}","typ":"at+jwt"}}"#,
            self.algorithm, self.id
        )
    }

    fn token(&self, payload: &str) -> String {
        self.sign(&self.header(), payload)
    }
}

/// Claims that are good at [`NOW`], with members added or, with a null in `more`, taken away.
fn claims(more: serde_json::Value) -> String {
    claims_at(NOW, more)
}

fn claims_at(now: i64, more: serde_json::Value) -> String {
    let mut claims = serde_json::json!({
        "iss": "https://issuer.example", "aud": "api", "sub": "agent/7",
        "iat": now, "exp": now + 300, "jti": "t1",
    });
    for (name, value) in more.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims.to_string()
}

fn keys(signers: &[&Signer]) -> Keys {
    let set = serde_json::json!({"keys": signers.iter().map(|s| s.jwk()).collect::<Vec<_>>()});
    Keys::Set(Arc::new(serde_json::from_value(set).unwrap()))
}

fn pointers(texts: &[&str]) -> Vec<Pointer> {
    texts
        .iter()
        .map(|text| Pointer::parse(text).unwrap())
        .collect()
}

fn provider(keys: Keys) -> Provider {
    Provider {
        name: "corp".into(),
        issuer: "https://issuer.example".into(),
        audiences: vec!["api".into(), "https://api.example".into()],
        algorithms: vec![Algorithm::ES256, Algorithm::EdDSA],
        types: vec!["at+jwt".into(), "jwt".into()],
        keys,
        leeway: Duration::from_secs(30),
        max_lifetime: Duration::from_secs(3600),
        claims: ClaimMap {
            agent: pointers(&["/act/sub", "/sub"]),
            user: pointers(&["/on_behalf_of"]),
            workload: pointers(&["/workload"]),
            session: pointers(&["/sid"]),
            task: pointers(&["/task/id"]),
            groups: pointers(&["/groups"]),
        },
        agents: vec!["agent/*".into()],
    }
}

fn identity(providers: Vec<Provider>) -> Identity {
    Identity {
        providers,
        certificate_and_token: CertificateAndToken::Bound,
        token_cache: 16,
    }
}

/// Counts what it hears.
#[derive(Default)]
struct Heard {
    refreshed: AtomicU32,
    failed: AtomicU32,
    changed: AtomicU32,
    /// How many keys there were after the last change.
    keys: AtomicU32,
    hits: AtomicU32,
    misses: AtomicU32,
}

impl KeyObserver for Heard {
    fn key_refresh(&self, _: &str, ok: bool) {
        let count = if ok { &self.refreshed } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
    }
    fn key_change(&self, _: &str, keys: usize) {
        self.keys.store(keys as u32, Ordering::Relaxed);
        self.changed.fetch_add(1, Ordering::Relaxed);
    }
    fn token_cache(&self, hit: bool) {
        let count = if hit { &self.hits } else { &self.misses };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn identifier(identity: &Identity) -> Arc<Identifier> {
    Identifier::new(identity, Arc::new(Heard::default()))
}

fn bearing(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    headers.insert(header::AUTHORIZATION, value);
    headers
}

/// The principal of a token, or the code of its refusal.
async fn ask(
    identifier: &Identifier,
    token: &str,
    certificate: Option<&PeerCertificate>,
    now: Timestamp,
) -> Result<Arc<Principal>, &'static str> {
    let cache = TokenCache::new(0);
    identifier
        .identify(&cache, &bearing(token), certificate, now)
        .await
        .map(|identified| identified.unwrap().principal)
        .map_err(|error| {
            // Whatever is wrong with it, no part of the token is in the text.
            let text = error.to_string();
            assert!(
                token
                    .split('.')
                    .all(|part| part.len() < 8 || !text.contains(part))
            );
            error.code()
        })
}
