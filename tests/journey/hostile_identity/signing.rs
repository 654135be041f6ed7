//! Keys of issuers and of an attacker, and tokens that are signed with them and then bent.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::{KeyPair, RsaKeySize, SigningKey as _};
use serde_json::{Value, json};

use super::data::Token;

/// What the issuer `shared` shares with the gateway.
pub const SECRET: &str = "a-secret-that-is-long-enough-for-hs256!!";

/// Everybody's keys.
pub struct Keys {
    /// Of `corp`: `k1`, `k5`, `k2`, `k3`.
    es256: KeyPair,
    es256b: KeyPair,
    rs256: KeyPair,
    ed25519: KeyPair,
    /// Of `other`, `o1`; of `remote`, `r1` and twice `twin`.
    other: KeyPair,
    remote: KeyPair,
    twin: KeyPair,
    /// Nobody's.
    attacker: KeyPair,
}

/// A token in its parts.
pub struct Made {
    pub head: String,
    pub body: String,
    pub signature: String,
}

impl Made {
    pub fn text(&self) -> String {
        format!("{}.{}.{}", self.head, self.body, self.signature)
    }
}

impl Keys {
    pub fn new() -> Keys {
        let p256 = || KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048);
        Keys {
            es256: p256(),
            es256b: p256(),
            rs256: rsa.unwrap(),
            ed25519: KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap(),
            other: p256(),
            remote: p256(),
            twin: p256(),
            attacker: p256(),
        }
    }

    /// The set of a provider; `corp` has all its keys but those named.
    pub fn set(&self, provider: &str, without: &[&str]) -> String {
        let keys = match provider {
            "corp" => vec![
                ec(&self.es256, "k1"),
                ec(&self.es256b, "k5"),
                rsa(&self.rs256, "k2"),
                ed(&self.ed25519, "k3"),
            ],
            "other" => vec![ec(&self.other, "o1")],
            "remote" => vec![
                ec(&self.remote, "r1"),
                ec(&self.twin, "twin"),
                ec(&self.attacker, "twin"),
            ],
            unknown => panic!("no provider {unknown}"),
        };
        let left = |key: &Value| !without.contains(&key["kid"].as_str().unwrap());
        let keys: Vec<Value> = keys.into_iter().filter(left).collect();
        json!({ "keys": keys }).to_string()
    }

    /// The attacker's public key, to be put into a header.
    pub fn attackers(&self) -> Value {
        ec(&self.attacker, "k1")
    }

    /// Makes a token; `fill` puts the world's values in.
    pub fn make(&self, token: &Token, fill: impl Fn(&str) -> String) -> Made {
        let header = latin1(&fill(&token.header));
        let claims = fill(&claims(token));
        let mut pad = 0;
        loop {
            let claims = claims.replace("{pad}", &"p".repeat(pad));
            let (head, body) = (B64.encode(&header), B64.encode(latin1(&claims)));
            let mut signature = self.signature(&token.key, &format!("{head}.{body}"));
            if let Some(how) = &token.signature {
                signature = self.bend(how, &token.key, &format!("{head}.{body}"), &signature);
            }
            let made = Made {
                head,
                body,
                signature,
            };
            let length = made.text().len();
            match token.length {
                Some(wanted) if length < wanted => pad += ((wanted - length) / 2).max(1),
                Some(wanted) => {
                    assert_eq!(length, wanted, "base64url has no token of that length");
                    return made;
                }
                None => return made,
            }
        }
    }

    fn signature(&self, key: &str, signed: &str) -> String {
        let hmac = |secret: &[u8]| {
            let key = EncodingKey::from_secret(secret);
            jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).unwrap()
        };
        let ecdsa = |pair: &KeyPair| {
            let key = EncodingKey::from_ec_der(&pair.serialize_der());
            jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::ES256).unwrap()
        };
        let plain = |pair: &KeyPair| B64.encode(pair.sign(signed.as_bytes()).unwrap());
        match key {
            "es256" => ecdsa(&self.es256),
            "es256b" => ecdsa(&self.es256b),
            "other" => ecdsa(&self.other),
            "remote" => ecdsa(&self.remote),
            "twin" => ecdsa(&self.twin),
            "attacker" => ecdsa(&self.attacker),
            "rs256" => plain(&self.rs256),
            "ed25519" => plain(&self.ed25519),
            "hs256" => hmac(SECRET.as_bytes()),
            // What is public of the issuer, as the secret of a MAC.
            "pem" => hmac(self.es256.public_key_pem().as_bytes()),
            "pem_rsa" => hmac(self.rs256.public_key_pem().as_bytes()),
            "raw" => hmac(self.es256.public_key_raw()),
            "der" => hmac(&der(&self.es256.public_key_pem())),
            "jwk" => hmac(ec(&self.es256, "k1").to_string().as_bytes()),
            "empty" => hmac(b""),
            "none" => String::new(),
            unknown => panic!("no key {unknown}"),
        }
    }

    /// Does something to a signature, of which some are by arithmetic (r and s are 32 bytes each).
    fn bend(&self, how: &str, key: &str, signed: &str, signature: &str) -> String {
        let mut bytes = B64.decode(signature).unwrap();
        let middle = bytes.len() / 2;
        match how {
            "zero" => bytes.fill(0),
            "r_zero" => bytes[..middle].fill(0),
            "s_zero" => bytes[middle..].fill(0),
            "r_order" => bytes[..middle].copy_from_slice(&P256_ORDER),
            "s_order" => bytes[middle..].copy_from_slice(&P256_ORDER),
            "s_over" => bytes[middle..].fill(0xff),
            // (r, n - s) holds wherever (r, s) does.
            "other_s" => {
                let negated = subtract(&P256_ORDER, &bytes[middle..]);
                bytes[middle..].copy_from_slice(&negated);
            }
            // S + L is S again to a verifier that doesn't look at its size.
            "s_plus_order" => add_little_endian(&mut bytes[middle..], &ED25519_ORDER),
            "asn1" => bytes = self.es256.sign(signed.as_bytes()).unwrap(),
            "short" => {
                bytes.pop();
            }
            "long" => bytes.push(0),
            "zero_before" => bytes.insert(0, 0),
            "twice" => bytes.extend_from_within(..),
            "flip" => bytes[middle] ^= 1,
            "padded" => return format!("{signature}=="),
            // The last character's bits that stand for nothing.
            "loose" => {
                let (kept, last) = signature.split_at(signature.len() - 1);
                let place = ALPHABET.find(last).unwrap();
                return format!("{kept}{}", &ALPHABET[place + 1..place + 2]);
            }
            "standard" => {
                let mut signature = signature.to_owned();
                while !signature.contains(['-', '_']) {
                    signature = self.signature(key, signed);
                }
                return signature.replace('-', "+").replace('_', "/");
            }
            unknown => panic!("nothing is called {unknown}"),
        }
        B64.encode(bytes)
    }
}

