use http::Method;

use super::*;

pub(super) fn map(headers: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    map
}

const H1: Version = Version::HTTP_11;
const H2: Version = Version::HTTP_2;

#[test]
fn checks() {
    let (accepted, framing) = (Ok(()), Err(Fault::Framing));
    type Case<'c> = (&'c [(&'c str, &'c str)], Version, Result<(), Fault>);
    let cases: &[Case<'_>] = &[
        (&[], H1, accepted),
        (
            &[
                ("Host", "a"),
                ("Accept", "*/*"),
                ("Cookie", "a"),
                ("Cookie", "b"),
            ],
            H1,
            accepted,
        ),
        (&[("Host", "a"), ("Host", "a")], H1, Err(Fault::HostInvalid)),
        (
            &[("Authorization", "a"), ("authorization", "a")],
            H1,
            Err(Fault::HeaderDuplicate),
        ),
        (
            &[("Content-Type", "a/b"), ("Content-Type", "a/b")],
            H1,
            Err(Fault::HeaderDuplicate),
        ),
        (
            &[("Content-Length", "1"), ("Content-Length", "1")],
            H2,
            Err(Fault::HeaderDuplicate),
        ),
        (&[("Content-Length", "1, 1")], H1, framing),
        (&[("Content-Length", "+1")], H1, framing),
        (&[("Content-Length", "01")], H2, framing),
        (&[("Content-Length", "-1")], H2, framing),
        (&[("Content-Length", "0x1")], H1, framing),
        (&[("Content-Length", "")], H1, framing),
        (&[("Content-Length", "0")], H1, accepted),
        (&[("X-Tenant", " a")], H2, Err(Fault::HeaderValue)),
        (&[("X-Tenant", "a ")], H2, Err(Fault::HeaderValue)),
        (&[("X-Tenant", "\ta")], H2, Err(Fault::HeaderValue)),
        (&[("X-Tenant", "a\t")], H2, Err(Fault::HeaderValue)),
        (&[("X-Tenant", " ")], H2, Err(Fault::HeaderValue)),
        (&[("Content-Type", " a/b")], H2, Err(Fault::HeaderValue)),
        (&[("X-Tenant", "a \t b"), ("X-None", "")], H2, accepted),
        (&[("X_Tenant", "a")], H1, Err(Fault::HeaderName)),
        (&[("content_length", "1")], H2, Err(Fault::HeaderName)),
        (
            &[("X-HTTP-Method-Override", "PUT")],
            H1,
            Err(Fault::MethodOverride),
        ),
        (&[("X-HTTP-Method", "PUT")], H2, Err(Fault::MethodOverride)),
        (
            &[("X-Method-Override", "PUT")],
            H1,
            Err(Fault::MethodOverride),
        ),
        (&[("X-Method", "PUT")], H1, Err(Fault::MethodOverride)),
        (
            &[("Method-Override", "PUT")],
            H1,
            Err(Fault::MethodOverride),
        ),
        (
            &[
                ("Access-Control-Request-Method", "PUT"),
                ("Mcp-Method", "tools/call"),
            ],
            H1,
            accepted,
        ),
        // Connection
        (&[("Connection", "keep-alive")], H1, accepted),
        (
            &[("Connection", "Close, TE ,,Trailer"), ("Connection", "")],
            H1,
            accepted,
        ),
        (
            &[("Connection", "close, Authorization")],
            H1,
            Err(Fault::ConnectionNominates),
        ),
        (
            &[("Connection", "close"), ("Connection", "x-tenant")],
            H1,
            Err(Fault::ConnectionNominates),
        ),
        (
            &[("Connection", "content-length")],
            H1,
            Err(Fault::ConnectionNominates),
        ),
        (
            &[("Connection", "keep-alive x")],
            H1,
            Err(Fault::ConnectionNominates),
        ),
        (
            &[("Connection", "\u{e9}")],
            H1,
            Err(Fault::ConnectionNominates),
        ),
        (&[("Connection", "close")], H2, framing),
        (&[("Keep-Alive", "1")], H2, framing),
        (&[("Proxy-Connection", "1")], H2, framing),
        (&[("Keep-Alive", "timeout=5")], H1, accepted),
        // transfer codings
        (&[("Transfer-Encoding", "chunked")], H1, accepted),
        (&[("Transfer-Encoding", "Chunked")], H1, accepted),
        (&[("Transfer-Encoding", "gzip, chunked")], H1, framing),
        (&[("Transfer-Encoding", "chunked, chunked")], H1, framing),
        (
            &[
                ("Transfer-Encoding", "chunked"),
                ("Transfer-Encoding", "chunked"),
            ],
            H1,
            framing,
        ),
        (&[("Transfer-Encoding", "identity")], H1, framing),
        (&[("Transfer-Encoding", "\"chunked\"")], H1, framing),
        (&[("Transfer-Encoding", "")], H1, framing),
        (&[("Transfer-Encoding", "chunked")], H2, framing),
        (
            &[("Transfer-Encoding", "chunked")],
            Version::HTTP_10,
            framing,
        ),
        (
            &[("Transfer-Encoding", "chunked"), ("Content-Length", "5")],
            H1,
            framing,
        ),
        (
            &[("Content-Length", "5"), ("Transfer-Encoding", "chunked")],
            H1,
            framing,
        ),
        // expectations and upgrades
        (&[("Expect", "100-Continue")], H1, accepted),
        (&[("Expect", "100-continue, x")], H1, framing),
        (&[("Expect", "200-ok")], H2, framing),
        (
            &[("Expect", "100-continue"), ("Expect", "100-continue")],
            H1,
            framing,
        ),
        (&[("TE", "gzip")], H1, accepted),
        (&[("Upgrade", "websocket")], H1, accepted),
        (&[("Upgrade", "h2c")], H1, Err(Fault::Upgrade)),
        (&[("Upgrade", "websocket, h2c")], H1, Err(Fault::Upgrade)),
        (&[("Upgrade", "TLS/1.2")], H1, Err(Fault::Upgrade)),
        (&[("HTTP2-Settings", "AAMAAABk")], H1, Err(Fault::Upgrade)),
        (
            &[("Connection", "Upgrade, HTTP2-Settings")],
            H1,
            Err(Fault::Upgrade),
        ),
        (&[("Upgrade", "websocket")], H2, framing),
    ];
    for (headers, version, expected) in cases {
        assert_eq!(
            check(&map(headers), *version),
            *expected,
            "{headers:?} {version:?}"
        );
    }
}

