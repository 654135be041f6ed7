//! Cases that nobody here wrote: C2SP/wycheproof for signatures and keys, maxlambrecht/rust-spiffe for X.509-SVIDs.

use std::path::PathBuf;

use rustls_pki_types::CertificateDer;
use serde_json::Value;

use super::*;
use crate::config::Secret;

fn folder(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("PORTCULLIS_VECTORS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/vectors")),
        PathBuf::from,
    );
    let folder = root.join(name);
    let there = folder.is_dir();
    if !there {
        note(&format!("passed over: no vectors at {}", folder.display()));
    }
    there.then_some(folder)
}

#[expect(clippy::print_stderr, reason = "a test tells its figures")]
fn note(text: &str) {
    eprintln!("{text}");
}

/// Whether the token's signature is of one of the keys: the reading, the choice of the key and the verification
/// that `identify` makes, on a payload that needn't be claims.
fn verifies(text: &str, set: &[u8]) -> bool {
    KeySet::read(set).is_some_and(|keys| verifies_by(text, &keys))
}

fn verifies_by(text: &str, keys: &KeySet) -> bool {
    // The suites' payloads aren't claims: the payload is replaced for the reading only.
    let Some((header, rest)) = text.split_once('.') else {
        return false;
    };
    let Some((payload, signature)) = rest.split_once('.') else {
        return false;
    };
    let readable = format!("{header}.e30.{signature}");
    let (Ok(mut token), Ok(_)) = (Token::read(&readable), jwt::decode(payload)) else {
        return false;
    };
    let signed = format!("{header}.{payload}");
    token.signed = &signed;
    let Some(algorithm) = jwt::algorithm(&token.header.algorithm) else {
        return false;
    };
    keys.find(token.header.key_id.as_deref(), algorithm)
        .is_ok_and(|key| token.verify(key, algorithm).is_ok())
}

/// What became of a suite's cases; each of them counts once.
#[derive(Default)]
struct Figures {
    accepted: usize,
    refused: usize,
    /// With private keys, or shared secrets for anything but HS256 to HS512, which no set may hold: all refused, good ones too.
    secret: usize,
    /// Encrypted, or in JSON, so no compact JWS (RFC 7515, section 3.1): all refused.
    other_forms: usize,
    /// Invalid to the suite, and byte for byte what it calls valid elsewhere.
    contradicted: usize,
    /// Good ones refused by choice, by their comment.
    stricter: Vec<String>,
}

