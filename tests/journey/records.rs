//! The record: a decision for each request, an outcome for each that was forwarded, and no secret anywhere.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};

use crate::harness::{Gateway, Setup, bare, of_kind, request, token, token_until};

#[tokio::test]
async fn each_request_has_one_decision_and_each_permit_one_outcome() {
    let setup = Setup {
        audit: ", fields: [{ fields: body/name, policies: items.write, as: shown }]",
        ..Setup::default()
    };
    let mut gateway = setup.start().await;
    // Path, and the reason that the record gives; none: permitted.
    let expired = token_until("agent/7", -4000);
    type Call = (
        Method,
        &'static str,
        &'static str,
        Option<String>,
        Option<&'static str>,
    );
    let cases: Vec<Call> = vec![
        (Method::GET, "/items/1", "", Some(token("agent/7")), None),
        (Method::GET, "/open", "", None, None),
        (
            Method::POST,
            "/items",
            r#"{"name":"ok"}"#,
            Some(token("agent/7")),
            None,
        ),
        (
            Method::PUT,
            "/files/f",
            "anything",
            Some(token("agent/7")),
            None,
        ),
        (Method::GET, "/items/1", "", None, Some("no_credentials")),
        (
            Method::GET,
            "/items/1",
            "",
            Some("garbage".into()),
            Some("invalid_token"),
        ),
        (
            Method::GET,
            "/items/1",
            "",
            Some(expired),
            Some("invalid_token"),
        ),
        (
            Method::GET,
            "/items/1",
            "",
            Some(token("other/7")),
            Some("invalid_token"),
        ),
        (
            Method::GET,
            "/nowhere",
            "",
            Some(token("agent/7")),
            Some("no_policy"),
        ),
        (
            Method::GET,
            "/items/secret",
            "",
            Some(token("agent/7")),
            Some("no_policy"),
        ),
        (
            Method::GET,
            "/items/forbidden",
            "",
            Some(token("agent/7")),
            Some("forbidden"),
        ),
        (
            Method::GET,
            "/items/%2e%2e",
            "",
            Some(token("agent/7")),
            Some("ambiguous_request"),
        ),
        (
            Method::POST,
            "/items",
            r#"{"name":"no"}"#,
            Some(token("agent/7")),
            Some("no_policy"),
        ),
        (
            Method::POST,
            "/items",
            r#"{"name":"ok","name":"ok"}"#,
            Some(token("agent/7")),
            Some("ambiguous_request"),
        ),
        (
            Method::POST,
            "/items",
            "{",
            Some(token("agent/7")),
            Some("ambiguous_request"),
        ),
    ];
    let mut ids = Vec::new();
    for (method, path, body, token, reason) in &cases {
        let mut asked = bare(method.clone(), path, *body);
        if let Some(token) = token {
            let bearer = format!("Bearer {token}").parse().unwrap();
            asked.headers_mut().insert("authorization", bearer);
        }
        let answer = gateway.call(asked).await;
        match reason {
            None => assert_eq!(answer.status, 200, "{path}"),
            Some(reason) => {
                assert_eq!(answer.reason().1, *reason, "{path}");
                let told = answer.json();
                ids.push((told["decision_id"].clone(), told["detail"].clone()));
            }
        }
    }
    let permitted = cases.iter().filter(|case| case.4.is_none()).count();
    assert_eq!(gateway.upstream.count(), permitted);
    let records = gateway.stop().await;
    let decisions = of_kind(&records, "decision");
    let reasons: Vec<Option<&str>> = decisions.iter().map(|d| d["reason"].as_str()).collect();
    assert_eq!(reasons, cases.iter().map(|case| case.4).collect::<Vec<_>>());
    let denied: Vec<_> = decisions
        .iter()
        .filter(|d| d["decision"] == "deny")
        .map(|d| (d["id"].clone(), d["detail"].clone()))
        .collect();
    assert_eq!(denied, ids, "what the client was told is the record's id");

    let judged: Vec<&Value> = decisions
        .iter()
        .map(|d| &d["request"]["judged"])
        .filter(|judged| !judged.is_null())
        .collect();
    assert_eq!(
        judged,
        [&json!({ "body/name": "ok" }), &json!({ "body/name": "no" })],
        "what was judged is on record, permitted or not"
    );

    let mut pairs: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for record in &records {
        let entry = |id: &Value| id.as_str().unwrap().to_owned();
        match record["kind"].as_str().unwrap() {
            "decision" => pairs.entry(entry(&record["id"])).or_default().0 += 1,
            "outcome" => pairs.entry(entry(&record["id"])).or_default().1 += 1,
            _ => {}
        }
    }
    assert_eq!(pairs.len(), cases.len());
    for decision in decisions {
        let outcomes = usize::from(decision["decision"] == "permit");
        assert_eq!(
            pairs[decision["id"].as_str().unwrap()],
            (1, outcomes),
            "{decision}"
        );
    }
    for outcome in of_kind(&records, "outcome") {
        assert_eq!(
            (&outcome["end"], &outcome["status"]),
            (&"complete".into(), &200.into())
        );
        assert_eq!(outcome["bytes"], 17);
    }
}

