//! What a token says: good claims, and every way that was thought of in which they aren't.

use serde_json::json;

use super::*;

#[tokio::test]
async fn a_good_token_becomes_a_principal() {
    let signer = Signer::new("k1", Algorithm::ES256);
    let identifier = identifier(&identity(vec![provider(keys(&[&signer]))]));
    let token = signer.token(&claims(json!({
        "act": {"sub": "agent/9", "act": {"sub": "agent/nested"}}, "on_behalf_of": "ann", "sid": "s1",
        "workload": "w1", "task": {"id": "T1"}, "groups": ["a", "b"], "nbf": NOW as f64 - 5.5,
    })));
    let principal = ask(&identifier, &token, None, now()).await.unwrap();
    let text = |part: &Option<Box<str>>| part.as_deref().map(str::to_owned).unwrap();
    assert_eq!(text(&principal.provider), "corp");
    assert_eq!(text(&principal.agent), "agent/9");
    assert_eq!(text(&principal.user), "ann");
    assert_eq!(text(&principal.workload), "w1");
    assert_eq!(text(&principal.session), "s1");
    assert_eq!(text(&principal.task), "T1");
    assert_eq!(text(&principal.token_id), "t1");
    assert_eq!(principal.groups, ["a".into(), "b".into()]);
    assert_eq!(principal.cert, None);
    // `exp` and the leeway, for as long as the token is accepted.
    assert_eq!(principal.expires_at.unwrap().as_second(), NOW + 330);
    assert_eq!(
        principal
            .claims
            .member("sid")
            .and_then(crate::policy::Json::as_text),
        Some("s1")
    );
}

#[tokio::test]
async fn claims_are_held_to_their_rules() {
    let signer = Signer::new("k1", Algorithm::ES256);
    let identifier = identifier(&identity(vec![provider(keys(&[&signer]))]));
    let long = "x".repeat(1025);
    let many: Vec<_> = (0..257).map(|n| format!("g{n}")).collect();
    let thumbprint = b64([0; 32]);
    let cases = [
        ("as is", json!({}), "ok"),
        // The issuer.
        ("no iss", json!({"iss": null}), "claim_missing"),
        (
            "iss of another",
            json!({"iss": "https://issuer.example/"}),
            "unknown_issuer",
        ),
        (
            "iss in other case",
            json!({"iss": "https://ISSUER.example"}),
            "unknown_issuer",
        ),
        (
            "iss list",
            json!({"iss": ["https://issuer.example"]}),
            "claim_type",
        ),
        // The audience.
        ("no aud", json!({"aud": null}), "claim_missing"),
        ("another aud", json!({"aud": "apis"}), "wrong_audience"),
        (
            "aud list",
            json!({"aud": ["x", "https://api.example"]}),
            "ok",
        ),
        (
            "aud list of others",
            json!({"aud": ["x", "y"]}),
            "wrong_audience",
        ),
        ("empty aud list", json!({"aud": []}), "wrong_audience"),
        (
            "aud of mixed types",
            json!({"aud": ["api", 7]}),
            "claim_type",
        ),
        ("aud nested list", json!({"aud": [["api"]]}), "claim_type"),
        ("aud object", json!({"aud": {"api": true}}), "claim_type"),
        // Times, with a leeway of 30 s and at most an hour.
        ("no exp", json!({"exp": null}), "claim_missing"),
        ("no iat", json!({"iat": null}), "claim_missing"),
        ("exp text", json!({"exp": "1800000300"}), "claim_type"),
        ("exp bool", json!({"exp": true}), "claim_type"),
        ("exp list", json!({"exp": [NOW + 300]}), "claim_type"),
        ("exp with fraction", json!({"exp": NOW as f64 + 0.5}), "ok"),
        ("exp negative", json!({"exp": -1, "iat": NOW}), "claim_type"),
        (
            "exp in milliseconds",
            json!({"exp": (NOW + 300) * 1000}),
            "claim_type",
        ),
        ("exp past any integer", json!({"exp": 1e300}), "claim_type"),
        (
            "exp now, within leeway",
            json!({"exp": NOW, "iat": NOW - 60}),
            "ok",
        ),
        (
            "exp at the end of leeway",
            json!({"exp": NOW - 30, "iat": NOW - 60}),
            "token_expired",
        ),
        (
            "exp last second of leeway",
            json!({"exp": NOW - 29, "iat": NOW - 60}),
            "ok",
        ),
        ("nbf text", json!({"nbf": "0"}), "claim_type"),
        ("nbf within leeway", json!({"nbf": NOW + 30}), "ok"),
        (
            "nbf beyond leeway",
            json!({"nbf": NOW + 31}),
            "token_not_yet_valid",
        ),
        ("nbf long ago", json!({"nbf": 0}), "ok"),
        ("iat text", json!({"iat": "now"}), "claim_type"),
        ("iat within leeway", json!({"iat": NOW + 30}), "ok"),
        (
            "iat in the future",
            json!({"iat": NOW + 31}),
            "issued_in_future",
        ),
        ("longest life", json!({"iat": NOW, "exp": NOW + 3600}), "ok"),
        (
            "too long a life",
            json!({"iat": NOW, "exp": NOW + 3601}),
            "lifetime_too_long",
        ),
        (
            "exp before iat",
            json!({"iat": NOW + 20, "exp": NOW + 10}),
            "lifetime_too_long",
        ),
        // Binding to a certificate, though none came.
        (
            "bound",
            json!({"cnf": {"x5t#S256": thumbprint}}),
            "binding_mismatch",
        ),
        (
            "bound by a short hash",
            json!({"cnf": {"x5t#S256": "AAAA"}}),
            "binding_unsupported",
        ),
        (
            "DPoP",
            json!({"cnf": {"jkt": thumbprint}}),
            "binding_unsupported",
        ),
        ("key", json!({"cnf": {"jwk": {}}}), "binding_unsupported"),
        (
            "two",
            json!({"cnf": {"x5t#S256": thumbprint, "jkt": "x"}}),
            "binding_unsupported",
        ),
        ("empty cnf", json!({"cnf": {}}), "binding_unsupported"),
        ("cnf text", json!({"cnf": thumbprint}), "claim_type"),
        // Who it is.
        ("no sub", json!({"sub": null}), "ok"),
        ("sub number", json!({"sub": 7}), "claim_type"),
        ("sub empty", json!({"sub": ""}), "claim_type"),
        (
            "sub with a NUL",
            json!({"sub": "agent/7\u{0}"}),
            "claim_type",
        ),
        (
            "sub with a line feed",
            json!({"sub": "agent/7\n"}),
            "claim_type",
        ),
        ("sub too long", json!({"sub": long}), "claim_type"),
        ("jti number", json!({"jti": 1}), "claim_type"),
        ("sid number", json!({"sid": 1}), "claim_type"),
        (
            "agent of another",
            json!({"sub": "admin"}),
            "agent_not_allowed",
        ),
        (
            "agent beyond the glob",
            json!({"sub": "agent/7/8"}),
            "agent_not_allowed",
        ),
        (
            "agent that leads out of the glob",
            json!({"sub": "agent/.."}),
            "agent_not_allowed",
        ),
        ("agent of three dots", json!({"sub": "agent/..."}), "ok"),
        (
            "actor of another",
            json!({"act": {"sub": "admin"}}),
            "agent_not_allowed",
        ),
        (
            "actor without name",
            json!({"act": {"client_id": "agent/7"}}),
            "actor_unmapped",
        ),
        (
            "actor within",
            json!({"act": {"act": {"sub": "agent/7"}}}),
            "actor_unmapped",
        ),
        ("actor text", json!({"act": "agent/7"}), "claim_type"),
        (
            "actor list",
            json!({"act": [{"sub": "agent/7"}]}),
            "claim_type",
        ),
        (
            "actor's name a list",
            json!({"act": {"sub": ["agent/7"]}}),
            "claim_type",
        ),
        ("one group", json!({"groups": "a b"}), "ok"),
        ("group number", json!({"groups": ["a", 1]}), "claim_type"),
        (
            "groups object",
            json!({"groups": {"a": true}}),
            "claim_type",
        ),
        (
            "too many groups",
            json!({"groups": many}),
            "too_many_groups",
        ),
    ];
    for (name, more, expected) in cases {
        let got = ask(&identifier, &signer.token(&claims(more)), None, now()).await;
        assert_eq!(got.map_or_else(|code| code, |_| "ok"), expected, "{name}");
    }
}