#[test]
fn signatures_and_keys() {
    let Some(folder) = folder("jws") else {
        return;
    };
    for (file, cases, least_accepted, least_refused) in [
        ("json_web_signature_test.json", 401, 40, 353),
        ("json_web_key_test.json", 26, 1, 10),
        ("json_web_crypto_test.json", 83, 2, 27),
    ] {
        let suite = std::fs::read(folder.join(file)).unwrap();
        let suite: Value = serde_json::from_slice(&suite).unwrap();
        let mut figures = Figures::default();
        for group in suite["testGroups"].as_array().unwrap() {
            let public = group.get("public");
            let keys = public.unwrap_or(&group["private"]);
            let set = match keys.get("keys") {
                Some(_) => keys.to_string(),
                None => format!(r#"{{"keys":[{keys}]}}"#),
            };
            for test in group["tests"].as_array().unwrap() {
                let label = format!("{file} {} {}", test["tcId"], test["comment"]);
                // One case is told to have bad padding, and has none: it is its group's valid token.
                let twin =
                    |other: &Value| other["result"] == "valid" && other["jws"] == test["jws"];
                if test["result"] == "invalid"
                    && group["tests"].as_array().unwrap().iter().any(twin)
                {
                    figures.contradicted += 1;
                    continue;
                }
                figures.count(test, &set, public.is_some(), &label);
            }
        }
        let Figures {
            accepted,
            refused,
            secret,
            other_forms,
            contradicted,
            stricter,
        } = &figures;
        note(&format!(
            "Wycheproof {file}: {cases} cases, {accepted} accepted, {refused} refused, {} passed over (all refused: {secret} of private keys and sets with shared secrets, {other_forms} of other forms, {} good ones by choice: {stricter:?}; {contradicted} the suite contradicts)",
            secret + other_forms + stricter.len() + contradicted,
            stricter.len(),
        ));
        let all = accepted + refused + secret + other_forms + stricter.len() + contradicted;
        assert_eq!(all, cases, "{file}");
        // P-521 isn't known here, and a key that says PS256 verifies no PS384. The last two have characters in them that
        // base64url hasn't; that the signature is over just these makes them valid to the suite.
        let known = [
            "Figure20",
            "Figure27",
            "InvalidCharacterInsertedInHeader",
            "InvalidCharacterInsertedInPayload",
        ];
        assert!(
            stricter.iter().all(|case| known.contains(&case.as_str())),
            "{file}: {stricter:?}"
        );
        assert!(
            *accepted >= least_accepted && *refused >= least_refused,
            "{file}: {accepted} {refused}"
        );
    }
}

impl Figures {
    fn count(&mut self, test: &Value, set: &str, public: bool, label: &str) {
        let Some(token) = test["jws"].as_str() else {
            let other = test.get("jws").or(test.get("jwe")).unwrap();
            let text = other.as_str().map_or(other.to_string(), str::to_owned);
            assert!(!verifies(&text, set.as_bytes()), "{label}");
            self.other_forms += 1;
            return;
        };
        let verified = verifies(token, set.as_bytes());
        let verified = match shared(set) {
            None => verified,
            // It may be configured, and never come in a set.
            Some(secret) => {
                assert!(!verified, "{label}");
                verifies_by(token, &KeySet::from_secret(&secret))
            }
        };
        if !public && shared(set).is_none() {
            assert!(!verified, "{label}");
            self.secret += 1;
            return;
        }
        match (test["result"].as_str().unwrap(), verified) {
            ("valid" | "acceptable", true) => self.accepted += 1,
            ("invalid" | "acceptable", false) => self.refused += 1,
            ("valid", false) => {
                let comment = test["comment"].as_str().unwrap();
                self.stricter.push(comment.to_owned());
            }
            other => panic!("{label}: {other:?}"),
        }
    }
}

/// The one shared secret of this set, if it is one for a MAC.
fn shared(set: &str) -> Option<Secret> {
    let set: Value = serde_json::from_str(set).unwrap();
    let [key] = set["keys"].as_array().unwrap().as_slice() else {
        return None;
    };
    let for_mac = key["alg"].as_str().is_none_or(|alg| alg.starts_with("HS"));
    let bytes = URL_SAFE_NO_PAD.decode(key["k"].as_str()?).ok()?;
    (key["kty"] == "oct" && for_mac).then(|| Secret(bytes.into()))
}

#[test]
fn svids() {
    let Some(folder) = folder("spiffe") else {
        return;
    };
    use CertificateError::*;
    // What each leaf has, or why it is refused. Those without SPIFFE ID are controls.
    let cases = [
        ("1-svid-chain", Ok(true)),
        ("ca", Err(ClientUsage)),
        ("ca_uri_only", Ok(false)),
        ("ca_with_spiffe_signing", Err(ClientUsage)),
        ("empty-subject-name", Ok(true)),
        ("expired-svid-chain", Ok(true)),
        ("no_spiffe_leaf", Ok(false)),
        ("spiffe_leaf", Ok(true)),
        ("spiffe_leaf_no_digital_signature", Err(ClientUsage)),
        ("spiffe_leaf_no_key_usage", Err(ClientUsage)),
        ("spiffe_leaf_uri_only", Ok(true)),
        ("svid-with-dns", Ok(true)),
        ("wrong-intermediate-no-ca", Err(ClientIntermediate)),
        (
            "wrong-intermediate-no-key-cert-sign",
            Err(ClientIntermediate),
        ),
        ("wrong-leaf-ca-true", Err(ClientUsage)),
        ("wrong-leaf-cert-sign", Err(ClientUsage)),
        ("wrong-leaf-crl-sign", Err(ClientUsage)),
        // No URI at all: a certificate, but nobody's SVID.
        ("wrong-leaf-empty-id", Ok(false)),
        ("wrong-leaf-no-digital-signature", Err(ClientUsage)),
    ];
    for (name, expected) in cases {
        let file = std::fs::read(folder.join(format!("{name}.der"))).unwrap();
        let got = PeerCertificate::read(&split(&file));
        assert_eq!(
            got.map(|peer| peer.certificate.spiffe_id.is_some()),
            expected,
            "{name}"
        );
    }
    let files = folder.read_dir().unwrap().map(|file| file.unwrap().path());
    let certificates = files.filter(|path| path.extension().is_some_and(|kind| kind == "der"));
    assert_eq!(certificates.count(), cases.len());
    let count = |outcome: fn(&Result<bool, CertificateError>) -> bool| {
        cases
            .iter()
            .filter(|(_, expected)| outcome(expected))
            .count()
    };
    note(&format!(
        "rust-spiffe: {} cases, {} accepted ({} of them without a SPIFFE ID), {} refused, 0 passed over",
        cases.len(),
        count(Result::is_ok),
        count(|expected| *expected == Ok(false)),
        count(Result::is_err),
    ));
}

/// Certificates that stand one after the other.
fn split(mut der: &[u8]) -> Vec<CertificateDer<'_>> {
    let mut chain = Vec::new();
    while let [0x30, 0x82, high, low, ..] = der {
        let (one, rest) = der.split_at(4 + usize::from(*high) * 256 + usize::from(*low));
        chain.push(one.into());
        der = rest;
    }
    assert!(der.is_empty());
    chain
}
