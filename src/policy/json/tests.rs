//! Cases as data, and serde_json as the other reader. The public vectors are read by `tests/vectors/json.rs`.

pub(in crate::policy) mod random;

use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::Value as Other;

use super::*;
use random::{document, mutated, same, written};

#[test]
fn reads_what_is_json() {
    let text = |text: &str| Json::Text(text.into());
    let number = |text: &str| Json::Number(text.into());
    let cases = [
        ("null", Json::Null),
        (" \t\r\n true \n", Json::Bool(true)),
        ("false", Json::Bool(false)),
        ("-0.50E+07", number("-0.50E+07")),
        ("1e999999", number("1e999999")),
        (r#""""#, text("")),
        (
            r#""a\"\\\/\b\f\n\r\t\u0041\uD834\udd1E\u0000""#,
            text("a\"\\/\u{8}\u{c}\n\r\tA\u{1D11E}\0"),
        ),
        ("\"\u{7F}\u{2028}é\"", text("\u{7F}\u{2028}é")),
        ("[ ]", Json::Array(vec![])),
        ("{ }", Json::Object(vec![])),
        (
            "[1,[],[[2]],{}]",
            Json::Array(vec![
                number("1"),
                Json::Array(vec![]),
                Json::Array(vec![Json::Array(vec![number("2")])]),
                Json::Object(vec![]),
            ]),
        ),
        (
            r#"{"b":{"c":[]},"":null,"a":"x"}"#,
            Json::Object(vec![
                (
                    "b".into(),
                    Json::Object(vec![("c".into(), Json::Array(vec![]))]),
                ),
                ("".into(), Json::Null),
                ("a".into(), text("x")),
            ]),
        ),
    ];
    for (input, expected) in cases {
        assert_eq!(Json::parse(input.as_bytes(), 8), Ok(expected), "{input}");
    }
}

#[test]
fn refuses_the_rest() {
    use Fault::*;
    let cases: &[(&[u8], Fault)] = &[
        (b"", JsonSyntax),
        (b" \n", JsonSyntax),
        (b"\xEF\xBB\xBF{}", JsonBom),
        (b" \xEF\xBB\xBF{}", JsonSyntax),
        (b"\xFE\xFF\0{", JsonUtf8),
        (b"\"\xC3\"", JsonUtf8),
        (b"\"\xED\xA0\x80\"", JsonUtf8),
        (b"\"\xC0\xAF\"", JsonUtf8),
        (b"{\0", JsonSyntax),
        (b"\0", JsonSyntax),
        (b"1\0", JsonTrailing),
        (b"{} {}", JsonTrailing),
        (b"[1]]", JsonTrailing),
        (b"nullx", JsonTrailing),
        (b"1 2", JsonTrailing),
        (b"\"\n\"", JsonSyntax),
        (b"\"\x1F\"", JsonSyntax),
        (
            b"\"0123456789012345678901234567890123456789\x01\"",
            JsonSyntax,
        ),
        (b"\"a", JsonSyntax),
        (b"\"a\\", JsonSyntax),
        (b"\"\\x41\"", JsonSyntax),
        (b"\"\\U0041\"", JsonSyntax),
        (b"\"\\u004\"", JsonSyntax),
        (b"\"\\u00g0\"", JsonSyntax),
        (b"\"\\u+041\"", JsonSyntax),
        (b"\"\\uD800\"", JsonSurrogate),
        (b"\"\\uD800x\"", JsonSurrogate),
        (b"\"\\uD800\\n\"", JsonSurrogate),
        (b"\"\\uD800\\u0041\"", JsonSurrogate),
        (b"\"\\uD800\\uD800\"", JsonSurrogate),
        (b"\"\\uDC00\"", JsonSurrogate),
        (b"\"\\uDFFF\\uD800\"", JsonSurrogate),
        (b"\"\\uD800\\uDG00\"", JsonSyntax),
        (b"01", JsonSyntax),
        (b"-", JsonSyntax),
        (b"-01", JsonSyntax),
        (b"--1", JsonSyntax),
        (b"+1", JsonSyntax),
        (b".5", JsonSyntax),
        (b"1.", JsonSyntax),
        (b"1.e1", JsonSyntax),
        (b"1e", JsonSyntax),
        (b"1e+", JsonSyntax),
        (b"0x10", JsonTrailing),
        (b"NaN", JsonSyntax),
        (b"-Infinity", JsonSyntax),
        (b"True", JsonSyntax),
        (b"nul", JsonSyntax),
        (b"tru\"", JsonSyntax),
        (b"'a'", JsonSyntax),
        (b"[1,]", JsonSyntax),
        (b"[,1]", JsonSyntax),
        (b"[1 2]", JsonSyntax),
        (b"[1", JsonSyntax),
        (b"[1}", JsonSyntax),
        (b"]", JsonSyntax),
        (b"}", JsonSyntax),
        (b"{\"a\":1,}", JsonSyntax),
        (b"{,}", JsonSyntax),
        (b"{\"a\"}", JsonSyntax),
        (b"{\"a\":}", JsonSyntax),
        (b"{\"a\" 1}", JsonSyntax),
        (b"{\"a\":1]", JsonSyntax),
        (b"{a:1}", JsonSyntax),
        (b"{1:1}", JsonSyntax),
        (b"{\"a\":1 \"b\":2}", JsonSyntax),
        (b"/**/1", JsonSyntax),
        (b"1 // one", JsonTrailing),
        (b"[[[[[[[[[1]]]]]]]]]", JsonDepth),
        (b"{\"a\":1,\"a\":1}", JsonDuplicateKey),
        (
            b"[{\"x\":{\"a\":1,\"b\":2,\"\\u0061\":3}}]",
            JsonDuplicateKey,
        ),
        (b"{\"\":1,\"\":2}", JsonDuplicateKey),
        ("{\"é\":1,\"\\u00E9\":2}".as_bytes(), JsonDuplicateKey),
    ];
    let everything_free = crate::policy::Projection::default();
    for (input, fault) in cases {
        let shown = String::from_utf8_lossy(input);
        assert_eq!(Json::parse(input, 8), Err(*fault), "{shown}");
        // What nobody judges is read as strictly, but for its duplicates.
        let skipped = crate::policy::BodyFields::json(input, &everything_free, 8);
        let expected = Some(*fault).filter(|fault| *fault != JsonDuplicateKey);
        assert_eq!(skipped.err(), expected, "skipped: {shown}");
    }
}

#[test]
fn finds_special_bytes_at_any_distance() {
    for length in 0..200 {
        let plain = "é".repeat(length / 2) + &"x".repeat(length % 2);
        let good = format!("\"{plain}\"");
        assert_eq!(
            Json::parse(good.as_bytes(), 0),
            Ok(Json::Text(plain.clone().into()))
        );
        let escaped = format!("\"{plain}\\n{plain}\"");
        let expected = format!("{plain}\n{plain}");
        assert_eq!(
            Json::parse(escaped.as_bytes(), 0),
            Ok(Json::Text(expected.into()))
        );
        for control in 0..0x20 {
            let bad = format!("\"{plain}{}{plain}\"", char::from(control));
            assert_eq!(
                Json::parse(bad.as_bytes(), 0),
                Err(Fault::JsonSyntax),
                "{bad:?}"
            );
        }
    }
}

#[test]
fn counts_depth() {
    let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat().into_bytes();
    let mixed = |depth: usize| {
        [r#"{"a":["#.repeat(depth), "]}".repeat(depth)]
            .concat()
            .into_bytes()
    };
    let free = crate::policy::Projection::default();
    let check = |document: Vec<u8>, limit: usize, fits: bool| {
        let expected = (!fits).then_some(Fault::JsonDepth);
        assert_eq!(Json::parse(&document, limit).err(), expected);
        let skipped = crate::policy::BodyFields::json(&document, &free, limit);
        assert_eq!(skipped.err(), expected);
    };
    check(b"1".to_vec(), 0, true);
    check(b"[]".to_vec(), 0, false);
    for limit in [1, 2, 63, 64, 65, 127, 128, 129, 256, 511, 512] {
        check(nested(limit), limit, true);
        check(nested(limit + 1), limit, false);
        check(mixed(limit.div_ceil(2)), limit.next_multiple_of(2), true);
        check(mixed(limit / 2 + 1), limit, false);
    }
    check(nested(513), usize::MAX, false);
    check(b"[".repeat(1 << 20), usize::MAX, false);
}

#[test]
fn a_huge_object_is_checked_for_duplicates_in_good_time() {
    let member = |n: usize| format!("\"key-with-a-long-common-start-{n}\":0");
    let mut members: Vec<String> = (0..100_000).map(member).collect();
    let document = |members: &[String]| format!("{{{}}}", members.join(",")).into_bytes();
    assert!(Json::parse(&document(&members), 1).is_ok());
    members.push(member(50_000));
    assert_eq!(
        Json::parse(&document(&members), 1),
        Err(Fault::JsonDuplicateKey)
    );
    for count in 1..40 {
        let mut members: Vec<String> = (0..count).map(member).collect();
        assert!(Json::parse(&document(&members), 1).is_ok());
        members.push(member(count / 2));
        assert_eq!(
            Json::parse(&document(&members), 1),
            Err(Fault::JsonDuplicateKey)
        );
    }
}

#[test]
fn tells_keys_that_differ_only_in_case() {
    let cases = [
        ("model", "model", false),
        ("model", "Model", true),
        ("model", "MODEL", true),
        ("model", "models", false),
        ("key", "\u{212A}ey", true),
        ("\u{212A}ey", "KEY", true),
        ("status", "\u{17F}tatu\u{17F}", true),
        ("größe", "GRÖßE", true),
        ("größe", "GRÖ\u{1E9E}E", true),
        ("größe", "GRÖSSE", false),
        ("straße", "strasse", false),
        ("id", "İd", true),
        ("id", "ıd", true),
        ("ΟΔΟΣ", "οδος", true),
        ("οδοσ", "οδος", true),
        ("имя", "ИМЯ", true),
        ("中", "中", false),
        ("中", "国", false),
        ("", "", false),
        ("", "a", false),
        ("@", "`", false),
        ("[", "{", false),
    ];
    for (a, b, expected) in cases {
        assert_eq!(equal_but_for_case(a, b), expected, "{a} {b}");
        assert_eq!(equal_but_for_case(b, a), expected, "{b} {a}");
    }
}

#[test]
fn an_array_index_is_a_plain_decimal() {
    let cases = [
        ("0", Some(0)),
        ("7", Some(7)),
        ("10", Some(10)),
        ("", None),
        ("00", None),
        ("01", None),
        ("-", None),
        ("+1", None),
        ("-1", None),
        ("1a", None),
        (" 1", None),
        ("١", None),
        ("99999999999999999999999", None),
    ];
    for (token, index) in cases {
        assert_eq!(array_index(token), index, "{token}");
    }
}

#[test]
fn follows_pointers() {
    // RFC 6901, section 5.
    let document = br##"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8}"##;
    let json = Json::parse(document, 2).unwrap();
    let number = |n: u8| Some(Json::Number(n.to_string().into()));
    let text = |text: &str| Some(Json::Text(text.into()));
    let cases = [
        ("", Some(json.clone())),
        ("/foo/0", text("bar")),
        ("/", number(0)),
        ("/a~1b", number(1)),
        ("/c%d", number(2)),
        ("/e^f", number(3)),
        ("/g|h", number(4)),
        ("/i\\j", number(5)),
        ("/k\"l", number(6)),
        ("/ ", number(7)),
        ("/m~0n", number(8)),
        ("/foo/2", None),
        ("/foo/00", None),
        ("/foo/-", None),
        ("/foo/0/x", None),
        ("/nothing", None),
    ];
    for (pointer, expected) in cases {
        let parsed = Pointer::parse(pointer).unwrap();
        assert_eq!(parsed.to_string(), pointer);
        assert_eq!(json.at(&parsed), expected.as_ref(), "{pointer}");
    }
    for bad in ["foo", "foo/bar", "/~", "/~2", "/a~", "#/foo"] {
        assert_eq!(Pointer::parse(bad), None, "{bad}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn reads_what_serde_json_reads(document in document(), choices in any::<u64>()) {
        let text = written(&document, choices);
        let other: Other = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&other, &document);
        let json = Json::parse(text.as_bytes(), 128).unwrap();
        prop_assert!(same(&json, &other), "{}", text);
    }

    #[test]
    fn accepts_nothing_that_serde_json_refuses(
        document in document(),
        choices in any::<u64>(),
        mutations in proptest::collection::vec((any::<usize>(), any::<u8>(), 0..3_u8), 1..4),
    ) {
        let bytes = mutated(written(&document, choices).into_bytes(), &mutations);
        let read = Json::parse(&bytes, 128);
        let free = crate::policy::Projection::default();
        let skipped = crate::policy::BodyFields::json(&bytes, &free, 128).map(|_| ());
        if read != Err(Fault::JsonDuplicateKey) {
            prop_assert_eq!(skipped.err(), read.clone().err());
        }
        if let Ok(json) = read {
            prop_assert!(serde_json::from_slice::<IgnoredAny>(&bytes).is_ok());
            if let Ok(other) = serde_json::from_slice::<Other>(&bytes) {
                prop_assert!(same(&json, &other));
            }
        } else if let Ok(other) = serde_json::from_slice::<Other>(&bytes) {
            // All that we refuse and serde_json reads: a key twice.
            prop_assert_eq!(read, Err(Fault::JsonDuplicateKey), "{:?}", other);
        }
    }
}
