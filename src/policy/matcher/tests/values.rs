//! What each operator says of each kind of value.

use super::Kind::{Body, Claim, Host, Wire};
use super::Truth::{False as F, Indeterminate as I, True as T};
use super::*;

fn check(kind: Kind, matcher: &str, cases: &[(&str, Truth)]) {
    let read = read(matcher, kind).unwrap_or_else(|told| panic!("{matcher}: {told:?}"));
    for (value, expected) in cases {
        let found = test(&read, value, &World::new());
        assert_eq!(found, *expected, "{matcher} on {value}");
    }
}

#[test]
fn a_scalar_is_equality() {
    check(
        Body,
        "main",
        &[
            (r#""main""#, T),
            (r#""Main""#, F),
            ("null", F),
            ("1", I),
            ("true", I),
            ("[]", I),
            ("{}", I),
            (r#"["main"]"#, I),
            ("missing", I),
            ("unreadable", I),
        ],
    );
    check(
        Body,
        "1",
        &[
            ("1", T),
            ("number 1.0", T),
            ("number 1e0", T),
            ("number 1.00000000000000000000001", I),
            ("2", F),
            (r#""1""#, I),
            ("wire 1", T),
            ("true", I),
        ],
    );
    check(
        Body,
        "true",
        &[
            ("true", T),
            ("false", F),
            (r#""true""#, I),
            ("1", I),
            ("wire true", I),
        ],
    );
    check(
        Body,
        "null",
        &[
            ("null", T),
            ("1", F),
            ("{}", F),
            ("[]", F),
            ("texts", F),
            ("missing", I),
        ],
    );
    check(Wire, "$$x", &[("wire $x", T), ("wire $$x", F)]);
    check(Wire, "{ eq: \"a*\" }", &[("wire a*", T), ("wire ab", F)]);
}

#[test]
fn ne_is_the_negation_of_eq() {
    check(
        Body,
        "{ ne: main }",
        &[
            (r#""main""#, F),
            (r#""dev""#, T),
            ("1", I),
            ("null", T),
            ("missing", I),
            ("unreadable", I),
        ],
    );
    check(
        Body,
        "{ ne: null }",
        &[("null", F), ("1", T), ("[]", T), ("missing", I)],
    );
}

#[test]
fn wire_text_compares_to_numbers_where_canonical() {
    check(
        Wire,
        "42",
        &[
            ("wire 42", T),
            ("wire 43", F),
            ("wire 042", I),
            ("wire 42.0", I),
            ("wire 4.2e1", I),
            ("wire +42", I),
            ("wire forty-two", I),
            ("wire ", I),
        ],
    );
    check(Wire, "'42'", &[("wire 42", T), ("wire 042", F)]);
    check(
        Wire,
        "{ gte: 1, lte: 100 }",
        &[
            ("wire 50", T),
            ("wire 101", F),
            ("wire 1e2", I),
            ("wire x", I),
        ],
    );
    check(
        Wire,
        "{ in: [1, x] }",
        &[("wire 1", T), ("wire x", T), ("wire 2", F), ("wire y", I)],
    );
    check(
        Wire,
        "{ ne: 42 }",
        &[("wire 42", F), ("wire 1", T), ("wire 042", I)],
    );
}

#[test]
fn orders_are_of_numbers_only() {
    check(
        Body,
        "{ lt: 5 }",
        &[
            ("4", T),
            ("5", F),
            ("number 4.9999999999999999999", I),
            (r#""4""#, I),
            ("null", I),
            ("true", I),
            ("[]", I),
            ("missing", I),
            ("number 1e500", I),
        ],
    );
    check(
        Body,
        "{ lte: 5 }",
        &[
            ("5", T),
            ("number 5.0", T),
            ("6", F),
            ("number 4.9999999999999999999", T),
        ],
    );
    check(Body, "{ gt: -1.5 }", &[("-1", T), ("-1.5", F), ("-2", F)]);
    check(
        Body,
        "{ gte: 0 }",
        &[("number -0", T), ("number -0.0", T), ("number -1e-400", I)],
    );
    check(
        Body,
        "{ lt: $claims/n }",
        &[("4", T), ("5", F), ("wire 4", T), ("wire 04", I)],
    );
    check(Body, "{ lt: $claims/name }", &[("4", I), (r#""a""#, I)]);
    check(
        Body,
        "{ lte: $query/seven }",
        &[("7", T), ("8", F), ("wire 7", I), (r#""7""#, I)],
    );
}

#[test]
fn references_are_other_facts() {
    check(
        Wire,
        "$claims/name",
        &[("wire ann", T), ("wire bob", F), ("missing", I)],
    );
    check(
        Wire,
        "$claims/n",
        &[("wire 5", T), ("wire 05", I), ("wire 6", F)],
    );
    check(Wire, "$query/seven", &[("wire 7", T), ("wire 07", F)]);
    for (reference, value) in [
        ("$claims/null", "null"),
        ("$claims/null", "wire x"),
        ("$claims/nothing", "null"),
        ("$claims/nothing", "missing"),
        ("$claims/repos", r#"["a", "b"]"#),
        ("$claims/object", r#"{"a": 1}"#),
        ("$claims/flag", "wire true"),
        ("$claims/big", "number 9007199254740992"),
    ] {
        check(Body, reference, &[(value, I)]);
        check(Body, &format!("{{ ne: {reference} }}"), &[(value, I)]);
    }
}

#[test]
fn a_list_is_one_of() {
    check(
        Body,
        "[a, 1, true, null]",
        &[
            (r#""a""#, T),
            ("1", T),
            ("true", T),
            ("null", T),
            (r#""b""#, I),
            ("2", I),
            ("[]", I),
            ("missing", I),
        ],
    );
    check(
        Body,
        "[a, b]",
        &[(r#""b""#, T), (r#""c""#, F), ("null", F), ("1", I)],
    );
    check(Body, "[a, $claims/name]", &[(r#""ann""#, T), (r#""x""#, F)]);
    check(
        Body,
        "[a, $claims/nothing]",
        &[(r#""a""#, T), (r#""x""#, I)],
    );
    check(
        Body,
        "{ not_in: [a, b] }",
        &[(r#""a""#, F), (r#""c""#, T), ("1", I), ("missing", I)],
    );
    check(
        Body,
        "{ in: $claims/repos }",
        &[(r#""a""#, T), (r#""c""#, F), ("1", I), ("missing", I)],
    );
    check(
        Body,
        "{ in: $claims/mixed }",
        &[(r#""a""#, T), (r#""c""#, I), ("1", T), ("2", I)],
    );
    check(
        Body,
        "{ in: $claims/holey }",
        &[(r#""a""#, T), (r#""c""#, I), ("null", I)],
    );
    check(
        Body,
        "{ in: $claims/nobody }",
        &[(r#""a""#, F), ("missing", I)],
    );
    check(Body, "{ in: $claims/name }", &[(r#""ann""#, I)]);
    check(
        Body,
        "{ in: $claims/nothing }",
        &[(r#""a""#, I), ("null", I), ("missing", I)],
    );
    check(
        Body,
        "{ not_in: $claims/repos }",
        &[(r#""a""#, F), (r#""c""#, T)],
    );
    check(
        Body,
        "{ not_in: $claims/holey }",
        &[(r#""a""#, F), (r#""c""#, I)],
    );
    check(
        Wire,
        "{ in: $claims/mixed }",
        &[("wire a", T), ("wire 1", T), ("wire 2", F), ("wire x", I)],
    );
}

/// A long list answers as a walk over it does.
#[test]
fn a_long_list_is_one_of_too() {
    let texts: Vec<String> = (0..100).map(|i| format!("t{i}")).collect();
    let long = texts.join(", ");
    check(
        Body,
        &format!("[{long}]"),
        &[
            (r#""t99""#, T),
            (r#""x""#, F),
            ("1", I),
            ("null", F),
            ("missing", I),
            ("true", I),
        ],
    );
    check(Wire, &format!("[{long}]"), &[("wire t0", T), ("wire 1", F)]);
    check(
        Wire,
        &format!("[{long}, 7, 8.5, 9007199254740993, $claims/name]"),
        &[
            ("wire t5", T),
            ("wire 7", T),
            ("wire 8.5", T),
            ("wire 8", F),
            ("wire 07", I),
            ("wire 9007199254740992", I),
            ("wire 9007199254740993", T),
            ("wire ann", T),
            ("wire x", I),
        ],
    );
    let numbers: Vec<String> = (0..100).map(|i| format!("{i}.50")).collect();
    check(
        Body,
        &format!("[{}]", numbers.join(", ")),
        &[
            ("number 99.5", T),
            ("number 995e-1", T),
            ("99", F),
            ("number 1.5000000000000000000001", I),
            (r#""1.5""#, I),
            ("null", F),
            ("number 1e999", I),
        ],
    );
    check(
        Body,
        &format!("{{ not_in: [{long}] }}"),
        &[(r#""t1""#, F), (r#""x""#, T), ("1", I)],
    );
    check(
        Body,
        &format!("[{long}, null, true]"),
        &[("null", T), ("true", T), ("false", I), (r#""x""#, I)],
    );
}

#[test]
fn globs_and_prefixes_know_segments() {
    check(
        Body,
        "{ glob: \"agent/**\" }",
        &[
            (r#""agent/a/b""#, T),
            (r#""main""#, F),
            (r#""agent/../main""#, I),
            (r#""agent/./x""#, I),
            (r#""agent//x""#, I),
            (r#""agent/""#, I),
            (r#""agent/a\\b""#, I),
            (r#""agent/a\u0000""#, I),
            (r#""agent/a\n""#, I),
            (r#""x/..""#, I),
            (r#""agent/...""#, T),
            ("1", I),
            ("null", I),
            ("missing", I),
        ],
    );
    check(
        Body,
        "{ glob: \"*.md\" }",
        &[(r#""..md""#, T), (r#""a/b.md""#, F), (r#""a\\b.md""#, T)],
    );
    check(
        Claim,
        "{ glob: \"spiffe://corp/agent/*\" }",
        &[
            ("text spiffe://corp/agent/7", T),
            ("text spiffe://corp/agent/7/8", F),
            ("text spiffe://corp//agent/7", I),
        ],
    );
    check(
        Body,
        "{ glob: [\"a/*\", \"*.md\"] }",
        &[
            (r#""a/b""#, T),
            (r#""..md""#, T),
            (r#""x//y.md""#, I),
            (r#""x""#, F),
        ],
    );
    check(
        Body,
        "{ prefix: /data/ }",
        &[
            (r#""/data/x""#, T),
            (r#""/etc/x""#, F),
            (r#""/data/../etc""#, I),
            (r#""//data/x""#, I),
            ("1", I),
        ],
    );
    check(
        Body,
        "{ prefix: [a, b] }",
        &[(r#""bc""#, T), (r#""c""#, F), (r#""a//b""#, T)],
    );
    check(
        Body,
        "{ prefix: \"https://h/\" }",
        &[
            (r#""https://h/x""#, T),
            (r#""https://h.evil/x""#, F),
            (r#""https://h/../x""#, I),
        ],
    );
    check(
        Body,
        "{ suffix: [.txt, .md] }",
        &[
            (r#""a.md""#, T),
            (r#""a.exe""#, F),
            ("1", I),
            ("missing", I),
        ],
    );
    check(
        Host,
        "{ glob: \"*.example.com\" }",
        &[
            ("text api.example.com", T),
            ("text a.b.example.com", F),
            ("text example.com", F),
        ],
    );
    check(
        Host,
        "{ glob: \"**.example.com\" }",
        &[("text a.b.example.com", T)],
    );
    check(Body, "{ glob: \"$$x*\" }", &[(r#""$xy""#, T)]);
}

#[test]
fn regexes_are_of_the_whole_value() {
    check(
        Wire,
        "{ matches: \"[a-z]+\" }",
        &[
            ("wire abc", T),
            ("wire abc1", F),
            ("wire a\n", F),
            ("missing", I),
        ],
    );
    check(
        Body,
        "{ matches: [\"a+\", \"b+\"] }",
        &[(r#""bb""#, T), (r#""ab""#, F), ("1", I), ("null", I)],
    );
}

#[test]
fn contains_is_of_texts_and_lists() {
    check(
        Body,
        "{ contains: ab }",
        &[
            (r#""xaby""#, T),
            (r#""ba""#, F),
            (r#"["ab"]"#, T),
            (r#"["xaby"]"#, F),
            (r#"["x", 1]"#, I),
            ("texts ab c", T),
            ("[]", F),
            ("1", I),
            ("{}", I),
            ("null", I),
            ("missing", I),
        ],
    );
    check(
        Body,
        "{ contains: [1, x] }",
        &[
            ("[1]", T),
            ("[2]", I),
            (r#"["x", 2]"#, T),
            (r#""x""#, T),
            (r#""1""#, I),
        ],
    );
}

#[test]
fn types_are_those_of_json_schema() {
    check(
        Body,
        "{ type: string }",
        &[
            (r#""""#, T),
            ("1", F),
            ("null", F),
            ("wire 1", T),
            ("missing", I),
            ("unreadable", I),
        ],
    );
    check(
        Body,
        "{ type: integer }",
        &[
            ("1", T),
            ("number 1.0", T),
            ("number 1.5", F),
            ("number 1e500", I),
            (r#""1""#, F),
        ],
    );
    check(
        Body,
        "{ type: number }",
        &[("1", T), ("number 1e500", T), ("null", F)],
    );
    check(
        Body,
        "{ type: [object, array] }",
        &[("{}", T), ("[]", T), ("texts a", T), ("1", F)],
    );
    check(
        Body,
        "{ type: null }",
        &[("null", T), ("1", F), ("missing", I)],
    );
    check(Body, "{ type: \"null\" }", &[("null", T)]);
    check(
        Body,
        "{ type: boolean }",
        &[("false", T), (r#""false""#, F)],
    );
}

#[test]
fn only_present_and_absent_read_what_is_missing() {
    for matcher in ["{ present: true }", "{ absent: false }"] {
        check(
            Body,
            matcher,
            &[
                ("missing", F),
                ("null", T),
                ("1", T),
                ("texts", T),
                ("unreadable", I),
            ],
        );
    }
    for matcher in [
        "{ absent: true }",
        "{ present: false }",
        "{ not: { present: true } }",
    ] {
        check(
            Body,
            matcher,
            &[("missing", T), ("null", F), ("unreadable", I)],
        );
    }
    for matcher in [
        "x",
        "{ ne: x }",
        "[x]",
        "{ not_in: [x] }",
        "{ lt: 1 }",
        "{ gte: 1 }",
        "{ glob: \"*\" }",
        "{ matches: x }",
        "{ prefix: x }",
        "{ suffix: x }",
        "{ contains: x }",
        "{ cidr: \"::/0\" }",
        "{ url: { scheme: https } }",
        "{ type: string }",
        "{ count: 0 }",
        "{ every: x }",
        "{ some: x }",
        "{ none: x }",
        "{ not: x }",
        "{ any_of: [x, y] }",
        "{ json: x }",
        "{ not_in: $claims/nobody }",
    ] {
        check(Body, matcher, &[("missing", I), ("unreadable", I)]);
    }
    check(
        Body,
        "{ any_of: [{ absent: true }, x] }",
        &[("missing", T), (r#""x""#, T), (r#""y""#, F), ("null", F)],
    );
}

#[test]
fn addresses_and_urls() {
    check(
        Kind::Address,
        "{ cidr: [10.0.0.0/8, \"2001:db8::/32\"] }",
        &[
            ("text 10.1.1.1", T),
            ("text 2001:db8::1", T),
            ("text ::ffff:10.1.1.1", T),
            ("text 11.0.0.1", F),
            ("text 010.0.0.1", I),
            ("missing", I),
        ],
    );
    check(
        Kind::Address,
        "{ not: { cidr: 10.0.0.0/8 } }",
        &[("text 10.1.1.1", F), ("text 9.1.1.1", T), ("text x", I)],
    );
    check(
        Body,
        "{ url: { scheme: https, host: { glob: \"*.example.com\" }, port: 443, path: { prefix: /v1/ } } }",
        &[
            (r#""https://api.example.com/v1/x""#, T),
            (r#""https://API.EXAMPLE.com:443/v1/x?y#z""#, T),
            (r#""http://api.example.com/v1/x""#, F),
            (r#""https://api.example.com:8443/v1/x""#, F),
            (r#""https://evil.com/v1/x""#, F),
            (r#""https://evil.com?.example.com/v1/x""#, F),
            (r#""https://evil.com#.example.com/v1/x""#, F),
            (r#""https://api.example.com@evil.com/v1/x""#, I),
            (r#""https://evil.com\\.example.com/v1/x""#, I),
            (r#""https://api.example.com/v1/../x""#, I),
            (r#""https://evil.com/v1/../x""#, F),
            (r#""//api.example.com/v1/x""#, I),
            ("1", I),
        ],
    );
    check(
        Body,
        "{ url: { port: { gt: 1024 } } }",
        &[
            (r#""http://h:8080""#, T),
            (r#""http://h""#, F),
            (r#""spiffe://h/x""#, I),
        ],
    );
    check(
        Body,
        "{ url: { port: { absent: true } } }",
        &[(r#""spiffe://h/x""#, T), (r#""http://h""#, F)],
    );
    check(
        Body,
        "{ url: { host: { cidr: 10.0.0.0/8 } } }",
        &[
            (r#""http://10.0.0.1""#, T),
            (r#""http://[::ffff:10.0.0.1]""#, T),
            (r#""http://167772161""#, I),
            (r#""http://h""#, I),
        ],
    );
}

#[test]
fn counts() {
    check(
        Body,
        "{ count: { gte: 1, lte: 2 } }",
        &[
            ("[]", F),
            ("[1]", T),
            ("[1, 2, 3]", F),
            ("texts a b", T),
            ("{}", I),
            (r#""ab""#, I),
            ("null", I),
            ("missing", I),
        ],
    );
    check(Body, "{ count: 0 }", &[("[]", T), ("[0]", F)]);
}

#[test]
fn quantifiers() {
    check(
        Body,
        "{ every: a }",
        &[
            ("[]", I),
            (r#"["a", "a"]"#, T),
            (r#"["a", "b"]"#, F),
            (r#"["a", 1]"#, I),
            (r#"[1, "b"]"#, F),
            (r#""a""#, I),
            ("{}", I),
            ("null", I),
            ("texts a a", T),
        ],
    );
    check(
        Claim,
        "{ some: release-managers }",
        &[
            ("texts", F),
            ("texts x release-managers", T),
            ("texts x", F),
            ("missing", I),
            (r#"["release-managers"]"#, T),
            (r#"[1]"#, I),
            (r#""release-managers""#, I),
        ],
    );
    check(
        Body,
        "{ none: a }",
        &[
            ("[]", T),
            (r#"["b"]"#, T),
            (r#"["a", 1]"#, F),
            (r#"["b", 1]"#, I),
            ("null", I),
        ],
    );
    check(
        Body,
        "{ some: { in: $claims/repos } }",
        &[(r#"["x", "b"]"#, T), (r#"["x"]"#, F)],
    );
    check(
        Body,
        "{ every: { every: { type: integer } } }",
        &[("[[1], [2]]", T), ("[[1], []]", I), ("[[1], [\"x\"]]", F)],
    );
}

#[test]
fn shapes_of_elements() {
    check(
        Body,
        "{ every: { /role: [user, assistant], /content: { type: string } } }",
        &[
            (r#"[{"role": "user", "content": "x"}]"#, T),
            (r#"[{"role": "user", "content": "x", "more": 1}]"#, T),
            (r#"[{"role": "system", "content": "x"}]"#, F),
            (r#"[{"role": "user"}]"#, I),
            (r#"["text"]"#, I),
            (r#"[null]"#, I),
        ],
    );
    check(
        Body,
        "{ every: { only: [/b/c], /a: 1 } }",
        &[
            (r#"[{"a": 1}]"#, T),
            (r#"[{"a": 1, "b": {}}]"#, T),
            (r#"[{"a": 1, "b": {"c": {"d": 1}}}]"#, T),
            (r#"[{"a": 1, "b": {"d": 1}}]"#, F),
            (r#"[{"a": 1, "b": 5}]"#, F),
            (r#"[{"a": 1, "b": []}]"#, F),
            (r#"[{"a": 1, "x": 1}]"#, F),
            (r#"["a"]"#, F),
        ],
    );
    check(
        Body,
        "{ some: { /tags/0: x } }",
        &[
            (r#"[{"tags": ["x"]}]"#, T),
            (r#"[{"tags": ["y", "x"]}]"#, F),
            (r#"[{"tags": []}]"#, I),
        ],
    );
    check(
        Body,
        "{ every: { only: [/0, /1] } }",
        &[("[[1, 2]]", T), ("[[1, 2, 3]]", F)],
    );
    check(
        Body,
        "{ some: { exactly: { a: [1, { b: null }], c: x } } }",
        &[
            (r#"[{"c": "x", "a": [1.0, {"b": null}]}]"#, T),
            (r#"[{"c": "x", "a": [1, {"b": null}], "d": 1}]"#, F),
            (r#"[{"c": "x", "a": [{"b": null}, 1]}]"#, F),
            (r#"[{"c": "x", "a": [1, {}]}]"#, F),
            (r#"[{"c": "x", "a": [1]}]"#, F),
            (r#"[{"c": 1, "a": [1, {"b": null}]}]"#, F),
        ],
    );
    check(
        Body,
        "{ some: { exactly: [9007199254740993] } }",
        &[
            ("[[9007199254740993]]", T),
            ("[[9007199254740992]]", I),
            ("[[5]]", F),
            (r#"[["5"]]"#, F),
        ],
    );
    check(
        Body,
        "{ every: { any_of: [{ /type: text }, { /type: image, /size: { lt: 9 } }] } }",
        &[
            (r#"[{"type": "text"}, {"type": "image", "size": 3}]"#, T),
            (r#"[{"type": "image", "size": 30}]"#, F),
            (r#"[{"type": "image"}]"#, I),
        ],
    );
    check(
        Body,
        "{ every: { not: { /admin: true } } }",
        &[
            (r#"[{"admin": false}]"#, T),
            (r#"[{"admin": true}]"#, F),
            (r#"[{}]"#, I),
        ],
    );
    check(
        Body,
        "{ every: { only: [], any_of: [{ /a: 1 }, { /b: 1 }] } }",
        &[(r#"[{"a": 1}]"#, T), (r#"[{"b": 1, "c": 1}]"#, F)],
    );
    check(
        Body,
        "{ some: { /x: { absent: true }, type: object } }",
        &[("[{}]", T), (r#"[{"x": null}]"#, F), ("[1]", F)],
    );
}

#[test]
fn json_inside_a_text() {
    check(
        Body,
        "{ json: { only: [], /path: { prefix: /tmp/ } } }",
        &[
            (r#""{\"path\": \"/tmp/x\"}""#, T),
            (r#""{\"path\": \"/etc/x\"}""#, F),
            (r#""{\"path\": \"/tmp/x\", \"mode\": 1}""#, F),
            (r#""{\"path\"""#, I),
            (r#""""#, I),
            ("{}", I),
            ("1", I),
        ],
    );
    check(
        Wire,
        "{ json: { every: { type: integer } } }",
        &[("wire [1, 2]", T), ("wire [1, \"x\"]", F), ("wire x", I)],
    );
    check(Body, "{ json: [1, 2] }", &[(r#""2""#, T), (r#""3""#, F)]);
    check(Body, "{ json: { json: 7 } }", &[(r#""\"7\"""#, T)]);
}

#[test]
fn what_is_ambiguous_inside_leaves_a_fault() {
    let cases = [
        (
            "{ every: { /role: user } }",
            r#"[{"role": "user", "Role": "system"}]"#,
            I,
            Some(Fault::JsonKeyCase),
        ),
        (
            "{ every: { /role: { absent: true } } }",
            r#"[{"ROLE": "x"}]"#,
            I,
            Some(Fault::JsonKeyCase),
        ),
        (
            "{ some: { /a/b: 1 } }",
            r#"[{"A": {"b": 1}, "a": {"b": 1}}]"#,
            I,
            Some(Fault::JsonKeyCase),
        ),
        (
            "{ every: { only: [/a] } }",
            r#"[{"A": 1}]"#,
            I,
            Some(Fault::JsonKeyCase),
        ),
        ("{ every: { only: [/a] } }", r#"[{"b": 1}]"#, F, None),
        (
            "{ some: { exactly: { a: 1 } } }",
            r#"[{"A": 1}]"#,
            I,
            Some(Fault::JsonKeyCase),
        ),
        (
            "{ every: { /role: user } }",
            r#"[{"role": "user", "Other": 1, "other": 2}]"#,
            T,
            None,
        ),
        ("{ json: { /a: 1 } }", r#""{""#, I, Some(Fault::JsonSyntax)),
        (
            "{ json: { /a: 1 } }",
            r#""{\"A\": 1}""#,
            I,
            Some(Fault::JsonKeyCase),
        ),
    ];
    for (matcher, value, expected, fault) in cases {
        let world = World::new();
        let read = read(matcher, Body).unwrap();
        assert_eq!(test(&read, value, &world), expected, "{matcher} on {value}");
        assert_eq!(*world.note.borrow(), fault, "{matcher} on {value}");
    }
}

#[test]
fn conjunction_disjunction_negation() {
    check(
        Body,
        "{ prefix: a, suffix: z }",
        &[(r#""abz""#, T), (r#""ab""#, F), ("1", I)],
    );
    check(
        Body,
        "{ any_of: [a, { lt: 3 }] }",
        &[(r#""a""#, T), ("2", T), ("5", I), (r#""b""#, I)],
    );
    check(
        Body,
        "{ not: { prefix: a } }",
        &[(r#""ab""#, F), (r#""b""#, T), ("1", I), ("null", I)],
    );
    check(
        Body,
        "{ not: { any_of: [a, b] } }",
        &[(r#""a""#, F), (r#""c""#, T)],
    );
    check(
        Body,
        "{ not: [a, b], type: string }",
        &[(r#""c""#, T), ("1", F)],
    );
}

#[test]
fn references_are_visited() {
    let text = "{ eq: $claims/a, not: $claims/b, every: { /x: [$claims/c, y], any_of: [$claims/d, { url: { host: $claims/e } }] }, count: { lt: $claims/f }, not_in: $claims/g }";
    // `eq` and `every` can't hold together, so each stands alone.
    assert!(read(text, Body).unwrap_err()[0].contains("can never hold"));
    let text = text.replace("eq: $claims/a, ", "");
    let mut seen = Vec::new();
    read(&text, Body)
        .unwrap()
        .references(&mut |fact| seen.push(format!("{fact:?}")));
    let names: Vec<_> = ["b", "c", "d", "e", "f", "g"]
        .map(|n| seen.iter().any(|s| s.contains(&format!("\"{n}\""))))
        .into();
    assert_eq!((seen.len(), names.contains(&false)), (6, false), "{seen:?}");
}

#[test]
fn every_operator_has_its_name() {
    for (name, operand) in [
        ("eq", "x"),
        ("ne", "x"),
        ("in", "[x]"),
        ("not_in", "[x]"),
        ("lt", "1"),
        ("lte", "1"),
        ("gt", "1"),
        ("gte", "1"),
        ("glob", "x"),
        ("matches", "x"),
        ("prefix", "x"),
        ("suffix", "x"),
        ("contains", "x"),
        ("cidr", "\"::/0\""),
        ("url", "{ port: 1 }"),
        ("type", "string"),
        ("present", "true"),
        ("absent", "true"),
        ("count", "1"),
        ("every", "x"),
        ("some", "x"),
        ("none", "x"),
        ("not", "x"),
        ("any_of", "[x]"),
        ("json", "x"),
    ] {
        let matcher = read(&format!("{{ {name}: {operand} }}"), Body).unwrap();
        assert_eq!(matcher.ops[0].name(), name);
        assert!(Matcher::operators().contains(&name));
    }
}
