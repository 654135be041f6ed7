//! Each part of a request as policies judge it: query, headers, host, client and body.

use super::*;

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
