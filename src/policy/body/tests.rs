//! Cases as data, for JSON; [`forms`] are apart, and so are [`random`] documents with serde_json as the other reader.

mod forms;
mod random;

use super::*;

/// Pointers, a body, and what they lead to in it.
type FieldsCase = (
    &'static [&'static str],
    &'static str,
    Result<&'static [&'static str], Fault>,
);

/// A value in short: kinds that look alike are marked.
fn shown(value: Value<'_>) -> String {
    match value {
        Value::Missing => "-".into(),
        Value::Unreadable => "?".into(),
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(text) => text.into(),
        Value::Text(text) => format!("'{text}'"),
        Value::Wire(text) => format!("~{text}"),
        Value::Texts(_) => "texts".into(),
        Value::Json(json) => compact(json),
    }
}

fn compact(json: &Json) -> String {
    match json {
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(compact).collect();
            format!("[{}]", items.join(" "))
        }
        Json::Object(members) => {
            let members = members.iter().map(|(k, v)| format!("{k}:{}", compact(v)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(" "))
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => shown(json.into()),
    }
}

fn pointers(texts: &[&str]) -> Vec<Pointer> {
    texts
        .iter()
        .map(|text| Pointer::parse(text).unwrap())
        .collect()
}

fn judged(fields: &[&str]) -> Projection {
    let fields: Vec<_> = pointers(fields).into_iter().zip(0..).collect();
    Projection::new(&fields, &[])
}

fn closed(only: &[&str]) -> Projection {
    Projection::new(&[], &[(9, pointers(only))])
}

#[track_caller]
fn check_fields(
    read: Result<BodyFields<'_>, Fault>,
    expected: Result<&[&str], Fault>,
    about: &str,
) {
    let fields = read.map(|read| {
        let ids = expected.map_or(0, <[_]>::len) as u32;
        (0..ids).map(|id| shown(read.field(id))).collect::<Vec<_>>()
    });
    assert_eq!(
        fields,
        expected.map(|e| e.iter().map(ToString::to_string).collect()),
        "{about}"
    );
}

#[test]
fn reads_judged_fields() {
    let cases: &[FieldsCase] = &[
        (&["/a", "/b"], r#"{"a":1}"#, Ok(&["1", "-"])),
        (
            &["/a", "/b", "/c", "/d", "/e"],
            r#"{"a":null,"b":true,"c":-1.50e+2,"d":"x","e":"\u0078\n"}"#,
            Ok(&["null", "true", "-1.50e+2", "'x'", "'x\n'"]),
        ),
        (&["/\u{e9}"], r#"{"\u00e9":"é"}"#, Ok(&["'é'"])),
        (
            &["/a/b", "/a/c"],
            r#" { "a" : { "x" : [ 1 ] , "b" : "y" , "c" : false } } "#,
            Ok(&["'y'", "false"]),
        ),
        (&["/a/b"], r#"{"a":1}"#, Ok(&["-"])),
        (&["/a/b"], r#"{"a":"b"}"#, Ok(&["-"])),
        (&["/a/b"], r#"{"a":null}"#, Ok(&["-"])),
        (&["/a/b"], r#"{"a":["b"]}"#, Ok(&["-"])),
        (&["/a/b"], r#"{"a":{}}"#, Ok(&["-"])),
        (&["/a"], "[]", Ok(&["-"])),
        (&["/a"], "7", Ok(&["-"])),
        // Array indexes, and objects whose keys look like them.
        (
            &["/0", "/2", "/10", "/00"],
            "[5,6,7]",
            Ok(&["5", "7", "-", "-"]),
        ),
        (
            &["/10", "/9", "/0"],
            "[0,1,2,3,4,5,6,7,8,9,10,11]",
            Ok(&["10", "9", "0"]),
        ),
        (&["/0"], r#"{"0":5}"#, Ok(&["5"])),
        (&["/00"], r#"{"00":5}"#, Ok(&["5"])),
        (
            &["/m/1/r", "/m/0/r"],
            r#"{"m":[{"r":"a"},{"q":0,"r":"b"},{"r":"c"}]}"#,
            Ok(&["'b'", "'a'"]),
        ),
        // Containers, alone and with fields inside.
        (
            &["/a"],
            r#"{"a":[1,{"b":"\t"}],"b":0}"#,
            Ok(&["[1 {b:'\t'}]"]),
        ),
        (&["/a"], r#"{"a":{}}"#, Ok(&["{}"])),
        (
            &["", "/a", "/a/b", "/a/b/0"],
            r#"{"a":{"b":["x",2]},"c":3}"#,
            Ok(&["{a:{b:['x' 2]} c:3}", "{b:['x' 2]}", "['x' 2]", "'x'"]),
        ),
        (&["/a", "/a/b"], r#"{"a":5}"#, Ok(&["5", "-"])),
        (&[""], "\"x\"", Ok(&["'x'"])),
        (&[""], " null ", Ok(&["null"])),
        (
            &["/", "//", "/a~1b", "/m~0n"],
            r#"{"":{"":1},"a/b":2,"m~n":3}"#,
            Ok(&["{:1}", "1", "2", "3"]),
        ),
        // Faults of what nobody judges.
        (&["/a"], r#"{"b":[1,],"a":1}"#, Err(Fault::JsonSyntax)),
        (
            &["/a"],
            r#"{"a":1,"b":"\uD800"}"#,
            Err(Fault::JsonSurrogate),
        ),
        (&["/a"], r#"{"a":1,"\uD800":1}"#, Err(Fault::JsonSurrogate)),
        (&["/a"], r#"{"a":"\uDC00"}"#, Err(Fault::JsonSurrogate)),
        (&["/a"], r#"{"a":1}{"a":2}"#, Err(Fault::JsonTrailing)),
        (&["/a"], r#"{"a":1}}"#, Err(Fault::JsonTrailing)),
        (&["/a"], "", Err(Fault::JsonSyntax)),
        (&["/a"], "{", Err(Fault::JsonSyntax)),
        (&["/a"], r#"{"a":1,}"#, Err(Fault::JsonSyntax)),
        (&["/a"], "{,}", Err(Fault::JsonSyntax)),
        (&["/a"], r#"{"a"}"#, Err(Fault::JsonSyntax)),
        (&["/a"], r#"{"a":}"#, Err(Fault::JsonSyntax)),
        (&["/a"], r#"{"a":1"b":2}"#, Err(Fault::JsonSyntax)),
        (&["/a"], r#"{"a":1]"#, Err(Fault::JsonSyntax)),
        (&["/0"], "[1,]", Err(Fault::JsonSyntax)),
        (&["/0"], "[,]", Err(Fault::JsonSyntax)),
        (&["/0"], "[1}", Err(Fault::JsonSyntax)),
        (&["/0"], "[1 2]", Err(Fault::JsonSyntax)),
        (&["/0"], "[", Err(Fault::JsonSyntax)),
        (&["/a"], "\u{FEFF}{}", Err(Fault::JsonBom)),
        // Depth counts from the root, on the way and beside it alike.
        (&["/a"], r#"{"a":[[[1]]]}"#, Ok(&["[[[1]]]"])),
        (&["/a"], r#"{"a":[[[[1]]]]}"#, Err(Fault::JsonDepth)),
        (&["/a"], r#"{"b":[[[1]]]}"#, Ok(&["-"])),
        (&["/a"], r#"{"b":[[[[1]]]]}"#, Err(Fault::JsonDepth)),
        (&["/a/a/a/a"], r#"{"a":{"a":{"a":{"a":1}}}}"#, Ok(&["1"])),
        (
            &["/a/a/a/a"],
            r#"{"a":{"a":{"a":{"a":[]}}}}"#,
            Err(Fault::JsonDepth),
        ),
        (
            &["/a/a/a/a/a"],
            r#"{"a":{"a":{"a":{"a":{"a":1}}}}}"#,
            Err(Fault::JsonDepth),
        ),
        (&["/0/0"], "[[1],[[[1]]]]", Ok(&["1"])),
        (&["/0/0"], "[[1],[[[[]]]]]", Err(Fault::JsonDepth)),
    ];
    for (fields, body, expected) in cases {
        let read = judged(fields);
        check_fields(BodyFields::json(body.as_bytes(), &read, 4), *expected, body);
    }
}

#[test]
fn refuses_keys_that_can_be_read_twice() {
    use Fault::{JsonDuplicateKey as Twice, JsonKeyCase as Case};
    let cases: &[(&[&str], &str, Option<Fault>)] = &[
        // Duplicates above a judged value, escaped or not, judged or not.
        (&["/a"], r#"{"a":1,"a":1}"#, Some(Twice)),
        (&["/a"], r#"{"a":1,"\u0061":2}"#, Some(Twice)),
        (&["/a"], r#"{"\u0061":1,"a":2}"#, Some(Twice)),
        (&["/a"], r#"{"b":1,"a":1,"b":1}"#, Some(Twice)),
        (&["/a"], r#"{"b":1,"b":1}"#, Some(Twice)),
        (&["/a/b"], r#"{"a":{"b":1,"c":1,"c":1}}"#, Some(Twice)),
        (&["/a/b"], r#"{"a":{"b":1},"a":{"b":2}}"#, Some(Twice)),
        (&["/a/b"], r#"{"a":{"b":1},"a":0}"#, Some(Twice)),
        (&["/0/a"], r#"[{"a":1,"c":1,"c":1}]"#, Some(Twice)),
        // Inside a judged value.
        (&["/a"], r#"{"a":{"b":1,"b":1}}"#, Some(Twice)),
        (&["/a"], r#"{"a":[[{"b":1,"b":1}]]}"#, Some(Twice)),
        (&[""], r#"{"a":[{"b":1,"b":1}]}"#, Some(Twice)),
        (&["/a", "/a/x"], r#"{"a":{"y":{"b":1,"b":1}}}"#, Some(Twice)),
        // Not beside it: nobody judges that.
        (&["/a"], r#"{"c":{"b":1,"b":1},"a":1}"#, None),
        (&["/a/x"], r#"{"a":{"y":{"b":1,"b":1}}}"#, None),
        (&["/0/a"], r#"[{"a":1},{"c":1,"c":1}]"#, None),
        (&[], r#"{"c":1,"c":1}"#, None),
        // A key but for case.
        (&["/model"], r#"{"Model":1}"#, Some(Case)),
        (&["/model"], r#"{"model":1,"MODEL":2}"#, Some(Case)),
        (&["/model"], r#"{"\u004dodel":1}"#, Some(Case)),
        (&["/Model"], r#"{"model":1}"#, Some(Case)),
        (&["/key"], "{\"\u{212A}ey\":1}", Some(Case)),
        (&["/key"], r#"{"\u212Aey":1}"#, Some(Case)),
        (&["/\u{212A}ey"], r#"{"key":1}"#, Some(Case)),
        (&["/status"], "{\"\u{17F}tatus\":1}", Some(Case)),
        (&["/größe"], r#"{"GRÖßE":1}"#, Some(Case)),
        (&["/a/b"], r#"{"a":{"B":1}}"#, Some(Case)),
        (&["/a/b"], r#"{"A":{}}"#, Some(Case)),
        (&["/a", "/a/b"], r#"{"a":{"B":1}}"#, Some(Case)),
        (&["/0/a"], r#"[{"A":1}]"#, Some(Case)),
        (
            &["/model"],
            r#"{"models":1,"mode":2,"modem":3,"xModel":4}"#,
            None,
        ),
        (&["/größe"], r#"{"GRÖSSE":1}"#, None),
        (&["/id"], "{\"ıd\":1}", Some(Case)),
        (&["/id"], "{\"İd\":1}", Some(Case)),
        // A key that readers written in C end at its NUL, where something is judged.
        (&["/a"], r#"{"a":1,"a\u0000b":2}"#, Some(Case)),
        (&["/a/b"], r#"{"a":{"b\u0000":1}}"#, Some(Case)),
        (&["/a"], r#"{"a":"\u0000","b":{"a\u0000":1}}"#, None),
        // Not where nothing of that name is judged.
        (&["/a/b"], r#"{"B":1,"c":{"B":1},"a":{"x":{"B":1}}}"#, None),
        (&["/a"], r#"{"a":{"A":1,"a":2}}"#, None),
        (&["/0"], r#"[{"A":1}]"#, None),
        // Two judged keys that differ only in case: whichever comes is one of them but for case.
        (&["/a", "/A"], r#"{"a":1}"#, Some(Case)),
        (&["/a", "/A"], r#"{"b":1}"#, None),
    ];
    for (fields, body, fault) in cases {
        let read = BodyFields::json(body.as_bytes(), &judged(fields), 8);
        assert_eq!(read.err(), *fault, "{fields:?} {body}");
    }
}

#[test]
fn finds_duplicates_among_any_number_of_keys() {
    for count in [1, 15, 16, 17, 60] {
        for twice in [0, count / 2, count - 1] {
            let keys = (0..count).map(|n| format!("\"key{n}\":[{n}],"));
            let unique: String = keys.collect();
            let good = format!("{{{unique}\"a\":1}}");
            let bad = format!("{{{unique}\"a\":1,\"key{twice}\":0}}");
            let read = judged(&["/a"]);
            check_fields(
                BodyFields::json(good.as_bytes(), &read, 8),
                Ok(&["1"]),
                &good,
            );
            check_fields(
                BodyFields::json(bad.as_bytes(), &read, 8),
                Err(Fault::JsonDuplicateKey),
                &bad,
            );
        }
    }
}

#[test]
fn tells_what_a_closed_list_does_not_admit() {
    let cases: &[(&[&str], &str, Option<&str>)] = &[
        (&["/a", "/b"], r#"{"a":1,"b":{"c":[1]}}"#, None),
        (&["/a", "/b"], r#"{"b":1}"#, None),
        (&["/a", "/b"], "{}", None),
        (&["/a", "/b"], r#"{"a":1,"c":1,"d":1}"#, Some("/c")),
        (&["/a"], r#"{"a":1,"~/":1}"#, Some("/~0~1")),
        (&["/a"], r#"{"a":1,"":1}"#, Some("/")),
        (&["/a"], r#"{"a":1,"\u00e9":1}"#, Some("/é")),
        (&["/a"], "[]", Some("")),
        (&["/a"], "[1]", Some("/0")),
        (&["/a"], "null", Some("")),
        (&["/a"], "\"a\"", Some("")),
        // On the way to something admitted.
        (&["/a/b"], r#"{"a":{"b":[1,{"c":2}]}}"#, None),
        (&["/a/b"], r#"{"a":{}}"#, None),
        (&["/a/b"], r#"{"a":{"c":1}}"#, Some("/a/c")),
        (&["/a/b"], r#"{"a":{"b":1,"c":{}}}"#, Some("/a/c")),
        (&["/a/b"], r#"{"a":1}"#, Some("/a")),
        (&["/a/b"], r#"{"a":null}"#, Some("/a")),
        (&["/a/b"], r#"{"a":""}"#, Some("/a")),
        (&["/a/b"], r#"{"a":[]}"#, Some("/a")),
        (&["/a/b"], r#"{"a":[{}]}"#, Some("/a/0")),
        (&["/a/b/c"], r#"{"a":{"b":{"x":1}},"y":1}"#, Some("/a/b/x")),
        (&["/a/b", "/a/c/d"], r#"{"a":{"c":{"d":1},"b":2}}"#, None),
        // Arrays.
        (&["/a/0"], r#"{"a":[]}"#, None),
        (&["/a/0"], r#"{"a":[{"x":1}]}"#, None),
        (&["/a/0"], r#"{"a":[1,2,3]}"#, Some("/a/1")),
        (&["/a/1"], r#"{"a":[1,2]}"#, Some("/a/0")),
        (&["/a/0/b"], r#"{"a":[{"b":1}]}"#, None),
        (&["/a/0/b"], r#"{"a":[{"c":1}]}"#, Some("/a/0/c")),
        (&["/a/0/b"], r#"{"a":[1]}"#, Some("/a/0")),
        (&["/a/01"], r#"{"a":[]}"#, Some("/a")),
        (&["/a/-"], r#"{"a":[]}"#, Some("/a")),
        // All, and nothing.
        (&[""], "[1]", None),
        (&[""], "1", None),
        (&["", "/a"], r#"{"b":1}"#, None),
        (&[], "{}", None),
        (&[], r#"{"a":1}"#, Some("/a")),
        (&[], "[]", Some("")),
        (&[], "[0]", Some("/0")),
        (&[], "0", Some("")),
        // A longer pointer under an admitted one changes nothing.
        (&["/a", "/a/b"], r#"{"a":{"c":1}}"#, None),
        (&["/a", "/a/b"], r#"{"a":1}"#, None),
    ];
    for (only, body, unexpected) in cases {
        let projection = closed(only);
        let read = BodyFields::json(body.as_bytes(), &projection, 8).unwrap();
        assert_eq!(read.unexpected(9), *unexpected, "{only:?} {body}");
        assert_eq!(read.unexpected(8), None);
    }
}

#[test]
fn a_field_that_overrides_the_method_is_refused() {
    let cases: &[(&[&str], &str, bool)] = &[
        (&["/a"], r#"{"a":1,"_method":"DELETE"}"#, true),
        (&["/a"], r#"{"\u005fMETHOD":"DELETE"}"#, true),
        (&["/_method"], r#"{"_method":"DELETE"}"#, true),
        (&[""], r#"{"_method":"DELETE"}"#, true),
        (&["", "/a"], r#"{"_method":"DELETE"}"#, true),
        (&["/a"], r#"{"a":1,"method":1,"x_method":1}"#, false),
        (&["/a/b"], r#"{"a":{"_method":1},"c":{"_method":1}}"#, false),
        (&["/a"], r#"{"a":{"_method":1}}"#, false),
        (&["/0/a"], r#"[{"_method":1}]"#, false),
    ];
    for (fields, body, refused) in cases {
        let read = BodyFields::json(body.as_bytes(), &judged(fields), 8);
        let fault = refused.then_some(Fault::MethodOverride);
        assert_eq!(read.err(), fault, "{fields:?} {body}");
    }
}

#[test]
fn the_keys_that_a_closed_list_looks_at_are_judged() {
    use Fault::{JsonDuplicateKey as Twice, JsonKeyCase as Case};
    let cases: &[(&[&str], &str, Option<Fault>)] = &[
        (&["/a", "/b"], r#"{"a":1,"a":2}"#, Some(Twice)),
        (&["/a", "/b"], r#"{"A":1}"#, Some(Case)),
        (&["/a/b"], r#"{"a":{"b":1,"b":1}}"#, Some(Twice)),
        (&["/a/b"], r#"{"a":{"B":1}}"#, Some(Case)),
        (&[], r#"{"a":1,"a":2}"#, Some(Twice)),
        // What it admits as a whole is not looked into.
        (&["/a"], r#"{"a":{"b":1,"b":1}}"#, None),
        (&["/a"], r#"{"a":{"A":1}}"#, None),
        (&["/a", "/a/b"], r#"{"a":{"b":1,"B":1,"b":1}}"#, None),
        (&[""], r#"{"b":1,"b":1}"#, None),
    ];
    for (only, body, fault) in cases {
        let read = BodyFields::json(body.as_bytes(), &closed(only), 8);
        assert_eq!(read.err(), *fault, "{only:?} {body}");
    }
}

#[test]
fn several_closed_lists_are_told_apart() {
    let fields: Vec<_> = pointers(&["/a", "/b/c"]).into_iter().zip([3, 5]).collect();
    let only = [
        (1, pointers(&["/a", "/b"])),
        (2, pointers(&["/a", "/b/c"])),
        (3, pointers(&[])),
        (4, pointers(&["/b/c", "/a", "/a"])),
        (5, pointers(&[""])),
    ];
    let projection = Projection::new(&fields, &only);
    let body = br#"{"a":{"x":1},"b":{"c":2,"d":3},"e":4}"#;
    let read = BodyFields::json(body, &projection, 8).unwrap();
    assert_eq!(shown(read.field(3)), "{x:1}");
    assert_eq!(shown(read.field(5)), "2");
    let unexpected = [1, 2, 3, 4, 5].map(|only| read.unexpected(only));
    assert_eq!(
        unexpected,
        [Some("/e"), Some("/b/d"), Some("/a"), Some("/b/d"), None]
    );
}

#[test]
fn more_closed_lists_than_a_trie_holds() {
    let only: Vec<_> = (0..150)
        .map(|n| (n, pointers(&["/a", &format!("/b{n}")])))
        .collect();
    let fields = [(pointers(&["/a"])[0].clone(), 1)];
    let projection = Projection::new(&fields, &only);
    let read = BodyFields::json(br#"{"a":1,"b70":2}"#, &projection, 8).unwrap();
    assert_eq!(shown(read.field(1)), "1");
    for (id, _) in &only {
        assert_eq!(
            read.unexpected(*id),
            Some("/b70").filter(|_| *id != 70),
            "{id}"
        );
    }
    let read = BodyFields::form(b"a=1&b140=2", &projection).unwrap();
    assert_eq!(shown(read.field(1)), "~1");
    for (id, _) in &only {
        assert_eq!(
            read.unexpected(*id),
            Some("/b140").filter(|_| *id != 140),
            "{id}"
        );
    }
}

#[test]
fn merges() {
    let a = Projection::new(
        &[(pointers(&["/a"])[0].clone(), 1)],
        &[(1, pointers(&["/a"]))],
    );
    let b_fields = [
        (pointers(&["/b"])[0].clone(), 70_000),
        (pointers(&["/a"])[0].clone(), 2),
    ];
    let b = Projection::new(&b_fields, &[(2, pointers(&["/a", "/b"]))]);
    let body = br#"{"a":1,"b":2}"#;
    for merged in [
        Projection::merge(&[&a, &b]),
        Projection::merge(&[&b, &a, &b, &Projection::default()]),
    ] {
        let read = BodyFields::json(body, &merged, 8).unwrap();
        assert_eq!(
            [1, 2, 70_000, 3].map(|id| shown(read.field(id))),
            ["1", "1", "2", "-"]
        );
        assert_eq!([1, 2].map(|id| read.unexpected(id)), [Some("/b"), None]);
    }
    for alone in [Projection::merge(&[&a]), Projection::merge(&[&a, &a])] {
        let read = BodyFields::json(body, &alone, 8).unwrap();
        assert_eq!([1, 2].map(|id| shown(read.field(id))), ["1", "-"]);
    }
    assert!(BodyFields::json(b"{}", &Projection::merge(&[]), 8).is_ok());
}

#[test]
fn follows_pointers_of_any_depth() {
    let deep = |depth: usize| "/a".repeat(depth);
    let fields = [deep(1), deep(511), deep(512), deep(513), deep(100_000)];
    let fields: Vec<&str> = fields.iter().map(|f| f.as_str()).collect();
    let body = ["{\"a\":".repeat(512), "7".into(), "}".repeat(512)].concat();
    let projection = Projection::merge(&[&judged(&fields), &closed(&fields[3..])]);
    let read = BodyFields::json(body.as_bytes(), &projection, 512).unwrap();
    assert_eq!(
        [1, 2, 3, 4].map(|id| shown(read.field(id))),
        ["{a:7}", "7", "-", "-"]
    );
    assert_eq!(read.unexpected(9), Some(deep(512).as_str()));
    let deeper = ["{\"a\":".repeat(513), "7".into(), "}".repeat(513)].concat();
    let read = BodyFields::json(deeper.as_bytes(), &projection, 1024);
    assert_eq!(read.err(), Some(Fault::JsonDepth));
}
