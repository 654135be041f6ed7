use proptest::prelude::*;

use super::*;

const ANYTHING: Opaque = Opaque {
    encoded_slash: true,
    semicolon: true,
    encoded_percent: true,
    empty_segments: true,
};

fn of_path(path: &str) -> Result<Canonical, Fault> {
    Canonical::new("GET", "example.com", path, None)
}

/// Pieces of a reading as text: `/` begins a segment, `|` another piece of it.
fn shown(reading: &Reading) -> String {
    let shown = |p: &Piece| format!("{}{}", if p.begins { '/' } else { '|' }, p.text);
    reading.pieces.iter().map(shown).collect()
}

#[test]
fn paths() {
    type Case<'c> = (&'c str, &'c str, &'c [&'c str], bool);
    let cases: &[Case<'_>] = &[
        ("/", "/", &[], false),
        ("/a", "/a", &["a"], false),
        ("/a/", "/a/", &["a"], true),
        (
            "/a/b.c/d-e_f~g",
            "/a/b.c/d-e_f~g",
            &["a", "b.c", "d-e_f~g"],
            false,
        ),
        (
            "/A/b!$&'()*+,=:@",
            "/A/b!$&'()*+,=:@",
            &["A", "b!$&'()*+,=:@"],
            false,
        ),
        (
            "/a...b/.../.a/a./..a",
            "/a...b/.../.a/a./..a",
            &["a...b", "...", ".a", "a.", "..a"],
            false,
        ),
        ("/%61%7E%2d/%41", "/a~-/A", &["a~-", "A"], false),
        ("/caf%c3%a9/", "/caf%C3%A9/", &["café"], true),
        ("/a%3ab/c", "/a%3Ab/c", &["a:b", "c"], false),
        ("/a%20b%3F%23", "/a%20b%3F%23", &["a b?#"], false),
        ("/100%25", "/100%25", &["100%"], false),
        ("/%25zz%25/x", "/%25zz%25/x", &["%zz%", "x"], false),
        ("/%2e%2e%2e", "/...", &["..."], false),
    ];
    for (raw, path, segments, trailing_slash) in cases {
        let canonical = of_path(raw).unwrap_or_else(|fault| panic!("{raw}: {fault}"));
        assert_eq!(canonical.path(), *path, "{raw}");
        let found: Vec<_> = (0..canonical.segments())
            .map(|i| canonical.segment(i))
            .collect();
        assert_eq!(found, *segments, "{raw}");
        assert_eq!(canonical.segment(segments.len()), "", "{raw}");
        assert_eq!(canonical.trailing_slash(), *trailing_slash, "{raw}");
        assert_eq!(canonical.uses(), Opaque::default(), "{raw}");
        assert_eq!(canonical.admitted_by(Opaque::default()), Ok(()), "{raw}");
        assert!(canonical.readings().is_empty(), "{raw}");
    }
}

#[test]
fn refused_paths() {
    let deep = "/a".repeat(257);
    let long = format!("/{}", "a".repeat(65_535));
    let pieces = format!("/{}", "a%2F".repeat(256));
    let cases: &[(&str, Fault)] = &[
        ("", Fault::TargetForm),
        ("*", Fault::TargetForm),
        ("a/b", Fault::TargetForm),
        ("?a", Fault::TargetForm),
        // dot segments, in every spelling and by every detour
        ("/.", Fault::PathDotSegment),
        ("/..", Fault::PathDotSegment),
        ("/./a", Fault::PathDotSegment),
        ("/a/../b", Fault::PathDotSegment),
        ("/a/%2e%2e/b", Fault::PathDotSegment),
        ("/a/.%2E/b", Fault::PathDotSegment),
        ("/a/%2e", Fault::PathDotSegment),
        ("/a/..%2fb", Fault::PathDotSegment),
        ("/a%2f..", Fault::PathDotSegment),
        ("/a%2F%2e%2e%2Fb", Fault::PathDotSegment),
        ("/a%2F.%2Fb", Fault::PathDotSegment),
        ("/%252e%252e%252fb", Fault::PathDotSegment),
        ("/%252e%252e/b", Fault::PathDotSegment),
        ("/.%252e/b", Fault::PathDotSegment),
        ("/%25%32%65%25%32%65", Fault::PathDotSegment),
        ("/a/..;/b", Fault::PathDotSegment),
        ("/a/..;x=y/b", Fault::PathDotSegment),
        ("/a/.;/b", Fault::PathDotSegment),
        ("/a/%2e%2e%3b/b", Fault::PathDotSegment),
        ("/a/..%253Bx/b", Fault::PathDotSegment),
        ("/a;x%2F..%2Fb", Fault::PathDotSegment),
        ("/a%2F..;x", Fault::PathDotSegment),
        ("/a/..%20/b", Fault::PathDotSegment),
        ("/a/%20./b", Fault::PathDotSegment),
        // backslashes and controls
        ("/a\\..\\b", Fault::PathBackslash),
        ("/a%5cb", Fault::PathBackslash),
        ("/a%255Cb", Fault::PathBackslash),
        ("/a%00", Fault::PathControl),
        ("/a%0d%0aHost:b", Fault::PathControl),
        ("/a%7F", Fault::PathControl),
        ("/a%2500", Fault::PathControl),
        ("/a%C2%85", Fault::PathControl),
        ("/a\0b", Fault::PathControl),
        ("/a\tb", Fault::PathControl),
        // escapes
        ("/%", Fault::PathEscape),
        ("/%4", Fault::PathEscape),
        ("/%4g", Fault::PathEscape),
        ("/%%32%65", Fault::PathEscape),
        ("/%2%35", Fault::PathEscape),
        ("/%u002e%u002e/", Fault::PathEscape),
        ("/%25u002e%25u002e/", Fault::PathDoubleEncoding),
        ("/%25252e%25252e/", Fault::PathTooComplex),
        // UTF-8
        ("/%FF", Fault::PathUtf8),
        ("/%C0%AE%C0%AE/", Fault::PathUtf8),
        ("/%E0%80%AF", Fault::PathUtf8),
        ("/%ED%A0%80", Fault::PathUtf8),
        ("/%F4%90%80%80", Fault::PathUtf8),
        ("/%C3", Fault::PathUtf8),
        ("/%C3/%A9", Fault::PathUtf8),
        ("/%25C0%25AE", Fault::PathUtf8),
        // characters
        ("/a b", Fault::PathCharacter),
        ("/a?b", Fault::PathCharacter),
        ("/a#b", Fault::PathCharacter),
        ("/a\"b", Fault::PathCharacter),
        ("/<a>", Fault::PathCharacter),
        ("/{a}", Fault::PathCharacter),
        ("/[a]", Fault::PathCharacter),
        ("/a|b", Fault::PathCharacter),
        ("/a^b", Fault::PathCharacter),
        ("/a`b", Fault::PathCharacter),
        ("/é", Fault::PathCharacter),
        // bounds
        (&deep, Fault::PathTooComplex),
        (&long, Fault::PathTooComplex),
        (&pieces, Fault::PathTooComplex),
    ];
    for (raw, fault) in cases {
        assert_eq!(of_path(raw).err(), Some(*fault), "{raw}");
    }
    assert_eq!(of_path(&"/a".repeat(256)).unwrap().segments(), 256);
}

#[test]
fn opaque_things_stand_only_where_admitted() {
    let none = Opaque::default();
    let slash = Opaque {
        encoded_slash: true,
        ..none
    };
    let semicolon = Opaque {
        semicolon: true,
        ..none
    };
    let percent = Opaque {
        encoded_percent: true,
        ..none
    };
    let empty = Opaque {
        empty_segments: true,
        ..none
    };
    for (raw, uses, fault) in [
        ("/a%2fb", slash, Fault::PathEncodedSlash),
        ("/a;b", semicolon, Fault::PathSemicolon),
        ("/a%3bb", semicolon, Fault::PathSemicolon),
        ("/a%2541", percent, Fault::PathDoubleEncoding),
        ("/a%25%34%31", percent, Fault::PathDoubleEncoding),
        ("/a%252Fb", percent, Fault::PathDoubleEncoding),
        ("//", empty, Fault::PathEmptySegment),
        ("//a", empty, Fault::PathEmptySegment),
        ("/a//b", empty, Fault::PathEmptySegment),
        ("/a//", empty, Fault::PathEmptySegment),
    ] {
        let canonical = of_path(raw).unwrap_or_else(|fault| panic!("{raw}: {fault}"));
        assert_eq!(canonical.uses(), uses, "{raw}");
        assert_eq!(canonical.admitted_by(uses), Ok(()), "{raw}");
        assert_eq!(canonical.admitted_by(none), Err(fault), "{raw}");
        let others = Opaque {
            encoded_slash: !uses.encoded_slash,
            semicolon: !uses.semicolon,
            encoded_percent: !uses.encoded_percent,
            empty_segments: !uses.empty_segments,
        };
        assert_eq!(canonical.admitted_by(others), Err(fault), "{raw}");
    }
    let all = of_path("/a%2Fb;c//%2541").unwrap();
    assert_eq!(all.uses(), ANYTHING);
    assert_eq!(all.admitted_by(none), Err(Fault::PathEncodedSlash));
    assert_eq!(all.admitted_by(slash), Err(Fault::PathSemicolon));
}

#[test]
fn opaque_things_are_never_split_on() {
    for (raw, segments, trailing_slash) in [
        ("/a%2Fb/c", vec!["a/b", "c"], false),
        ("/a%2F", vec!["a/"], false),
        ("/a;b=c/d", vec!["a;b=c", "d"], false),
        ("/a%252Fb", vec!["a%2Fb"], false),
        ("//", vec![""], true),
        ("///", vec!["", ""], true),
        ("//a", vec!["", "a"], false),
        ("/a//", vec!["a", ""], true),
        ("/a//b", vec!["a", "", "b"], false),
    ] {
        let canonical = of_path(raw).unwrap_or_else(|fault| panic!("{raw}: {fault}"));
        let found: Vec<_> = (0..canonical.segments())
            .map(|i| canonical.segment(i))
            .collect();
        assert_eq!(
            (found, canonical.trailing_slash()),
            (segments, trailing_slash),
            "{raw}"
        );
        assert_eq!(canonical.path(), raw);
    }
}

#[test]
fn readings_are_all_that_the_known_parsers_take() {
    let cases: &[(&str, &[&str])] = &[
        ("/a%2Fb/c", &["/a|b/c"]),
        ("/%2Fadmin", &["/|admin", "/admin"]),
        ("/a%2F", &["/a|", "/a"]),
        ("/a//b", &["/a/b"]),
        ("//", &[""]),
        ("/a;x/b", &["/a/b", "/a"]),
        ("/;x/admin", &["//admin", "/", "/admin", ""]),
        ("/a;x%2Fb", &["/a;x|b", "/a", "/a|b"]),
        ("/%2561dmin", &["/admin"]),
        ("/a%252Fb", &["/a/b", "/a|b"]),
        ("/a%252Fb%2Fc", &["/a%2Fb|c", "/a/b/c", "/a/b|c", "/a|b|c"]),
        ("/a%253Bx/b", &["/a;x/b", "/a/b", "/a"]),
    ];
    for (raw, expected) in cases {
        let canonical = of_path(raw).unwrap_or_else(|fault| panic!("{raw}: {fault}"));
        let readings: Vec<_> = canonical.readings().iter().map(shown).collect();
        assert_eq!(readings, *expected, "{raw}");
    }
    // everything at once stays within the bound
    let all = of_path("/a%2Fb;c%252Fd%253Be//%2541;%2F;f%2F%2Fg/").unwrap();
    assert!(all.readings().len() > 8);
}

#[test]
fn methods() {
    for method in ["GET", "M-SEARCH", "PROPFIND", "A", &"A".repeat(32)] {
        let canonical = Canonical::new(method, "a", "/", None).unwrap();
        assert_eq!(canonical.method(), method);
    }
    for method in [
        "",
        "get",
        "Get",
        "GET ",
        "G_T",
        "GET1",
        "CONNECT",
        "TRACE",
        "É",
        &"A".repeat(33),
    ] {
        let refused = Canonical::new(method, "a", "/", None).err();
        assert_eq!(refused, Some(Fault::MethodRefused), "{method}");
    }
}

#[test]
fn parts_stand_apart() {
    let canonical = Canonical::new("GET", "API.example:8080", "/a%62/", Some("x=%41&y")).unwrap();
    assert_eq!(canonical.host(), "api.example");
    assert_eq!(canonical.port(), Some(8080));
    assert_eq!(canonical.authority(), "api.example:8080");
    assert_eq!(canonical.path(), "/ab/");
    assert_eq!(canonical.query(), Some("x=%41&y"));
    assert_eq!(canonical.target(), "/ab/?x=%41&y");

    let bare = Canonical::new("GET", "[::1]", "/", None).unwrap();
    assert_eq!(
        (bare.host(), bare.port(), bare.authority()),
        ("[::1]", None, "[::1]")
    );
    assert_eq!((bare.path(), bare.query(), bare.target()), ("/", None, "/"));

    let empty = Canonical::new("GET", "a", "/", Some("")).unwrap();
    assert_eq!((empty.query(), empty.target()), (Some(""), "/?"));
}

#[test]
fn queries() {
    for (query, fault) in [
        ("a=\\", Fault::QueryCharacter),
        ("a#b", Fault::QueryCharacter),
        ("a=1&_Method=DELETE", Fault::MethodOverride),
    ] {
        let refused = Canonical::new("GET", "a", "/", Some(query)).err();
        assert_eq!(refused, Some(fault), "{query}");
    }
    // what is unreadable is a fault of who judges it
    assert!(Canonical::new("GET", "a", "/", Some("a=%zz;b")).is_ok());
}

#[test]
fn debug_leaves_the_query_out() {
    let canonical = Canonical::new("GET", "a", "/b", Some("access_token=hunter2")).unwrap();
    let shown = format!("{canonical:?}");
    assert!(
        shown.contains("/b") && !shown.contains("hunter2"),
        "{shown}"
    );
}

#[test]
fn heads() {
    const H1: Version = Version::HTTP_11;
    const H2: Version = Version::HTTP_2;
    type Case<'c> = (&'c str, Version, &'c [&'c str], Result<&'c str, Fault>);
    let cases: &[Case<'_>] = &[
        ("/a?b", H1, &["Example.com"], Ok("example.com/a?b")),
        ("/a", H1, &["example.com:8080"], Ok("example.com:8080/a")),
        ("/a", H1, &[], Err(Fault::HostInvalid)),
        ("/a", H1, &["a", "a"], Err(Fault::HostInvalid)),
        ("/a", H1, &[""], Err(Fault::HostInvalid)),
        ("/a", H1, &["a, b"], Err(Fault::HostInvalid)),
        ("/a", H1, &["user@a"], Err(Fault::HostInvalid)),
        ("/a", H1, &["é"], Err(Fault::HostInvalid)),
        ("/a", Version::HTTP_10, &["a"], Err(Fault::Framing)),
        ("/a", Version::HTTP_3, &["a"], Err(Fault::Framing)),
        ("//evil.example/a", H1, &["a"], Ok("a//evil.example/a")),
        ("http://a/b", H1, &["a"], Ok("a/b")),
        ("http://A/b", H1, &["a"], Ok("a/b")),
        ("http://a/b", H1, &[], Err(Fault::HostInvalid)),
        ("http://a/b", H1, &["b"], Err(Fault::HostMismatch)),
        ("http://a:80/b", H1, &["a"], Ok("a:80/b")),
        ("https://a/b", H1, &["a:443"], Ok("a/b")),
        ("https://a/b", H1, &["a:80"], Err(Fault::HostMismatch)),
        ("http://u@a/b", H1, &["a"], Err(Fault::HostInvalid)),
        ("http://a./b", H1, &["a."], Err(Fault::HostInvalid)),
        ("ftp://a/b", H1, &["a"], Err(Fault::TargetForm)),
        // RFC 9110, 4.2.3: an empty path is `/`; http::Uri tells it only where a query follows
        ("http://a", H1, &["a"], Ok("a/")),
        ("http://a?b", H1, &["a"], Err(Fault::TargetForm)),
        ("a:80", H1, &["a:80"], Err(Fault::TargetForm)),
        ("a", H1, &["a"], Err(Fault::TargetForm)),
        ("*", H1, &["a"], Err(Fault::TargetForm)),
        ("*", H2, &["a"], Err(Fault::TargetForm)),
        ("https://a/b", H2, &[], Ok("a/b")),
        ("https://a/b", H2, &["A:443"], Ok("a/b")),
        ("https://a/b", H2, &["b"], Err(Fault::HostMismatch)),
        ("https://a/b", H2, &["a", "a"], Err(Fault::HostInvalid)),
        ("/b", H2, &["a"], Ok("a/b")),
        ("/b", H2, &[], Err(Fault::HostInvalid)),
    ];
    for (target, version, hosts, expected) in cases {
        let uri: Uri = target.parse().unwrap();
        let mut headers = HeaderMap::new();
        for host in *hosts {
            let host = http::HeaderValue::from_bytes(host.as_bytes()).unwrap();
            headers.append(http::header::HOST, host);
        }
        let found = Canonical::of(&Method::GET, &uri, *version, &headers);
        let found = found.map(|c| format!("{}{}", c.authority(), c.target()));
        assert_eq!(
            found.as_deref(),
            expected.as_ref().map(|t| *t),
            "{target} {version:?} {hosts:?}"
        );
    }
    let connect = Canonical::of(
        &Method::CONNECT,
        &"a:80".parse().unwrap(),
        H1,
        &HeaderMap::new(),
    );
    assert_eq!(connect.err(), Some(Fault::MethodRefused));
}

