//! Cases that nobody here wrote: C2SP/wycheproof for signatures and keys, maxlambrecht/rust-spiffe for X.509-SVIDs.

use std::path::PathBuf;

use rustls_pki_types::CertificateDer;
use serde_json::Value;

use super::*;

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
    let Some(keys) = KeySet::read(set) else {
        return false;
    };
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

#[test]
fn signatures_and_keys() {
    let Some(folder) = folder("jws") else {
        return;
    };
    for file in [
        "json_web_signature_test.json",
        "json_web_key_test.json",
        "json_web_crypto_test.json",
    ] {
        let suite: Value =
            serde_json::from_slice(&std::fs::read(folder.join(file)).unwrap()).unwrap();
        let (mut passed, mut refused, mut symmetric, mut stricter) = (0, 0, 0, Vec::new());
        for group in suite["testGroups"].as_array().unwrap() {
            let Some(public) = group.get("public") else {
                // A shared secret: only ever configured, never a set.
                let private = group["private"].to_string();
                for test in group["tests"].as_array().unwrap() {
                    let Some(token) = test["jws"].as_str() else {
                        continue;
                    };
                    let set = if private.contains("\"keys\"") {
                        private.clone()
                    } else {
                        format!(r#"{{"keys":[{private}]}}"#)
                    };
                    assert!(!verifies(token, set.as_bytes()), "{file} {}", test["tcId"]);
                    symmetric += 1;
                }
                continue;
            };
            let set = match public.get("keys") {
                Some(_) => public.to_string(),
                None => format!(r#"{{"keys":[{public}]}}"#),
            };
            for test in group["tests"].as_array().unwrap() {
                let Some(token) = test["jws"].as_str() else {
                    continue;
                };
                let label = format!("{file} {} {}", test["tcId"], test["comment"]);
                match (
                    test["result"].as_str().unwrap(),
                    verifies(token, set.as_bytes()),
                ) {
                    ("valid", true) => passed += 1,
                    ("invalid", false) => refused += 1,
                    // Stricter than the suite: P-521 isn't known here, and a key that says PS256 verifies no PS384.
                    ("valid", false) => stricter.push(test["comment"].as_str().unwrap().to_owned()),
                    other => panic!("{label}: {other:?}"),
                }
            }
        }
        note(&format!(
            "{file}: {passed} valid pass, {refused} invalid refused, {} valid refused by choice ({stricter:?}), {symmetric} with symmetric keys refused",
            stricter.len()
        ));
        let known = ["Figure20", "Figure27"];
        assert!(
            stricter.iter().all(|case| known.contains(&case.as_str())),
            "{file}: {stricter:?}"
        );
        assert!(passed > 0 && refused > 0, "{file}");
    }
}

#[test]
fn svids() {
    let Some(folder) = folder("spiffe") else {
        return;
    };
    use CertificateError::*;
    // What each leaf has, or why it is refused. CAs and those without SPIFFE ID are controls.
    let cases = [
        ("1-svid-chain", Ok(true)),
        ("ca", Ok(false)),
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
    note(&format!("spiffe: {} certificates", cases.len()));
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
