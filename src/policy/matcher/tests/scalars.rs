//! Equality, order, references and lists.

use super::Kind::{Body, Wire};
use super::Truth::{False as F, Indeterminate as I, True as T};
use super::*;

#[test]
fn a_scalar_is_equality() {
    check(
        Body,
        "main",
        &[
            (r#""main""#, T),
            (r#""Main""#, F),
            ("null", I),
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
            ("null", I),
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
        &[(r#""b""#, T), (r#""c""#, F), ("null", I), ("1", I)],
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
            ("null", I),
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
            ("null", I),
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