/// The order of P-256's group, and of Ed25519's, which is little-endian.
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
    0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
const ED25519_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];
const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn subtract(from: &[u8; 32], what: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let mut result: Vec<u8> = from
        .iter()
        .zip(what)
        .rev()
        .map(|(a, b)| {
            let left = i16::from(*a) - i16::from(*b) - borrow;
            borrow = i16::from(left < 0);
            left.rem_euclid(256) as u8
        })
        .collect();
    result.reverse();
    result
}

fn add_little_endian(to: &mut [u8], what: &[u8; 32]) {
    let mut carry = 0;
    for (a, b) in to.iter_mut().zip(what) {
        let sum = u16::from(*a) + u16::from(*b) + carry;
        *a = (sum % 256) as u8;
        carry = sum / 256;
    }
}

/// The payload as text, before the world's values are in.
fn claims(token: &Token) -> String {
    if let Some(whole) = &token.claims {
        return whole.clone();
    }
    let good = [
        ("iss", r#""https://issuer.example""#),
        ("aud", r#""portcullis""#),
        ("sub", r#""agent/7""#),
        ("iat", "{now-60}"),
        ("exp", "{now+300}"),
        ("jti", r#""t1""#),
    ];
    let mut members: Vec<String> = Vec::new();
    for (name, value) in good {
        if !token.with.contains_key(name) {
            members.push(format!(r#""{name}":{value}"#));
        }
    }
    for (name, value) in &token.with {
        if let Some(value) = value {
            members.push(format!(r#""{name}":{value}"#));
        }
    }
    format!("{{{}{}}}", members.join(","), token.more)
}

/// Puts the moment in: `{now}`, `{now+300}`, `{now-60}`.
pub fn at_this_moment(text: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = now.as_secs() as i64;
    let mut parts = text.split("{now");
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        let (by, rest) = part.split_once('}').unwrap();
        let by: i64 = if by.is_empty() {
            0
        } else {
            by.parse().unwrap()
        };
        out += &(now + by).to_string();
        out += rest;
    }
    out
}

/// Each character is one byte.
pub fn latin1(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).expect("Latin-1"))
        .collect()
}

fn der(pem: &str) -> Vec<u8> {
    let lines = pem.lines().filter(|line| !line.starts_with('-'));
    let text: String = lines.collect();
    base64::prelude::BASE64_STANDARD.decode(text).unwrap()
}

fn ec(pair: &KeyPair, id: &str) -> Value {
    let (x, y) = pair.public_key_raw()[1..].split_at(32);
    json!({ "kty": "EC", "crv": "P-256", "x": B64.encode(x), "y": B64.encode(y), "kid": id })
}

fn ed(pair: &KeyPair, id: &str) -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "x": B64.encode(pair.public_key_raw()), "kid": id })
}

/// RSAPublicKey of 2048 bits (RFC 8017, appendix A.1.1): a sequence of modulus and exponent.
fn rsa(pair: &KeyPair, id: &str) -> Value {
    let raw = pair.public_key_raw();
    assert_eq!(raw[..9], [0x30, 0x82, 1, 10, 2, 0x82, 1, 1, 0]);
    let (modulus, exponent) = raw[9..].split_at(256);
    json!({ "kty": "RSA", "n": B64.encode(modulus), "e": B64.encode(&exponent[2..]), "kid": id })
}
