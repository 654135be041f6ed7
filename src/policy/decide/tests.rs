//! Verdicts as tables: policies, then who asks, what for, and what comes of it.

use std::net::{IpAddr, Ipv4Addr};

use http::HeaderMap;

use super::*;
use crate::policy::cases::Cases;
use crate::policy::compile::SourceFile;
use crate::policy::{Canonical, Json, Principal};

mod forbids;
mod found;
mod parts;
mod permits;
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
