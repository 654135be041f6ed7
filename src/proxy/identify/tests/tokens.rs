//! How a token comes: its form, its header, its key. The attacks on JWT live here.

use serde_json::json;

use super::*;
use crate::config::Secret;

#[tokio::test]
async fn headers_choose_among_our_keys_and_nothing_else() {
    let signer = Signer::new("k1", Algorithm::ES256);
    let other = Signer::new("k2", Algorithm::ES256);
    let ed = Signer::new("k3", Algorithm::EdDSA);
    let wide = Signer::new("k4", Algorithm::ES384);
    let attacker = Signer::new("k1", Algorithm::ES256);
    let set = keys(&[&signer, &other, &ed, &wide]);
    let identifier = identifier(&identity(vec![provider(set)]));
    let own_key = format!(
        r#"{{"alg":"ES256","kid":"k1","typ":"jwt","jwk":{}}}"#,
        attacker.jwk()
    );
    let with = |more: &str| format!(r#"{{"alg":"ES256","kid":"k1","typ":"at+jwt"{more}}}"#);
    let long = format!(
        r#"{{"alg":"ES256","typ":"jwt","kid":"{}"}}"#,
        "k".repeat(257)
    );
    let h = |text: &str| text.to_owned();
    let cases = [
        ("as is", &signer, with(""), "ok"),
        (
            "typ in full, in capitals",
            &signer,
            h(r#"{"alg":"ES256","kid":"k1","typ":"Application/AT+JWT"}"#),
            "ok",
        ),
        (
            "another typ",
            &signer,
            h(r#"{"alg":"ES256","kid":"k1","typ":"logout+jwt"}"#),
            "token_type",
        ),
        (
            "no typ",
            &signer,
            h(r#"{"alg":"ES256","kid":"k1"}"#),
            "token_type",
        ),
        (
            "typ number",
            &signer,
            h(r#"{"alg":"ES256","kid":"k1","typ":1}"#),
            "token_header",
        ),
        (
            "no alg",
            &signer,
            h(r#"{"kid":"k1","typ":"jwt"}"#),
            "token_header",
        ),
        (
            "alg none",
            &signer,
            h(r#"{"alg":"none","kid":"k1","typ":"jwt"}"#),
            "algorithm_not_allowed",
        ),
        (
            "alg nOnE",
            &signer,
            h(r#"{"alg":"nOnE","kid":"k1","typ":"jwt"}"#),
            "algorithm_not_allowed",
        ),
        (
            "alg in lower case",
            &signer,
            h(r#"{"alg":"es256","kid":"k1","typ":"jwt"}"#),
            "algorithm_not_allowed",
        ),
        (
            "alg HS256",
            &signer,
            h(r#"{"alg":"HS256","kid":"k1","typ":"jwt"}"#),
            "algorithm_not_allowed",
        ),
        (
            "alg of a key that isn't in the list",
            &wide,
            h(r#"{"alg":"ES384","kid":"k4","typ":"jwt"}"#),
            "algorithm_not_allowed",
        ),
        (
            "alg of another kind of key",
            &signer,
            h(r#"{"alg":"EdDSA","kid":"k1","typ":"jwt"}"#),
            "key_mismatch",
        ),
        (
            "alg of another curve",
            &wide,
            h(r#"{"alg":"ES256","kid":"k4","typ":"jwt"}"#),
            "key_mismatch",
        ),
        (
            "alg list",
            &signer,
            h(r#"{"alg":["ES256"],"kid":"k1","typ":"jwt"}"#),
            "token_header",
        ),
        (
            "alg twice",
            &signer,
            with(r#","alg":"ES256""#),
            "token_header",
        ),
        (
            "crit",
            &signer,
            with(r#","crit":["exp"],"exp":1"#),
            "critical_header",
        ),
        (
            "crit empty",
            &signer,
            with(r#","crit":[]"#),
            "critical_header",
        ),
        (
            "unencoded payload",
            &signer,
            with(r#","b64":false"#),
            "critical_header",
        ),
        (
            "no kid, two fit",
            &signer,
            h(r#"{"alg":"ES256","typ":"jwt"}"#),
            "ambiguous_key",
        ),
        (
            "no kid, one fits",
            &ed,
            h(r#"{"alg":"EdDSA","typ":"jwt"}"#),
            "ok",
        ),
        (
            "kid of another key",
            &signer,
            h(r#"{"alg":"ES256","kid":"k2","typ":"jwt"}"#),
            "bad_signature",
        ),
        (
            "kid unknown",
            &signer,
            h(r#"{"alg":"ES256","kid":"k9","typ":"jwt"}"#),
            "unknown_key",
        ),
        (
            "kid empty",
            &signer,
            h(r#"{"alg":"ES256","kid":"","typ":"jwt"}"#),
            "unknown_key",
        ),
        (
            "kid a path",
            &signer,
            h(r#"{"alg":"ES256","kid":"../../dev/null","typ":"jwt"}"#),
            "unknown_key",
        ),
        (
            "kid a query",
            &signer,
            h(r#"{"alg":"ES256","kid":"k1' OR '1'='1","typ":"jwt"}"#),
            "unknown_key",
        ),
        (
            "kid in other case",
            &signer,
            h(r#"{"alg":"ES256","kid":"K1","typ":"jwt"}"#),
            "unknown_key",
        ),
        (
            "kid with a NUL",
            &signer,
            h(r#"{"alg":"ES256","kid":"k1\u0000","typ":"jwt"}"#),
            "unknown_key",
        ),
        ("kid too long", &signer, long, "token_header"),
        (
            "kid number",
            &signer,
            h(r#"{"alg":"ES256","kid":1,"typ":"jwt"}"#),
            "token_header",
        ),
        (
            "jku, which is not read",
            &signer,
            with(r#","jku":"http://evil.example/""#),
            "ok",
        ),
        (
            "jku of the attacker",
            &attacker,
            with(r#","jku":"http://evil.example/""#),
            "bad_signature",
        ),
        (
            "x5u of the attacker",
            &attacker,
            with(r#","x5u":"http://evil.example/""#),
            "bad_signature",
        ),
        (
            "x5c of the attacker",
            &attacker,
            with(r#","x5c":["AAAA"]"#),
            "bad_signature",
        ),
        ("jwk of the attacker", &attacker, own_key, "bad_signature"),
        ("header list", &signer, h("[]"), "token_header"),
        ("header not JSON", &signer, h("{"), "token_header"),
        (
            "space around the header",
            &signer,
            format!(" {} ", with("")),
            "ok",
        ),
    ];
    for (name, signer, header, expected) in cases {
        let token = signer.sign(&header, &claims(json!({})));
        let got = ask(&identifier, &token, None, now()).await;
        assert_eq!(got.map_or_else(|code| code, |_| "ok"), expected, "{name}");
    }
}

#[tokio::test]
async fn the_form_is_strict() {
    let signer = Signer::new("k1", Algorithm::ES256);
    let identifier = identifier(&identity(vec![provider(keys(&[&signer]))]));
    let good = signer.token(&claims(json!({})));
    let parts: Vec<_> = good.split('.').collect();
    let (head, body, signature) = (parts[0], parts[1], parts[2]);
    let last = signature.chars().last().unwrap();
    // The last of 86 characters carries two bits that must be zero.
    let loose = format!(
        "{head}.{body}.{}{}",
        signature.split_at(85).0,
        next_letter(last)
    );
    let der =
        b64(rcgen::SigningKey::sign(&signer.pair, format!("{head}.{body}").as_bytes()).unwrap());
    let flipped = format!(
        "{head}.{body}.{}{}",
        if signature.starts_with('A') { 'B' } else { 'A' },
        signature.split_at(1).1
    );
    let cases = [
        ("as is", good.clone(), "ok"),
        ("empty", String::new(), "malformed_token"),
        ("no dots", "abc".to_owned(), "malformed_token"),
        ("two parts", format!("{head}.{body}"), "malformed_token"),
        ("no signature", format!("{head}.{body}."), "malformed_token"),
        (
            "no header",
            format!(".{body}.{signature}"),
            "malformed_token",
        ),
        (
            "no payload",
            format!("{head}..{signature}"),
            "malformed_token",
        ),
        (
            "four parts",
            format!("{good}.{signature}"),
            "malformed_token",
        ),
        (
            "five parts",
            format!("{good}.{signature}.{signature}"),
            "malformed_token",
        ),
        ("padding", format!("{good}=="), "malformed_token"),
        (
            "padding, escaped",
            format!("{head}.{body}%3D.{signature}"),
            "malformed_token",
        ),
        (
            "other alphabet",
            format!("{head}.{body}.{}+/", signature.split_at(84).0),
            "malformed_token",
        ),
        ("bits left over", loose, "malformed_token"),
        ("space before", format!(" {good}"), "malformed_token"),
        ("space after", format!("{good} "), "malformed_token"),
        (
            "space within",
            format!("{head}. {body}.{signature}"),
            "malformed_token",
        ),
        ("tab", format!("{good}\t"), "malformed_token"),
        ("two tokens", format!("{good},{good}"), "malformed_token"),
        ("a parameter", format!("{good}, realm=x"), "malformed_token"),
        (
            "signature cut",
            format!("{head}.{body}.{}", signature.split_at(84).0),
            "bad_signature",
        ),
        (
            "signature in DER",
            format!("{head}.{body}.{der}"),
            "bad_signature",
        ),
        (
            "signature of zeros",
            format!("{head}.{body}.{}", b64([0; 64])),
            "bad_signature",
        ),
        ("signature changed", flipped, "bad_signature"),
        ("16 KiB", "a".repeat(16 * 1024), "malformed_token"),
        (
            "more than 16 KiB",
            "a".repeat(16 * 1024 + 1),
            "token_too_long",
        ),
    ];
    for (name, token, expected) in cases {
        let got = ask(&identifier, &token, None, now()).await;
        assert_eq!(got.map_or_else(|code| code, |_| "ok"), expected, "{name}");
    }
}

fn next_letter(letter: char) -> char {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let place = alphabet.iter().position(|b| *b == letter as u8).unwrap();
    alphabet[place + 1] as char
}

#[tokio::test]
async fn the_authorization_header_is_bearer_and_once() {
    let signer = Signer::new("k1", Algorithm::ES256);
    let identifier = identifier(&identity(vec![provider(keys(&[&signer]))]));
    let token = signer.token(&claims(json!({})));
    let cases: Vec<(Vec<String>, &str)> = vec![
        (vec![], "none"),
        (vec![format!("Bearer {token}")], "ok"),
        (vec![format!("bEARER {token}")], "ok"),
        (vec![format!("Bearer  {token}")], "malformed_token"),
        (vec![format!("Bearer\t{token}")], "unsupported_scheme"),
        (vec![format!(" Bearer {token}")], "unsupported_scheme"),
        (vec![format!("DPoP {token}")], "unsupported_scheme"),
        (vec![format!("Basic {token}")], "unsupported_scheme"),
        (vec![token.clone()], "unsupported_scheme"),
        (vec!["Bearer".to_owned()], "unsupported_scheme"),
        (vec!["Bearer ".to_owned()], "malformed_token"),
        (vec![String::new()], "unsupported_scheme"),
        (vec![format!("Bearer {token}é")], "unsupported_scheme"),
        (
            vec![format!("Bearer {token}"), format!("Bearer {token}")],
            "credential_twice",
        ),
    ];
    for (values, expected) in cases {
        let mut headers = HeaderMap::new();
        for value in &values {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(header::AUTHORIZATION, value);
        }
        let cache = TokenCache::new(4);
        let got = match identifier.identify(&cache, &headers, None, now()).await {
            Ok(Some(identified)) => {
                assert!(identified.credential);
                "ok"
            }
            Ok(None) => "none",
            Err(error) => error.code(),
        };
        assert_eq!(got, expected, "{} headers", values.len());
    }
}

#[tokio::test]
async fn shared_secrets_only_where_configured_and_long_enough() {
    let signer = Signer::new("k1", Algorithm::ES256);
    let public = keys(&[&signer]);
    let secret = |length| Keys::Secret(Secret(vec![7; length].into()));
    let hs = |key: &[u8], algorithm: Algorithm| {
        let header = format!(r#"{{"alg":"{algorithm:?}","kid":"any","typ":"jwt"}}"#);
        let signed = format!("{}.{}", b64(header), b64(claims(json!({}))));
        let key = EncodingKey::from_secret(key);
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, algorithm).unwrap();
        format!("{signed}.{signature}")
    };
    let raw = signer.pair.public_key_raw().to_vec();
    let pem = signer.pair.public_key_pem().into_bytes();
    let cases = [
        ("secret", secret(32), hs(&[7; 32], Algorithm::HS256), "ok"),
        (
            "another",
            secret(32),
            hs(&[8; 32], Algorithm::HS256),
            "bad_signature",
        ),
        (
            "short for the hash",
            secret(32),
            hs(&[7; 32], Algorithm::HS512),
            "key_mismatch",
        ),
        (
            "short",
            secret(31),
            hs(&[7; 31], Algorithm::HS256),
            "key_mismatch",
        ),
        (
            "empty",
            secret(0),
            hs(&[], Algorithm::HS256),
            "key_mismatch",
        ),
        (
            "asymmetric",
            secret(32),
            signer.token(&claims(json!({}))),
            "key_mismatch",
        ),
        // Even where somebody lists HS256 beside public keys.
        (
            "the public key as secret",
            public.clone(),
            hs(&raw, Algorithm::HS256),
            "unknown_key",
        ),
        (
            "the same as PEM",
            public,
            hs(&pem, Algorithm::HS256),
            "unknown_key",
        ),
    ];
    for (name, keys, token, expected) in cases {
        let mut provider = provider(keys);
        provider.algorithms = vec![Algorithm::ES256, Algorithm::HS256, Algorithm::HS512];
        let identifier = identifier(&identity(vec![provider]));
        let got = ask(&identifier, &token, None, now()).await;
        assert_eq!(got.map_or_else(|code| code, |_| "ok"), expected, "{name}");
    }
}

#[tokio::test]
async fn issuers_keys_dont_mix() {
    let one = Signer::new("k", Algorithm::ES256);
    let two = Signer::new("k", Algorithm::ES256);
    let mut second = provider(keys(&[&two]));
    second.name = "second".into();
    second.issuer = "https://second.example".into();
    let identifier = identifier(&identity(vec![provider(keys(&[&one])), second]));
    let theirs = claims(json!({"iss": "https://second.example"}));
    let name = |got: Result<Arc<Principal>, &'static str>| {
        got.map(|p| p.provider.clone().unwrap().into_string())
    };
    let asked = ask(&identifier, &two.token(&theirs), None, now()).await;
    assert_eq!(name(asked), Ok("second".to_owned()));
    let asked = ask(&identifier, &one.token(&theirs), None, now()).await;
    assert_eq!(name(asked), Err("bad_signature"));
}