#[tokio::test]
async fn no_file_holds_a_token_or_an_injected_secret() {
    let setup = Setup {
        route: r#", set_headers: { x-api-key: { file: upstream.secret } }"#,
        files: &[("upstream.secret", "the-injected-credential\n".into())],
        ..Setup::default()
    };
    let mut gateway = setup.start().await;
    let good = token("agent/7");
    let mut told = String::new();
    for (token, path, body) in [
        (good.clone(), "/items/1", ""),
        (good.clone(), "/nowhere", ""),
        (good.clone(), "/items/forbidden", ""),
        (token_until("agent/7", -4000), "/items/1", ""),
        (format!("{good}x"), "/items/1", ""),
        (
            good.clone(),
            "/items",
            r#"{"name":"no","note":"the-private-value"}"#,
        ),
    ] {
        let method = if body.is_empty() {
            Method::GET
        } else {
            Method::POST
        };
        let mut asked = bare(method, path, body);
        let bearer = format!("Bearer {token}").parse().unwrap();
        asked.headers_mut().insert("authorization", bearer);
        let answer = gateway.call(asked).await;
        told.push_str(&format!("{:?}{}", answer.headers, answer.text()));
    }
    told.push_str(&gateway.admin("/metrics").await.1);
    told.push_str(&gateway.admin("/policies").await.1);
    gateway.stop().await;
    told.push_str(&std::fs::read_to_string(gateway.file("audit.jsonl")).unwrap());
    for secret in good
        .split('.')
        .chain(["the-injected-credential", "the-private-value"])
    {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
}

#[tokio::test]
async fn a_key_that_the_gateway_sets_is_not_the_clients_to_send() {
    let mut gateway = Gateway::start().await;
    let mut asked = request(Method::GET, "/items/1", "");
    asked
        .headers_mut()
        .insert("x-api-key", "mine".parse().unwrap());
    asked
        .headers_mut()
        .insert("x-forwarded-for", "1.2.3.4".parse().unwrap());
    asked
        .headers_mut()
        .insert("x-portcullis-agent", "root".parse().unwrap());
    assert_eq!(gateway.call(asked).await.status, 200);
    let seen = gateway.upstream.only().headers;
    assert_eq!(
        seen.get_all("x-api-key").iter().collect::<Vec<_>>(),
        ["injected"]
    );
    assert_eq!(seen["x-forwarded-for"], "127.0.0.1");
    assert!(!seen.contains_key("x-portcullis-agent"));
    gateway.stop().await;
}

/// Records hold no field's value unless a rule says so, which a reload may change.
#[tokio::test]
async fn a_record_tells_of_judged_fields_what_the_rules_in_force_say() {
    let key = "fields_key: { file: fields.key }, ";
    let audit = format!(", {key}fields: [{{ fields: body/none, as: hmac }}]");
    let setup = Setup {
        audit: &audit,
        files: &[("fields.key", "k".repeat(32) + "\n")],
        ..Setup::default()
    };
    let mut gateway = setup.start().await;
    let config = gateway.file("portcullis.yaml");
    // `printf %s ok-7 | openssl dgst -sha256 -hmac kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk`
    let hmac = "hmac-sha256:9241dd7f20250d4716be3a05b43ac122be5ca4e3b546f2b43d9681665ced59e4";
    let cases = [
        ("fields: body/none", Value::Null),
        ("fields: body/name", json!({ "body/name": hmac })),
        (
            "fields: [body/*], policies: [other, items.*]",
            json!({ "body/name": hmac }),
        ),
        ("fields: body/name, policies: other", Value::Null),
    ];
    let mut before = "fields: body/none";
    for (rule, _) in &cases {
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, text.replace(before, rule)).unwrap();
        gateway.running().reload().await.unwrap();
        let answer = gateway
            .call(request(Method::POST, "/items", r#"{"name":"ok-7"}"#))
            .await;
        assert_eq!(answer.status, 200);
        before = rule;
    }
    let records = gateway.stop().await;
    let judged = of_kind(&records, "decision");
    let judged: Vec<&Value> = judged.iter().map(|d| &d["request"]["judged"]).collect();
    assert_eq!(
        judged,
        cases.iter().map(|(_, want)| want).collect::<Vec<_>>()
    );
    for decision in of_kind(&records, "decision") {
        assert!(decision["request"]["body_sha256"].is_string(), "{decision}");
        assert!(!decision.to_string().contains("ok-7"), "{decision}");
    }
}
