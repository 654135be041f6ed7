//! Patterns, types, presence, addresses and URLs.

use super::Kind::{Body, Claim, Host, Wire};
use super::Truth::{False as F, Indeterminate as I, True as T};
use super::*;

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
        &[("missing", T), (r#""x""#, T), (r#""y""#, F), ("null", I)],
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
