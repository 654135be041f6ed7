//! What forbids reach, what lifts them, and what shadow policies change: nothing.

use super::*;

#[test]
fn forbids_match_wider_than_permits() {
    let policies = "
  - { id: all, who: any, do: \"* /{z...}\", query: any, body: any }
  - { id: slash, who: any, do: \"* /{z...}/\", query: any, body: any }
  - { id: no, effect: forbid, do: \"GET /a/b\" }
  - { id: val, effect: forbid, do: \"GET /v/{x}\", path: { x: secret } }
";
    let forbidden = "deny forbidden by [no]";
    check(
        policies,
        &[
            ("ann", "method: GET, path: /a/b", forbidden),
            ("ann", "method: HEAD, path: /a/b", forbidden),
            ("ann", "method: POST, path: /a/b", "permit all"),
            ("ann", "method: GET, path: /A/B/", forbidden),
            ("ann", "method: GET, path: /a%2Fb", forbidden),
            ("ann", "method: GET, path: /a%2fB%2f", forbidden),
            ("ann", "method: GET, path: /a%252Fb", forbidden),
            ("ann", "method: GET, path: /%2561/b", forbidden),
            ("ann", "method: GET, path: /a;x=1/b", forbidden),
            ("ann", "method: GET, path: /a/b;x", forbidden),
            ("ann", "method: GET, path: /a//b", forbidden),
            ("ann", "method: GET, path: //a/b", forbidden),
            ("ann", "method: GET, path: /a/b/c", "permit all"),
            // values of parameters stay as they are
            (
                "ann",
                "method: GET, path: /v/secret",
                "deny forbidden by [val]",
            ),
            (
                "ann",
                "method: GET, path: /V/secret/",
                "deny forbidden by [val]",
            ),
            ("ann", "method: GET, path: /v/Secret", "permit all"),
            (
                "ann",
                "method: GET, path: /v/%2573ecret",
                "deny forbidden by [val]",
            ),
            ("ann", "method: GET, path: /x", "permit all"),
            ("-", "method: GET, path: /a/b", "deny forbidden by [no]"),
        ],
    );
}

#[test]
fn a_forbid_applies_to_whom_it_cannot_tell() {
    let policies = "
  - { id: open, who: anonymous, do: GET /a }
  - { id: no, effect: forbid, do: GET /a, who: { user: bob } }
  - { id: signed-in, effect: forbid, do: GET /b, who: any }
  - { id: open-b, who: anonymous, do: GET /b }
";
    check(
        policies,
        &[
            ("ann", "method: GET, path: /a", "permit open"),
            // without a user, or without a name at all, it may be bob
            ("bob", "method: GET, path: /a", "deny forbidden by [no]"),
            ("-", "method: GET, path: /a", "deny no_credentials by [no]"),
            ("-", "method: GET, path: /b", "permit open-b"),
            (
                "ann",
                "method: GET, path: /b",
                "deny forbidden by [signed-in]",
            ),
        ],
    );
}

#[test]
fn numbers_that_cannot_be_compared_reach_every_filed_forbid() {
    let mut policies = String::from("\n  - { id: all, who: any, do: \"GET /{x}\" }\n");
    for n in 1..=20 {
        policies += &format!(
            "  - {{ id: no{n:02}, effect: forbid, do: \"GET /{{x}}\", who: {{ claims/n: {n} }} }}\n"
        );
    }
    let set = set(&policies);
    let asked = |number: &str| {
        let principal = Principal {
            claims: Json::parse(format!("{{\"n\":{number}}}").as_bytes(), 4).unwrap(),
            ..Principal::default()
        };
        with_facts(&principal, |facts| {
            match set.decide(facts, Body::Absent).verdict {
                Verdict::Permit(_) => 0,
                Verdict::Deny(denial) => denial.policies.len(),
            }
        })
    };
    for (number, forbids) in [
        ("0", 0),
        ("7", 1),
        ("7.0", 1),
        ("0.7e1", 1),
        ("7.5", 0),
        ("7.0000000000000000000000000000", 1),
        ("1e-500", 20),
        ("0e500", 20),
        ("7.000000000000000000000000000000000000000000000000", 20),
        ("\"7\"", 20),
        ("true", 20),
        ("null", 20),
    ] {
        assert_eq!(asked(number), forbids, "{number}");
    }
}

#[test]
fn unless_lifts_a_forbid_while_its_permit_holds() {
    let policies = "
  - { id: all, who: any, do: \"PUT /{x}\", body: any }
  - { id: rare, who: { user: ann }, do: \"PUT /{x}\", body: { /ok: true } }
  - { id: trial, mode: shadow, who: any, do: \"PUT /{x}\", body: any }
  - { id: no, effect: forbid, do: \"PUT /{x}\", unless: [rare, trial] }
";
    check(
        policies,
        &[
            (
                "ann",
                "method: PUT, path: /x, body: { ok: true }",
                "permit all",
            ),
            (
                "ann",
                "method: PUT, path: /x, body: { ok: false }",
                "deny forbidden by [no]",
            ),
            (
                "bob",
                "method: PUT, path: /x, body: { ok: true }",
                "deny forbidden by [no]",
            ),
            (
                "ann",
                "method: PUT, path: /x, raw_body: \"{\"",
                "deny ambiguous_request (json_syntax) by [no]",
            ),
        ],
    );
}

#[test]
fn shadow_policies_never_change_a_verdict() {
    let policies = "
  - { id: open, who: any, do: POST /a, query: any, body: { /b: 1 } }
  - { id: trial, mode: shadow, effect: forbid, do: POST /a, query: { q: x }, body: { /a: 2 } }
  - { id: watch, mode: shadow, who: any, do: POST /a, query: any, body: { /b: 1 } }
";
    check(
        policies,
        &[
            (
                "ann",
                "method: POST, path: /a, body: { b: 1 }",
                "permit open",
            ),
            // `A` beside the judged `a`, a name twice: ambiguous only to who asks for it
            (
                "ann",
                "method: POST, path: /a, body: { b: 1, A: 1 }",
                "permit open",
            ),
            (
                "ann",
                "method: POST, path: /a, query: q=1&q=2, body: { b: 1 }",
                "permit open",
            ),
            (
                "ann",
                "method: POST, path: /a, query: q=1&q=2, body: { b: 2 }",
                "deny no_policy, fields that failed: body/b",
            ),
            (
                "ann",
                "method: POST, path: /a, body: { b: 1, B: 1 }",
                "deny ambiguous_request (json_key_case)",
            ),
        ],
    );
}

/// What is cut before decoding leaves an encoded semicolon in a parameter's value.
#[test]
fn a_forbid_judges_a_parameter_beside_an_encoded_semicolon() {
    let policies = "
  - { id: all, who: any, do: \"GET /{z...}\" }
  - { id: ne, effect: forbid, do: \"GET /q/{a}/secret\", path: { a: { ne: x } } }
  - { id: eq, effect: forbid, do: \"GET /p/{a}/secret\", path: { a: \"x;\" } }
";
    let (ne, eq) = ("deny forbidden by [ne]", "deny forbidden by [eq]");
    check(
        policies,
        &[
            ("ann", "method: GET, path: /q/x/secret", "permit all"),
            ("ann", "method: GET, path: /q/x;y/secret", ne),
            ("ann", "method: GET, path: /q/x;/secret;y", ne),
            ("ann", "method: GET, path: \"/q/x%3B/secret\"", ne),
            ("ann", "method: GET, path: \"/q/x%3B/secret;y\"", ne),
            ("ann", "method: GET, path: \"/q/x%3B;y/secret;z\"", ne),
            ("ann", "method: GET, path: \"/q/x%253B/secret;y\"", ne),
            ("ann", "method: GET, path: \"/q;k/x%253B;y/secret\"", ne),
            ("ann", "method: GET, path: \"/p/x%3B/secret;y\"", eq),
            ("ann", "method: GET, path: \"/p/x%253B/secret;y\"", eq),
            ("ann", "method: GET, path: \"/p/x%253B;y/secret;z\"", eq),
            (
                "ann",
                "method: GET, path: \"/p/x%25253B/secret;y\"",
                "deny ambiguous_request (path_too_complex)",
            ),
            ("ann", "method: GET, path: \"/p%2Fx%3B%2Fsecret;y\"", eq),
            ("ann", "method: GET, path: \"/p%2Fx%3B/secret;y\"", eq),
            ("ann", "method: GET, path: \"/p//x%3B/secret;y\"", eq),
        ],
    );
}
