//! Quantifiers, shapes and JSON in texts.

use super::Kind::{Body, Claim, Wire};
use super::Truth::{False as F, Indeterminate as I, True as T};
use super::*;

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
        (
            "{ every: { /a: 1 } }",
            r#"[{"a": 1, "a\u0000": 2}]"#,
            I,
            Some(Fault::JsonKeyCase),
        ),
        (
            "{ every: { only: [/a] } }",
            r#"[{"a": 1, "b\u0000": 2}]"#,
            I,
            Some(Fault::JsonKeyCase),
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

/// Each comparison with an element is counted; where they run out, what was found so far stands if it is certain.
#[test]
fn comparisons_are_counted() {
    let every = "{ every: { in: $claims/repos } }"; // a, b
    let none = "{ none: { in: $claims/repos } }";
    for (matcher, value, left, expected) in [
        (every, r#"["b", "b"]"#, 4, T),
        (every, r#"["b", "b"]"#, 3, I),
        (every, r#"["a", "a", "a"]"#, 3, T),
        (every, r#"["c", "b"]"#, 2, F),
        (every, r#"["c", "b"]"#, 1, I),
        (none, r#"["c", "a"]"#, 3, F),
        (none, r#"["c", "d"]"#, 3, I),
        (none, r#"["c", "d"]"#, 4, T),
        ("{ not_in: $claims/repos }", r#""c""#, 2, T),
        ("{ not_in: $claims/repos }", r#""c""#, 1, I),
        ("{ in: $claims/holey }", r#""a""#, 1, T),
        ("{ contains: [z, b] }", r#"["a", "b"]"#, 4, T),
        ("{ contains: [z, b] }", r#"["a", "b"]"#, 3, I),
    ] {
        let world = World::new();
        world.left.set(left);
        let read = read(matcher, Body).unwrap();
        assert_eq!(test(&read, value, &world), expected, "{matcher} on {value}");
    }
}