#[tokio::test]
async fn payloads_that_no_serialiser_writes_are_refused() {
    let signer = Signer::new("k1", Algorithm::ES256);
    let identifier = identifier(&identity(vec![provider(keys(&[&signer]))]));
    let good = claims(json!({}));
    let inner = signer.token(&good);
    let twice = good.replacen('{', r#"{"sub":"agent/8","#, 1);
    let escaped = good.replacen('{', r#"{"\u0073ub":"agent/8","#, 1);
    let number = |exp: &str| good.replace(&(NOW + 300).to_string(), exp);
    let deep = good.replacen(
        '{',
        &format!(r#"{{"x":{}{},"#, "[".repeat(200), "]".repeat(200)),
        1,
    );
    let cases = [
        ("duplicate", twice.as_str(), "token_payload"),
        ("duplicate, escaped", &escaped, "token_payload"),
        ("text", r#""claims""#, "token_payload"),
        ("list", "[]", "token_payload"),
        ("a token in a token", &inner, "token_payload"),
        ("two documents", &format!("{good}{{}}"), "token_payload"),
        (
            "byte order mark",
            &format!("\u{feff}{good}"),
            "token_payload",
        ),
        ("NaN", &number("NaN"), "token_payload"),
        ("infinity", &number("1e999"), "token_payload or claim_type"),
        ("deep", &deep, "token_payload"),
    ];
    for (name, payload, expected) in cases {
        let got = ask(&identifier, &signer.token(payload), None, now())
            .await
            .unwrap_err();
        assert!(
            expected.split(" or ").any(|code| code == got),
            "{name}: {got}"
        );
    }
    // Not UTF-8.
    let signed = format!("{}.{}", b64(signer.header()), b64(b"{\"iss\":\"\xff\"}"));
    let token = format!("{signed}.{}", b64([0; 64]));
    assert_eq!(
        ask(&identifier, &token, None, now()).await.unwrap_err(),
        "token_payload"
    );
}
