mod properties;

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
    let opaque = format!("/{}//", "a".repeat(8_192));
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
        (&opaque, Fault::PathTooComplex),
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
        ("/a;/b;x", &["/a/b", "/a;/b", "/a"]),
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

/// Tomcat and Jetty cut parameters before they decode. A forbid on `a;b` was passed over where the call said
/// `a%3Bb;c`: our readings knew `a` and `a;b;c`, and Tomcat reads `a;b`.
#[test]
fn a_parameter_beside_an_encoded_semicolon_hides_no_name() {
    let cases: &[(&str, &[&str])] = &[
        ("/a%3Bb;c", &["/a;b", "/a"]),
        ("/a%3bb;c/d", &["/a;b/d", "/a;b", "/a/d", "/a"]),
        ("/a;c/b%3Bd/", &["/a/b;d", "/a", "/a/b", "/a;c/b"]),
        ("/a;c%3Bd", &["/a"]),
        ("/a%3Bb", &["/a"]),
        ("/q/x%3B/secret;y", &["/q/x;/secret", "/q/x/secret", "/q/x"]),
        (
            "/a;c/b%3Bd;e",
            &["/a/b;d", "/a", "/a;c/b;d", "/a/b", "/a;c/b"],
        ),
    ];
    for (raw, expected) in cases {
        let canonical = of_path(raw).unwrap_or_else(|fault| panic!("{raw}: {fault}"));
        let readings: Vec<_> = canonical.readings().iter().map(shown).collect();
        assert_eq!(readings, *expected, "{raw}");
    }
    for raw in ["/..;a/%3B", "/%3B/.;", "/a/.%2E;%3B"] {
        assert_eq!(of_path(raw).err(), Some(Fault::PathDotSegment), "{raw}");
    }
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
