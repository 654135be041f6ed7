//! Verdicts as tables: policies, then who asks, what for, and what comes of it.

use std::net::{IpAddr, Ipv4Addr};

use http::HeaderMap;

use super::*;
use crate::policy::cases::Cases;
use crate::policy::compile::SourceFile;
use crate::policy::{Canonical, Json, Principal};

mod found;
mod told;
mod work;

fn set(policies: &str) -> PolicySet {
    let file = SourceFile {
        name: "p.yaml".into(),
        text: format!("version: 1\npolicies:\n{policies}"),
    };
    PolicySet::load(&[file]).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// `ann` is authenticated, `-` is anonymous.
fn outcome(set: &PolicySet, who: &str, request: &str) -> String {
    let principal = if who == "-" {
        String::new()
    } else {
        format!("as: {who}")
    };
    let text = format!(
        "version: 1
now: 2026-03-02T09:00:00Z
allow: [encoded_slash, semicolon, encoded_percent, empty_segments]
principals:
  ann: {{ agent: ag/a, user: ann, groups: [g], claims: {{ t: a, n: 1, end: 2026-03-02T08:00:00Z }} }}
  bob: {{ agent: ag/b }}
cases:
  - name: case
    {principal}
    request: {{ {request} }}
    expect: {{ permit: any }}
"
    );
    let cases = Cases::read("cases.yaml", &text).unwrap_or_else(|p| panic!("{p:#?}"));
    cases.run(&cases.cases[0], set).to_string()
}

#[track_caller]
fn check(policies: &str, cases: &[(&str, &str, &str)]) {
    let set = set(policies);
    for (who, request, want) in cases {
        assert_eq!(outcome(&set, who, request), *want, "{who} {request}");
    }
}

#[test]
fn nothing_is_permitted_that_no_policy_permits() {
    let policies = "
  - { id: a, who: { agent: ag/a }, do: \"GET /a/{x}\", path: { x: b } }
";
    check(
        policies,
        &[
            ("ann", "method: GET, path: /a/b", "permit a"),
            (
                "ann",
                "method: GET, path: /a/c",
                "deny no_policy, fields that failed: path/x",
            ),
            ("bob", "method: GET, path: /a/c", "deny no_policy"),
            ("-", "method: GET, path: /a/b", "deny no_credentials"),
            ("ann", "method: HEAD, path: /a/b", "deny no_policy"),
            ("ann", "method: GET, path: /a/b/", "deny no_policy"),
            ("ann", "method: GET, path: /A/b", "deny no_policy"),
            (
                "ann",
                "method: GET, path: \"/a/b\", query: x=1",
                "deny no_policy, fields that failed: query",
            ),
            ("ann", "method: GET, path: /a/b, body: 1", "deny no_policy"),
            ("ann", "method: GET, path: /a/%62", "permit a"),
            (
                "ann",
                "method: GET, path: /a/../a/b",
                "deny ambiguous_request (path_dot_segment)",
            ),
        ],
    );
}

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

#[test]
fn queries() {
    let policies = "
  - { id: none, who: any, do: GET /none }
  - { id: any, who: any, do: GET /any, query: any }
  - { id: only, who: any, do: GET /only, query: { page: { gte: 1 }, only: [sort] } }
  - { id: may, who: any, do: GET /may, query: { page: { any_of: [{ absent: true }, 1] } } }
  - { id: f, effect: forbid, do: GET /any, query: { debug: { present: true } } }
";
    let odd = |path: &str, query: &str| format!("method: GET, path: {path}, query: \"{query}\"");
    let cases = [
        ("/none", "x=1", "deny no_policy, fields that failed: query"),
        ("/none", "&", "deny no_policy, fields that failed: query"),
        ("/any", "x=1&x=2", "permit any"),
        ("/any", "debug", "deny forbidden by [f]"),
        (
            "/any",
            "DEBUG=1",
            "deny ambiguous_request (query_variant) by [f]",
        ),
        (
            "/any",
            "x;debug=1",
            "deny ambiguous_request (query_semicolon) by [f]",
        ),
        ("/only", "page=1", "permit only"),
        ("/only", "page=2&sort=x&sort=y", "permit only"),
        (
            "/only",
            "page=0",
            "deny no_policy, fields that failed: query/page",
        ),
        (
            "/only",
            "page=01",
            "deny no_policy, fields that failed: query/page",
        ),
        (
            "/only",
            "page=1&x=1",
            "deny no_policy, fields that failed: query",
        ),
        ("/only", "sort=x", "deny no_policy"),
        (
            "/only",
            "page=1&page=1",
            "deny ambiguous_request (query_duplicate)",
        ),
        (
            "/only",
            "page=1&sort=%zz",
            "deny ambiguous_request (query_encoding)",
        ),
        ("/may", "", "permit may"),
        ("/may", "page=1", "permit may"),
        (
            "/may",
            "page=2",
            "deny no_policy, fields that failed: query/page",
        ),
    ];
    let set = set(policies);
    for (path, query, want) in cases {
        assert_eq!(
            outcome(&set, "ann", &odd(path, query)),
            want,
            "{path} {query}"
        );
    }
}

#[test]
fn headers_hosts_and_clients() {
    let policies = "
  - { id: h, who: any, do: GET /h, headers: { x-tier: gold, only: [x-more] } }
  - { id: host, who: any, do: GET /host, host: api.example.com }
  - { id: star, who: any, do: GET /star, host: { glob: \"*.example.com\" } }
  - { id: ip, who: any, do: GET /ip, client: { ip: { cidr: 10.0.0.0/8 } } }
  - { id: no, effect: forbid, do: GET /host, host: { not: { glob: \"api.*.com\" } } }
";
    check(
        policies,
        &[
            (
                "ann",
                "method: GET, path: /h, headers: { x-tier: gold }",
                "permit h",
            ),
            (
                "ann",
                "method: GET, path: /h, headers: { x-tier: gold, x-more: 1, accept: a, user-agent: u }",
                "permit h",
            ),
            (
                "ann",
                "method: GET, path: /h, headers: { x-tier: gold, x-odd: 1 }",
                "deny no_policy",
            ),
            (
                "ann",
                "method: GET, path: /h, headers: { x-tier: tin }",
                "deny no_policy, fields that failed: headers/x-tier",
            ),
            (
                "ann",
                "method: GET, path: /h, headers: { x-tier: [gold, gold] }",
                "deny ambiguous_request (header_duplicate)",
            ),
            ("ann", "method: GET, path: /host", "permit host"),
            (
                "ann",
                "method: GET, path: /host, host: \"API.example.com:8443\"",
                "permit host",
            ),
            (
                "ann",
                "method: GET, path: /host, host: web.example.com",
                "deny forbidden by [no]",
            ),
            (
                "ann",
                "method: GET, path: /star, host: a.example.com",
                "permit star",
            ),
            (
                "ann",
                "method: GET, path: /star, host: a.b.example.com",
                "deny no_policy",
            ),
            (
                "ann",
                "method: GET, path: /ip, client: 10.1.2.3",
                "permit ip",
            ),
            (
                "ann",
                "method: GET, path: /ip, client: \"::ffff:10.1.2.3\"",
                "permit ip",
            ),
            (
                "ann",
                "method: GET, path: /ip, client: 11.1.2.3",
                "deny no_policy",
            ),
        ],
    );
}

#[test]
fn bodies() {
    let policies = "
  - { id: none, who: any, do: POST /none }
  - { id: any, who: any, do: POST /any, body: any }
  - { id: only, who: any, do: POST /only, body: { only: [/a, /b/c], /d: { any_of: [{ absent: true }, 1] } } }
  - { id: exactly, who: any, do: POST /exactly, body: { exactly: { a: [1, $$x] } } }
  - { id: type, who: any, do: POST /type, body: { content_type: [text/plain] } }
  - { id: same, who: any, do: \"POST /same/{x}\", path: { x: $body/x }, body: { only: [/x] } }
  - { id: present, who: any, do: POST /present, body: { /a: { present: true } } }
";
    let refused = "deny no_policy, fields that failed: body";
    check(
        policies,
        &[
            ("ann", "method: POST, path: /none", "permit none"),
            (
                "ann",
                "method: POST, path: /none, body: {}",
                "deny no_policy",
            ),
            (
                "ann",
                "method: POST, path: /any, raw_body: \"?\"",
                "permit any",
            ),
            ("ann", "method: POST, path: /only", "permit only"),
            (
                "ann",
                "method: POST, path: /only, body: { a: { x: 1 }, b: { c: 1 }, d: 1 }",
                "permit only",
            ),
            (
                "ann",
                "method: POST, path: /only, body: { b: {} }",
                "permit only",
            ),
            (
                "ann",
                "method: POST, path: /only, body: { b: { e: 1 } }",
                refused,
            ),
            ("ann", "method: POST, path: /only, body: { z: 1 }", refused),
            (
                "ann",
                "method: POST, path: /only, body: { d: 2 }",
                "deny no_policy, fields that failed: body/d",
            ),
            (
                "ann",
                "method: POST, path: /only, raw_body: '{\"a\":1,\"a\":1}'",
                "deny ambiguous_request (json_duplicate_key)",
            ),
            (
                "ann",
                "method: POST, path: /only, body: {}, content_type: text/plain",
                "deny unsupported_body (content_type)",
            ),
            (
                "ann",
                "method: POST, path: /only, body: {}, content_type: application/json; charset=utf-8",
                "permit only",
            ),
            (
                "ann",
                "method: POST, path: /exactly, body: { a: [1, $x] }",
                "permit exactly",
            ),
            (
                "ann",
                "method: POST, path: /exactly, body: { a: [1, $$x] }",
                "deny no_policy",
            ),
            ("ann", "method: POST, path: /exactly", "deny no_policy"),
            (
                "ann",
                "method: POST, path: /type, raw_body: hello, content_type: text/plain",
                "permit type",
            ),
            (
                "ann",
                "method: POST, path: /type, body: {}",
                "deny unsupported_body (content_type)",
            ),
            (
                "ann",
                "method: POST, path: /same/a, body: { x: a }",
                "permit same",
            ),
            (
                "ann",
                "method: POST, path: /same/a, body: { x: b }",
                "deny no_policy, fields that failed: path/x",
            ),
            ("ann", "method: POST, path: /same/a", "deny no_policy"),
            ("ann", "method: POST, path: /present", "deny no_policy"),
            (
                "ann",
                "method: POST, path: /present, body: { a: null }",
                "permit present",
            ),
        ],
    );
}

#[test]
fn a_body_that_cannot_be_read_is_nothing_to_a_permit_that_does_not_read_it() {
    let policies = "
  - { id: any, who: any, do: POST /a, body: any }
  - { id: judged, who: any, do: POST /a, body: { /a: 1 } }
  - { id: any-b, who: any, do: POST /b, body: any }
  - { id: no, effect: forbid, do: POST /b, body: { /a: 1 } }
  - { id: typed, who: any, do: POST /c, body: { content_type: application/json } }
  - { id: read, who: any, do: POST /c, body: { /a: 1 } }
";
    check(
        policies,
        &[
            (
                "ann",
                "method: POST, path: /a, raw_body: \"{\"",
                "permit any",
            ),
            (
                "ann",
                "method: POST, path: /b, raw_body: \"{\"",
                "deny ambiguous_request (json_syntax) by [no]",
            ),
            (
                "ann",
                "method: POST, path: /b, body: {}, content_type: text/plain",
                "deny unsupported_body (content_type) by [no]",
            ),
            (
                "ann",
                "method: POST, path: /b, body: { a: 1 }",
                "deny forbidden by [no]",
            ),
            (
                "ann",
                "method: POST, path: /b, body: { a: 2 }",
                "permit any-b",
            ),
            (
                "ann",
                "method: POST, path: /c, raw_body: \"{\"",
                "permit typed",
            ),
            // where nothing came it can't be told
            (
                "ann",
                "method: POST, path: /b, body: {}",
                "deny forbidden by [no]",
            ),
            ("ann", "method: POST, path: /b", "deny forbidden by [no]"),
        ],
    );
}

#[test]
fn paths_of_several_segments() {
    let policies = "
  - { id: repo, who: any, do: \"GET /repos/{repo*2}/files/{file...}\", path: { repo: a/b, file: { glob: \"docs/**\" } } }
  - { id: any, who: any, do: \"GET /x/{file...}\" }
  - { id: one, who: any, do: \"GET /one/{id}\", path: { id: a/b } }
";
    check(
        policies,
        &[
            (
                "ann",
                "method: GET, path: /repos/a/b/files/docs/x/y",
                "permit repo",
            ),
            (
                "ann",
                "method: GET, path: /repos/a/b/files/src/x",
                "deny no_policy, fields that failed: path/file",
            ),
            (
                "ann",
                "method: GET, path: /repos/a%2Fb/files/docs/x",
                "deny no_policy",
            ),
            (
                "ann",
                "method: GET, path: /repos/a/b/files/docs%2Fx",
                "deny no_policy, fields that failed: path/file",
            ),
            ("ann", "method: GET, path: /one/a%2Fb", "permit one"),
            ("ann", "method: GET, path: /x/a%2Fb/c", "permit any"),
            ("ann", "method: GET, path: /x/", "deny no_policy"),
            ("ann", "method: GET, path: /x/a/", "deny no_policy"),
        ],
    );
}

#[test]
fn windows() {
    let policies = "
  - { id: over, who: any, do: GET /over, when: { until: 2026-03-02T09:00:00Z } }
  - { id: claim, who: any, do: GET /claim, when: { until: $claims/end } }
  - { id: open, who: any, do: GET /f }
  - { id: soon, effect: forbid, do: GET /f, when: { from: 2026-03-02T10:00:00Z } }
  - { id: week, who: any, do: GET /week, when: { weekly: \"Mon-Fri 08:00-10:00 UTC\" } }
";
    check(
        policies,
        &[
            ("ann", "method: GET, path: /over", "deny outside_window"),
            (
                "ann",
                "method: GET, path: /over, now: 2026-03-02T08:59:59Z",
                "permit over",
            ),
            (
                "ann",
                "method: GET, path: /over, query: x=1",
                "deny no_policy, fields that failed: query",
            ),
            ("ann", "method: GET, path: /claim", "deny outside_window"),
            ("bob", "method: GET, path: /claim", "deny outside_window"),
            ("-", "method: GET, path: /claim", "deny no_credentials"),
            ("ann", "method: GET, path: /f", "permit open"),
            (
                "ann",
                "method: GET, path: /f, now: 2026-03-02T10:00:00Z",
                "deny forbidden by [soon]",
            ),
            ("ann", "method: GET, path: /week", "permit week"),
            (
                "ann",
                "method: GET, path: /week, now: 2026-03-02T10:00:00Z",
                "deny outside_window",
            ),
        ],
    );
}

#[test]
fn upgrades() {
    let policies = "
  - { id: ws, who: any, do: GET /ws, upgrade: websocket }
  - { id: get, who: any, do: GET /get }
  - { id: both, who: any, do: GET /no }
  - { id: both-ws, who: any, do: GET /no, upgrade: websocket }
  - { id: no, effect: forbid, do: GET /no, upgrade: websocket }
  - { id: all-ws, who: any, do: GET /all, upgrade: websocket }
  - { id: none, effect: forbid, do: GET /all }
";
    check(
        policies,
        &[
            (
                "ann",
                "method: GET, path: /ws, upgrade: websocket",
                "permit ws",
            ),
            ("ann", "method: GET, path: /ws", "deny no_policy"),
            (
                "ann",
                "method: GET, path: /get, upgrade: websocket",
                "deny no_policy",
            ),
            ("ann", "method: GET, path: /no", "permit both"),
            (
                "ann",
                "method: GET, path: /no, upgrade: websocket",
                "deny forbidden by [no]",
            ),
            (
                "ann",
                "method: GET, path: /all, upgrade: websocket",
                "deny forbidden by [none]",
            ),
        ],
    );
}

fn with_facts<T>(principal: &Principal, then: impl FnOnce(&Facts<'_>) -> T) -> T {
    let request = Canonical::new("GET", "api.example.com", "/a", None).unwrap();
    then(&Facts {
        request: &request,
        headers: &HeaderMap::new(),
        principal: Some(principal),
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        has_body: false,
        websocket: false,
        now: "2026-03-02T09:00:00Z".parse().unwrap(),
    })
}

fn permit(policies: &str, principal: &Principal) -> Result<Permit, Reason> {
    let set = set(policies);
    with_facts(principal, |facts| {
        match set.decide(facts, Body::Absent).verdict {
            Verdict::Permit(permit) => Ok(permit),
            Verdict::Deny(denial) => Err(denial.reason),
        }
    })
}

#[test]
fn a_permit_ends_with_its_window_or_its_identity() {
    let window = "
  - { id: a, who: any, do: GET /a, when: { until: 2026-03-02T12:00:00Z, weekly: \"Mon 08:00-11:00 UTC\" } }
";
    let ending = |end: Option<&str>| Principal {
        expires_at: end.map(|end| end.parse().unwrap()),
        ..Principal::default()
    };
    for (end, want) in [
        (None, Ok(Some("2026-03-02T11:00:00Z"))),
        (
            Some("2026-03-02T10:00:00Z"),
            Ok(Some("2026-03-02T10:00:00Z")),
        ),
        (
            Some("2026-03-02T11:30:00Z"),
            Ok(Some("2026-03-02T11:00:00Z")),
        ),
        (Some("2026-03-02T09:00:00Z"), Err(Reason::InvalidToken)),
    ] {
        let got = permit(window, &ending(end)).map(|p| p.until().map(|t| t.to_string()));
        assert_eq!(got, want.map(|t| t.map(str::to_owned)), "{end:?}");
    }
}

/// What docs/policies.md says of bodies that are no object, and how it says to close them.
#[test]
fn in_a_body_that_is_no_object_pointers_are_missing() {
    let policies = "
  - { id: open, who: any, do: POST /open, body: { /role: { absent: true } } }
  - { id: only, who: any, do: POST /only, body: { only: [/name], /role: { absent: true } } }
  - { id: type, who: any, do: POST /type, body: { \"\": { type: object }, /role: { absent: true } } }
";
    let denied = "deny no_policy, fields that failed: body";
    check(
        policies,
        &[
            (
                "ann",
                "method: POST, path: /open, body: [{ role: a }]",
                "permit open",
            ),
            (
                "ann",
                "method: POST, path: /only, body: [{ role: a }]",
                denied,
            ),
            ("ann", "method: POST, path: /only, body: a", denied),
            (
                "ann",
                "method: POST, path: /only, body: { name: a }",
                "permit only",
            ),
            (
                "ann",
                "method: POST, path: /type, body: [{ role: a }]",
                "deny no_policy",
            ),
            (
                "ann",
                "method: POST, path: /type, body: { x: a }",
                "permit type",
            ),
        ],
    );
}

/// What docs/policies.md says of headers that hold a list.
#[test]
fn a_header_is_judged_whole() {
    let policies = r#"
  - { id: all, who: any, do: "GET /{x}" }
  - { id: eq, effect: forbid, do: GET /eq, headers: { prefer: { present: true, eq: a } } }
  - { id: re, effect: forbid, do: GET /re, headers: { prefer: { present: true, matches: "(?i)(.*,)?[ \t]*a[ \t]*([,;=].*)?" } } }
"#;
    let forbidden = "deny forbidden by [re]";
    check(
        policies,
        &[
            ("ann", "method: GET, path: /eq", "permit all"),
            (
                "ann",
                "method: GET, path: /eq, headers: { prefer: a }",
                "deny forbidden by [eq]",
            ),
            (
                "ann",
                "method: GET, path: /eq, headers: { prefer: \"b, a\" }",
                "permit all",
            ),
            ("ann", "method: GET, path: /re", "permit all"),
            (
                "ann",
                "method: GET, path: /re, headers: { prefer: a }",
                forbidden,
            ),
            (
                "ann",
                "method: GET, path: /re, headers: { prefer: \"b, a\" }",
                forbidden,
            ),
            (
                "ann",
                "method: GET, path: /re, headers: { prefer: \"A;x=1,b\" }",
                forbidden,
            ),
            (
                "ann",
                "method: GET, path: /re, headers: { prefer: \"b,a=1, c\" }",
                forbidden,
            ),
            (
                "ann",
                "method: GET, path: /re, headers: { prefer: \"ab, ba\" }",
                "permit all",
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

#[test]
fn a_permit_ends_with_the_lift_of_a_forbid() {
    let allowed = "
  - { id: a, who: any, do: GET /a }
  - { id: no, effect: forbid, do: GET /a, unless: [x, y, s] }
  - { id: s, mode: shadow, who: any, do: GET /a }";
    let (eleven, ten) = ("2026-03-02T11:00:00Z", "2026-03-02T10:00:00Z");
    let lift = |id: &str, rest: &str| format!("\n  - {{ id: {id}, who: any, do: GET /a{rest} }}");
    let until = |end: &str| format!(", when: {{ until: {end} }}");
    let closed = ", when: { from: 2026-03-02T12:00:00Z }";
    for (x, y, no, want) in [
        (until(eleven), closed.to_owned(), "", Some(eleven)),
        (until(eleven), until(ten), "", Some(eleven)),
        (until(ten), String::new(), "", None),
        // when the lift ends, the forbid is over, or has not begun again
        (
            until(eleven),
            closed.to_owned(),
            "until: 2026-03-02T10:30:00Z",
            None,
        ),
        (
            until(eleven),
            closed.to_owned(),
            "weekly: \"Mon 08:00-10:00 UTC\"",
            Some("2026-03-09T08:00:00Z"),
        ),
        (
            until(eleven),
            closed.to_owned(),
            "from: $claims/none",
            Some(eleven),
        ),
    ] {
        let window = match no {
            "" => String::new(),
            window => format!("unless: [x, y, s], when: {{ {window} }}"),
        };
        let allowed = match no {
            "" => allowed.to_owned(),
            _ => allowed.replace("unless: [x, y, s]", &window),
        };
        let policies = format!("{allowed}{}{}", lift("x", &x), lift("y", &y));
        let permit = permit(&policies, &Principal::default()).unwrap();
        assert_eq!(&**permit.policy(), "a");
        let until = permit.until().map(|t| t.to_string());
        assert_eq!(until.as_deref(), want, "{policies}");
    }
}

/// A stream that was permitted before a forbid's hours ran on through them.
#[test]
fn a_permit_ends_where_a_forbid_may_wake() {
    let noon = Some("2026-03-02T12:00:00Z");
    for (forbid, want) in [
        ("when: { from: 2026-03-02T12:00:00Z }", noon),
        ("when: { weekly: \"Mon 12:00-13:00 UTC\" }", noon),
        (
            "when: { weekly: \"Mon 06:00-07:00 UTC\" }",
            Some("2026-03-09T06:00:00Z"),
        ),
        ("when: { until: 2026-03-02T08:00:00Z }", None),
        // what its body says was not read, so it may be what the forbid means
        (
            "when: { from: 2026-03-02T12:00:00Z }, body: { /b: 1 }",
            noon,
        ),
        ("when: { from: 2026-03-02T12:00:00Z }, body: none", noon),
        (
            "when: { from: 2026-03-02T12:00:00Z }, query: { q: { absent: true } }",
            noon,
        ),
        // what is false now stays false
        (
            "when: { from: 2026-03-02T12:00:00Z }, query: { q: { present: true } }",
            None,
        ),
        (
            "when: { from: 2026-03-02T12:00:00Z }, headers: { x: { present: true } }",
            None,
        ),
        (
            "when: { from: 2026-03-02T12:00:00Z }, who: { agent: { absent: false } }",
            None,
        ),
        ("when: { from: 2026-03-02T12:00:00Z }, mode: shadow", None),
        // lifted for good, and lifted for a while
        ("when: { from: 2026-03-02T12:00:00Z }, unless: a", None),
        (
            "when: { from: 2026-03-02T12:00:00Z }, unless: b",
            Some("2026-03-02T14:00:00Z"),
        ),
        ("when: { from: 2026-03-02T12:00:00Z }, unless: c", noon),
    ] {
        let policies = format!(
            "
  - {{ id: a, who: any, do: GET /a }}
  - {{ id: b, who: any, do: GET /a, when: {{ until: 2026-03-02T14:00:00Z }} }}
  - {{ id: c, who: any, do: GET /a, when: {{ until: 2026-03-02T10:00:00Z }} }}
  - {{ id: no, effect: forbid, do: GET /a, {forbid} }}"
        );
        let permit = permit(&policies, &Principal::default()).unwrap();
        let until = permit.until().map(|t| t.to_string());
        assert_eq!(until.as_deref(), want, "{forbid}");
    }
}

#[test]
fn obligations_of_all_holding_permits_unite_and_may_not_disagree() {
    let principal = Principal {
        user: Some("ann".into()),
        groups: vec!["g".into()],
        claims: Json::parse(br#"{"n":7,"bad":"a\nb"}"#, 4).unwrap(),
        ..Principal::default()
    };
    let with = |settings: &[&str]| {
        let policies: Vec<String> = settings
            .iter()
            .zip(["b", "a", "c"])
            .map(|(s, id)| {
                format!(
                    "\n  - {{ id: {id}, who: any, do: GET /a, then: {{ set_headers: {{ {s} }} }} }}"
                )
            })
            .collect();
        permit(&policies.concat(), &principal).map(|permit| {
            let set = permit.set_headers().iter();
            let mut set: Vec<String> = set
                .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
                .collect();
            set.sort();
            format!("{} {}", permit.policy(), set.join(" "))
        })
    };
    let cases: &[(&[&str], Result<&str, Reason>)] = &[
        (&["x-a: one"], Ok("b x-a=one")),
        (&["x-a: one", "x-b: $user"], Ok("a x-a=one x-b=ann")),
        (&["x-a: ann", "x-a: $user"], Ok("a x-a=ann")),
        (&["x-a: one", "x-a: two"], Err(Reason::ObligationFailed)),
        (&["x-a: $claims/n"], Ok("b x-a=7")),
        (&["x-a: $$user"], Ok("b x-a=$user")),
        (&["x-a: $claims/missing"], Err(Reason::ObligationFailed)),
        (&["x-a: $claims/bad"], Err(Reason::ObligationFailed)),
        (&["x-a: $groups"], Err(Reason::ObligationFailed)),
    ];
    for (settings, want) in cases {
        assert_eq!(with(settings), want.map(str::to_owned), "{settings:?}");
    }
}

#[test]
fn an_obligation_may_take_its_value_from_the_judged_body() {
    let policies = "
  - { id: a, who: any, do: POST /a, body: { only: [/b] }, then: { set_headers: { x-a: $body/a } } }
";
    check(
        policies,
        &[
            ("ann", "method: POST, path: /a, body: { a: x }", "permit a"),
            (
                "ann",
                "method: POST, path: /a, body: { a: 1, b: 2 }",
                "permit a",
            ),
            (
                "ann",
                "method: POST, path: /a, body: { a: [] }",
                "deny obligation_failed",
            ),
            (
                "ann",
                "method: POST, path: /a, body: { b: 2 }",
                "deny obligation_failed",
            ),
            ("ann", "method: POST, path: /a", "deny obligation_failed"),
        ],
    );
}

#[test]
fn the_first_id_of_the_holding_permits_is_chosen_with_its_headers() {
    let policies = "
  - { id: z, who: any, do: GET /a, headers: { only: [x-z] } }
  - { id: m, who: any, do: GET /a, headers: { only: [x-m] } }
";
    let permit = permit(policies, &Principal::default()).unwrap();
    assert_eq!(&**permit.policy(), "m");
    assert_eq!(permit.named_headers(), ["x-m"]);
}