/// Every text that an upstream might come to by decoding, cutting parameters and splitting, however often: a
/// cruder way to the same end than the readings.
fn dots_by_some_detour(path: &str) -> bool {
    let mut texts = vec![path.to_owned()];
    for _ in 0..4 {
        let last = texts.last().unwrap();
        let mut next = Vec::new();
        let mut i = 0;
        while i < last.len() {
            let byte =
                path::escaped_byte(last.as_bytes(), i).filter(|_| last.as_bytes()[i] == b'%');
            next.push(byte.unwrap_or(last.as_bytes()[i]));
            i += if byte.is_some() { 3 } else { 1 };
        }
        texts.push(String::from_utf8_lossy(&next).into_owned());
    }
    texts.iter().any(|text| {
        text.split(['/', '\\']).any(|segment| {
            let cut = segment.split(';').next().unwrap();
            [segment, cut].iter().any(|s| matches!(*s, "." | ".."))
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn canonical_is_idempotent_and_free_of_dot_segments(
        path in "/(/|\\.|%2[eEfF5]|%25|%3b|;|a|2|e|f|F|5|%5c|%c3%a9|%61|%20|c){0,12}",
    ) {
        if let Ok(canonical) = of_path(&path) {
            let again = of_path(canonical.path()).unwrap();
            prop_assert_eq!(again.path(), canonical.path());
            prop_assert_eq!(again.readings(), canonical.readings());
            prop_assert_eq!(again.uses(), canonical.uses());
            let segments: Vec<_> = (0..canonical.segments()).map(|i| canonical.segment(i)).collect();
            prop_assert_eq!(segments, (0..again.segments()).map(|i| again.segment(i)).collect::<Vec<_>>());
            prop_assert!(!dots_by_some_detour(&path), "{}", path);
            for piece in canonical.readings().iter().flat_map(|r| &r.pieces) {
                prop_assert!(!matches!(&*piece.text, "." | ".."), "{} {:?}", path, piece);
            }
            prop_assert_eq!(canonical.readings().is_empty(), canonical.uses() == Opaque::default());
        }
    }

    #[test]
    fn a_path_is_its_segments(path in "/[a/]{0,8}") {
        let canonical = of_path(&path).unwrap();
        let segments: Vec<_> = (0..canonical.segments()).map(|i| canonical.segment(i)).collect();
        let end = if canonical.trailing_slash() { "/" } else { "" };
        prop_assert_eq!(format!("/{}{}", segments.join("/"), end), path);
    }

    #[test]
    fn nothing_panics(method in ".{0,8}", host in ".{0,20}", path in "/.{0,40}", query in ".{0,40}") {
        let _ = Canonical::new(&method, &host, &path, Some(&query));
        let parsed = Query::parse(Some(&query));
        for name in parsed.names() {
            let _ = parsed.value(name);
        }
    }
}

/// The WHATWG URL standard's cases as an oracle: a path that we take is one that browsers read the same way.
#[test]
fn whatwg_reads_accepted_paths_alike() {
    let folder = std::env::var("PORTCULLIS_VECTORS").unwrap_or_else(|_| "../shared/vectors".into());
    let Ok(text) = std::fs::read_to_string(format!("{folder}/url/urltestdata.json")) else {
        eprintln!("passed over: no {folder}/url/urltestdata.json");
        return;
    };
    let cases: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let (mut alike, mut refused, mut invalid) = (0, 0, 0);
    for case in &cases {
        let Some(input) = case["input"].as_str() else {
            continue;
        };
        let rest = ["http://", "https://"]
            .iter()
            .find_map(|scheme| input.strip_prefix(scheme));
        let Some(rest) = rest else { continue };
        let target = &rest[rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len())..];
        let path = &target[..target.find(['?', '#']).unwrap_or(target.len())];
        let host = &rest[..rest.len() - target.len()];
        match (
            Canonical::new("GET", host, path, None),
            case["pathname"].as_str(),
        ) {
            (Ok(ours), Some(theirs)) => {
                let theirs = of_path(theirs).unwrap_or_else(|fault| panic!("{input}: {fault}"));
                assert_eq!(ours.path(), theirs.path(), "{input}");
                assert_eq!(Some(ours.host()), case["hostname"].as_str(), "{input}");
                alike += 1;
            }
            (Ok(_), None) => {
                // a host that IDNA refuses; we neither decode nor map names
                assert!(host.contains("xn--"), "only WHATWG refuses {input}");
                invalid += 1;
            }
            (Err(_), _) => refused += 1,
        }
    }
    eprintln!("{alike} alike, {refused} refused by us, {invalid} refused by WHATWG only");
    assert!(alike > 30);
}
