//! What clients get, what the upstream sees, what is on record.

use http::Method;
use serde_json::json;

use crate::harness::{Gateway, bare, of_kind, request, token, token_until};

#[tokio::test]
async fn a_permitted_request_goes_and_comes_back_and_is_on_record() {
    let mut gateway = Gateway::start().await;
    let mut asked = request(Method::GET, "/items/4%32", "");
    let headers = asked.headers_mut();
    headers.insert("x-forwarded-for", "6.6.6.6".parse().unwrap());
    headers.insert("x-api-key", "mine".parse().unwrap());
    headers.insert("x-unknown", "1".parse().unwrap());
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    headers.insert("traceparent", traceparent.parse().unwrap());
    let answer = gateway.call(asked).await;
    assert_eq!(
        (answer.status.as_u16(), answer.text().as_str()),
        (200, "from the upstream")
    );
    assert_eq!(answer.headers["x-upstream"], "yes");

    let seen = gateway.upstream.only();
    assert_eq!(
        seen.target, "/items/42",
        "the canonical form is what is forwarded"
    );
    assert_eq!(seen.headers["x-api-key"], "injected");
    assert_eq!(seen.headers["x-forwarded-for"], "127.0.0.1");
    assert!(!seen.headers.contains_key("authorization"));
    assert!(!seen.headers.contains_key("x-unknown"));
    let trace = seen.headers["traceparent"].to_str().unwrap();
    assert!(trace.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
    assert_ne!(trace, traceparent);

    let records = gateway.stop().await;
    let [decision] = of_kind(&records, "decision")[..] else {
        panic!("{records:?}")
    };
    let [outcome] = of_kind(&records, "outcome")[..] else {
        panic!("{records:?}")
    };
    assert_eq!(decision["decision"], "permit");
    assert_eq!(decision["policies"], json!(["items.read"]));
    assert_eq!(decision["principal"]["agent"], "agent/7");
    assert_eq!(decision["principal"]["token_id"], "t1");
    assert_eq!(decision["request"]["path"], "/items/42");
    assert_eq!(decision["request"]["template"], "/items/{item}");
    assert_eq!(decision["route"], "api");
    assert_eq!(decision["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(outcome["id"], decision["id"]);
    assert_eq!(outcome["end"], "complete");
    assert_eq!(outcome["status"], 200);
    assert_eq!(outcome["bytes"], 17);
    assert_eq!(outcome["sha256"].as_str().unwrap().len(), 64);
    let place = |kind: &str| records.iter().position(|r| r["kind"] == kind).unwrap();
    assert!(place("decision") < place("outcome"));
    let text = std::fs::read_to_string(gateway.file("audit.jsonl")).unwrap();
    assert!(!text.contains("Bearer") && !text.contains(&token("agent/7")[..20]));
}

#[tokio::test]
async fn every_refusal_has_its_reason_and_its_record_and_reaches_no_upstream() {
    let mut gateway = Gateway::start().await;
    let bearer = |token: String| {
        let mut asked = bare(Method::GET, "/items/1", "");
        asked
            .headers_mut()
            .insert("authorization", format!("Bearer {token}").parse().unwrap());
        asked
    };
    let with = |name: &'static str, value: &str| {
        let mut asked = request(Method::GET, "/items/1", "");
        asked.headers_mut().append(name, value.parse().unwrap());
        asked
    };
    let get = |path: &str| request(Method::GET, path, "");
    let post = |body: &'static str| request(Method::POST, "/items", body);
    let cases = [
        (bare(Method::GET, "/items/1", ""), 401, "no_credentials"),
        (bearer("x.y.z".into()), 401, "invalid_token"),
        (bearer(token_until("agent/7", -120)), 401, "invalid_token"),
        (bearer(token("other/7")), 401, "invalid_token"),
        (get("/items/secret"), 403, "no_policy"),
        (get("/items"), 403, "no_policy"),
        (get("/items/forbidden"), 403, "forbidden"),
        (get("/items/FORBIDDEN/"), 403, "forbidden"),
        (get("/items/1?x=1"), 403, "no_policy"),
        (get("/items/../items/1"), 400, "ambiguous_request"),
        (get("/items/%2e%2e/1"), 400, "ambiguous_request"),
        (get("/items//1"), 400, "ambiguous_request"),
        (get("/items/a%2Fb"), 400, "ambiguous_request"),
        (
            with("x-http-method-override", "DELETE"),
            400,
            "ambiguous_request",
        ),
        (with("x_y", "1"), 400, "ambiguous_request"),
        (with("authorization", "Bearer x"), 400, "ambiguous_request"),
        (post("{\"name\":\"no\"}"), 403, "no_policy"),
        (post("{\"name\":\"ok\",\"more\":1}"), 403, "no_policy"),
        (
            post("{\"name\":\"ok\",\"name\":\"ok\"}"),
            400,
            "ambiguous_request",
        ),
        (post("{\"name\":"), 400, "ambiguous_request"),
    ];
    let count = cases.len();
    for (asked, status, reason) in cases {
        let what = format!("{} {:?}", asked.uri(), asked.headers());
        let answer = gateway.call(asked).await;
        assert_eq!(answer.reason(), (status, reason.to_owned()), "{what}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(
            answer.headers.contains_key("www-authenticate"),
            status == 401
        );
        assert!(
            !answer.text().contains("items"),
            "no echo: {}",
            answer.text()
        );
    }
    assert_eq!(gateway.upstream.count(), 0);
    let records = gateway.stop().await;
    let decisions = of_kind(&records, "decision");
    assert_eq!(decisions.len(), count);
    assert!(decisions.iter().all(|d| d["decision"] == "deny"));
    assert!(of_kind(&records, "outcome").is_empty());
}

#[tokio::test]
async fn a_denial_names_what_failed_and_its_record() {
    let mut gateway = Gateway::start().await;
    let answer = gateway
        .call(request(Method::POST, "/items", r#"{"name":"no"}"#))
        .await;
    let problem = answer.json();
    assert_eq!(problem["fields"], json!(["body/name"]));
    assert_eq!(problem["next_action"], "none");
    let records = gateway.stop().await;
    let decision = of_kind(&records, "decision")[0];
    assert_eq!(decision["id"], problem["decision_id"]);
    assert_eq!(decision["request"]["fields"], json!(["body/name"]));
    assert_eq!(
        decision["request"]["body_sha256"].as_str().unwrap().len(),
        64
    );
}

#[tokio::test]
async fn an_anonymous_policy_needs_no_token() {
    let gateway = Gateway::start().await;
    let answer = gateway.call(bare(Method::GET, "/open", "")).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn both_protocols_are_served_on_one_port() {
    let gateway = Gateway::start().await;
    let mut asked = request(Method::GET, "http://api.example.com/items/1", "");
    asked.headers_mut().remove("host");
    let answer = gateway.call2(asked).await;
    assert_eq!(
        (answer.status.as_u16(), answer.text().as_str()),
        (200, "from the upstream")
    );
    assert_eq!(gateway.upstream.only().headers["host"], "api.example.com");
    let mut asked = request(Method::GET, "http://api.example.com/items/secret", "");
    asked.headers_mut().remove("host");
    assert_eq!(
        gateway.call2(asked).await.reason(),
        (403, "no_policy".into())
    );
}

#[tokio::test]
async fn json_rpc_and_grpc_clients_get_their_own_errors() {
    let gateway = Gateway::start().await;
    let call = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"delete"}}"#;
    let answer = gateway.call(request(Method::POST, "/mcp", call)).await;
    let body = answer.json();
    assert_eq!((answer.status.as_u16(), &body["id"]), (200, &json!(7)));
    assert_eq!(body["error"]["data"]["reason"], "no_policy");
    let fine = call.replace("delete", "search");
    assert_eq!(
        gateway
            .call(request(Method::POST, "/mcp", fine.clone()))
            .await
            .status,
        200
    );
    assert_eq!(gateway.upstream.only().body, fine);

    let mut asked = request(
        Method::POST,
        "http://api.example.com/pkg.Service/Call",
        "\0\0\0\0\0",
    );
    asked
        .headers_mut()
        .insert("content-type", "application/grpc".parse().unwrap());
    asked.headers_mut().remove("host");
    let answer = gateway.call2(asked).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["grpc-status"], "7");
    assert_eq!(answer.headers["portcullis-reason"], "no_policy");
}
