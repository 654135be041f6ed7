//! What a cases file is read as, and what is said of one that is wrong.

use super::*;

const HEAD: &str = "version: 1\nnow: 2026-11-21T09:00:00Z\nprincipals:\n  support: { agent: a, groups: [g], claims: { n: 1.50, t: 2026-11-21T10:00:00Z } }\ncases:\n";

fn one(request: &str) -> Result<Request, Vec<String>> {
    let text = format!(
        "{HEAD}  - {{ name: c, as: support, request: {request}, expect: {{ permit: p }} }}\n"
    );
    match cases("c.yaml".into(), &text) {
        Ok(mut cases) => Ok(cases.cases.remove(0).request),
        Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
    }
}

#[test]
fn a_request_is_what_would_come_over_the_wire() {
    let request = one("{ method: POST, path: /a/b?c=d, headers: { X-A: [1, two] }, body: { n: 1.50, t: 'x\"y', l: [~, true] } }").unwrap();
    assert_eq!(request.method, Method::POST);
    assert_eq!(request.target.unwrap().to_string(), "/a/b?c=d");
    assert_eq!(
        request.body.as_deref(),
        Some(br#"{"n":1.50,"t":"x\"y","l":[null,true]}"#.as_slice())
    );
    assert_eq!(request.headers["content-type"], "application/json");
    assert_eq!(request.headers["content-length"], "37");
    assert_eq!(request.headers["host"], "api.example.com");
    let values: Vec<_> = request.headers.get_all("x-a").iter().collect();
    assert_eq!(values, ["1", "two"]);

    let request = one("{ method: POST, path: /a, query: b=c, raw_body: 'a=b', content_type: application/x-www-form-urlencoded, client: 10.1.2.3 }").unwrap();
    assert_eq!(request.target.unwrap().to_string(), "/a?b=c");
    assert_eq!(request.body.as_deref(), Some(b"a=b".as_slice()));
    assert_eq!(
        request.headers["content-type"],
        "application/x-www-form-urlencoded"
    );
    assert_eq!(request.client.to_string(), "10.1.2.3");

    let request = one("{ method: GET, path: /ws, upgrade: websocket }").unwrap();
    assert_eq!(request.headers["upgrade"], "websocket");
    assert!(
        one("{ method: GET, path: 'a b' }")
            .unwrap()
            .target
            .is_none()
    );
}

#[test]
fn claims_keep_numbers_and_moments_as_written() {
    let read = cases("c.yaml".into(), &format!("{HEAD}  []\n")).unwrap();
    let claims = &read.principals["support"].claims;
    let mut text = String::new();
    write_json(claims, &mut text);
    assert_eq!(text, r#"{"n":1.50,"t":"2026-11-21T10:00:00Z"}"#);
}

#[test]
fn every_problem_is_told_at_its_place() {
    let text = "version: 2
principals: { support: { agent: a, usr: b } }
cases:
  - { name: a, as: suport, request: { method: GET, path: /a?b, query: c, now: noon }, expect: { permit: p, detail: json_bom } }
  - { name: b, request: { method: GET, path: /a }, expect: { deny: no_polcy } }
  - { name: b, request: { method: GET, path: /, body: 1, raw_body: x, client: here, now: 2026-11-21T09:00:00Z }, expect: {} }
";
    let problems: Vec<String> = cases("c.yaml".into(), text)
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect();
    let expected = [
        "c.yaml:1:10 version: expected 1",
        "c.yaml:2:36 principals.support.usr: unknown key `usr`; did you mean `user`?",
        "c.yaml:4:20 cases[0].as: no principal `suport`; did you mean `support`?",
        "c.yaml:4:37 cases[0].request: the path has a query already; write it in one place",
        "c.yaml:4:79 cases[0].request.now: expected a moment such as 2026-11-21T09:00:00Z (RFC 3339)",
        "c.yaml:4:116 cases[0].expect.detail: this goes with `deny`",
        "c.yaml:5:25 cases[1].request: the key `now` is missing here and in the file: a case must not depend on the day it runs",
        "c.yaml:5:68 cases[1].expect.deny: `no_polcy` is none; did you mean `no_policy`?",
        "c.yaml:6:68 cases[2].request.raw_body: `body` and `raw_body` exclude each other",
        "c.yaml:6:79 cases[2].request.client: expected an IP address",
        "c.yaml:6:122 cases[2].expect: expected either `permit: <id>` or `deny: <reason>`",
    ];
    assert_eq!(problems, expected);
}