#[test]
fn websockets() {
    let handshake = [
        ("Connection", "keep-alive, Upgrade"),
        ("Upgrade", "WebSocket"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ];
    let check = |method, version, headers: &[(&str, &str)], expected| {
        assert_eq!(
            is_websocket(&method, version, &map(headers)),
            expected,
            "{headers:?}"
        );
    };
    check(Method::GET, H1, &handshake, Ok(true));
    check(Method::GET, H1, &[], Ok(false));
    check(Method::GET, H1, &[("Connection", "keep-alive")], Ok(false));
    check(Method::GET, H1, &[handshake[2], handshake[3]], Ok(false));
    check(Method::POST, H1, &handshake, Err(Fault::Upgrade));
    check(Method::GET, H2, &handshake, Err(Fault::Upgrade));
    check(
        Method::GET,
        Version::HTTP_10,
        &handshake,
        Err(Fault::Upgrade),
    );
    for (at, header) in [
        (0, ("Connection", "keep-alive")),
        (0, ("X", "y")),
        (1, ("Upgrade", "h2c")),
        (1, ("Upgrade", "websocket, websocket")),
        (1, ("X", "y")),
        (2, ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ")),
        (2, ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=")),
        (2, ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZTEy")),
        (2, ("Sec-WebSocket-Key", "dGhl!HNhbXBsZSBub25jZQ==")),
        (2, ("Sec-WebSocket-Key", "")),
        (2, ("X", "y")),
        (3, ("Sec-WebSocket-Version", "8")),
        (3, ("Sec-WebSocket-Version", "13, 8")),
        (3, ("X", "y")),
    ] {
        let mut headers = handshake;
        headers[at] = header;
        check(Method::GET, H1, &headers, Err(Fault::Upgrade));
    }
    for more in [
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
        ("Content-Length", "1"),
        ("Transfer-Encoding", "chunked"),
    ] {
        let mut headers = handshake.to_vec();
        headers.push(more);
        check(Method::GET, H1, &headers, Err(Fault::Upgrade));
    }
}

#[test]
fn singles() {
    let headers = map(&[("a", "1"), ("b", "1"), ("b", "1"), ("d", "é")]);
    let get = |name: &'static str| single(&headers, &HeaderName::from_static(name));
    assert_eq!(get("a"), Ok(Some("1")));
    assert_eq!(get("b"), Err(Fault::HeaderDuplicate));
    assert_eq!(get("c"), Ok(None));
    assert_eq!(get("d"), Ok(Some("é")));
    let mut latin = HeaderMap::new();
    latin.insert("a", HeaderValue::from_bytes(b"\xe9").unwrap());
    let name = HeaderName::from_static("a");
    assert_eq!(single(&latin, &name), Err(Fault::HeaderEncoding));
}

#[test]
fn content_types() {
    use Charset::{Absent, Other, Utf8};
    for (text, essence, charset, other) in [
        ("application/json", "application/json", Absent, false),
        ("Application/JSON", "application/json", Absent, false),
        (
            "application/json;charset=utf-8",
            "application/json",
            Utf8,
            false,
        ),
        (
            "application/json ; Charset=\"UTF-8\"",
            "application/json",
            Utf8,
            false,
        ),
        ("application/json;", "application/json", Absent, false),
        (
            "application/json; ;charset=utf8;",
            "application/json",
            Utf8,
            false,
        ),
        (
            "application/json; charset=utf-16",
            "application/json",
            Other,
            false,
        ),
        (
            "application/json; charset=\"utf-7\"",
            "application/json",
            Other,
            false,
        ),
        (
            "application/json; profile=x",
            "application/json",
            Absent,
            true,
        ),
        (
            "multipart/form-data; boundary=\"a b;c\"; charset=utf-8",
            "multipart/form-data",
            Utf8,
            true,
        ),
        (
            "application/vnd.api+json",
            "application/vnd.api+json",
            Absent,
            false,
        ),
    ] {
        let headers = map(&[("content-type", text)]);
        let found = content_type(&headers).unwrap().unwrap();
        assert_eq!(
            (&*found.essence, found.charset, found.other_parameters),
            (essence, charset, other),
            "{text}"
        );
        assert_eq!(found.fits(essence), charset != Other && !other, "{text}");
        assert!(!found.fits("text/plain"), "{text}");
    }
    for malformed in [
        "",
        "json",
        "/",
        "application/",
        "/json",
        "application/json, text/plain",
        "application/json text/plain",
        "application/json/x",
        "application/json; charset",
        "application/json; charset=",
        "application/json; charset =utf-8",
        "application/json; charset=utf-8 x",
        "application/json; charset=\"utf-8",
        "application/json; charset=\"utf-8\"x",
        "application/json; charset=\"ut\\f-8\"",
        "application/json; charset=utf-8; charset=utf-8",
        "application/json; =x",
        "application/jsön",
    ] {
        let headers = map(&[("content-type", malformed)]);
        let found = content_type(&headers).unwrap().unwrap();
        assert_eq!(found.essence, "", "{malformed}");
        assert!(
            !found.fits("") && !found.fits("application/json"),
            "{malformed}"
        );
    }
    assert_eq!(content_type(&HeaderMap::new()), Ok(None));
    let two = map(&[("content-type", "a/b"), ("content-type", "a/c")]);
    assert_eq!(content_type(&two), Err(Fault::HeaderDuplicate));
}
