use super::super::tests::map;
use super::*;

const H1: Version = Version::HTTP_11;
const H2: Version = Version::HTTP_2;

/// Every header that a hostile client might send, and a few that a friendly one does.
fn incoming() -> HeaderMap {
    map(&[
        ("accept", "*/*"),
        ("accept", "text/html"),
        ("authorization", "Bearer secret"),
        ("baggage", "a=b"),
        ("cf-connecting-ip", "1.2.3.4"),
        ("client-cert", ":x:"),
        ("connection", "close"),
        ("content-range", "bytes 0-1/2"),
        ("cookie", "a=b"),
        ("expect", "100-continue"),
        ("forwarded", "for=1.2.3.4"),
        ("host", "a"),
        ("if-match", "x"),
        ("keep-alive", "1"),
        ("mcp-name", "delete"),
        ("mcp-session-id", "s"),
        ("origin", "https://a"),
        ("proxy-authorization", "x"),
        ("proxy-connection", "x"),
        ("range", "bytes=0-1"),
        ("sec-websocket-key", "x"),
        ("te", "gzip, trailers"),
        ("trailer", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("x-api-key", "client's"),
        ("x-forwarded", "x"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-client-cert", "x"),
        ("x-original-method", "PUT"),
        ("x-original-url", "/admin"),
        ("x-portcullis-decision", "x"),
        ("x-real-ip", "1.2.3.4"),
        ("x-remote-user", "root"),
        ("x-rewrite-url", "/admin"),
        ("x-tenant", "a"),
        ("x.forwarded.for", "1.2.3.4"),
    ])
}

const NOTHING: Outgoing<'static> = Outgoing {
    named: &[],
    forward: Forward::Named(&[]),
    injected: &[],
    forward_credential: false,
    body: true,
    http2: false,
    websocket: false,
};

fn names(incoming: &HeaderMap, version: Version, rules: &Outgoing<'_>) -> Vec<String> {
    let forwarded = outbound(incoming, version, rules);
    let mut names: Vec<_> = forwarded.iter().map(|(n, _)| n.to_string()).collect();
    names.sort();
    names
}

#[test]
fn outbound_passes_what_is_inert_named_or_let_through() {
    let incoming = incoming();
    let inert = ["accept", "accept", "if-match", "mcp-session-id"];
    assert_eq!(names(&incoming, H1, &NOTHING), inert);

    // a removed header is removed whoever names it
    let named: Vec<HeaderName> = incoming.keys().cloned().collect();
    let everything = [
        "accept",
        "accept",
        "baggage",
        "cf-connecting-ip",
        "client-cert",
        "content-range",
        "cookie",
        "if-match",
        "mcp-name",
        "mcp-session-id",
        "origin",
        "range",
        "x-original-method",
        "x-remote-user",
        "x-tenant",
        "x.forwarded.for",
    ];
    let injected = [HeaderName::from_static("x-api-key")];
    let by_permit = Outgoing {
        named: &named,
        injected: &injected,
        ..NOTHING
    };
    let by_route = Outgoing {
        forward: Forward::Named(&named),
        injected: &injected,
        ..NOTHING
    };
    assert_eq!(names(&incoming, H1, &by_permit), everything);
    assert_eq!(names(&incoming, H1, &by_route), everything);

    let any = Outgoing {
        forward: Forward::Any,
        injected: &injected,
        ..NOTHING
    };
    let passed = [
        "accept",
        "accept",
        "baggage",
        "content-range",
        "cookie",
        "if-match",
        "mcp-name",
        "mcp-session-id",
        "origin",
        "range",
        "x-tenant",
    ];
    assert_eq!(names(&incoming, H1, &any), passed);
}

#[test]
fn any_is_no_header_that_a_server_believes() {
    let any = Outgoing {
        forward: Forward::Any,
        ..NOTHING
    };
    for name in [
        "client-ip",
        "http-client-ip",
        "http-x-forwarded-for",
        "path-info",
        "proxy-client-ip",
        "remote-addr",
        "remote-user",
        "script-name",
        "ssl-cert",
        "ssl-client-s-dn",
        "ssl-client-verify",
        "wl-proxy-client-ip",
        "x-accel-buffering",
        "x-accel-redirect",
        "x-arr-clientcert",
        "x-arr-ssl",
        "x-client-verify",
        "x-http-path-override",
        "x-middleware-prefetch",
        "x-middleware-subrequest",
        "x-override-url",
        "x-sendfile-type",
        "x-ssl-cert",
        "x-ssl-client-s-dn",
    ] {
        let incoming = map(&[(name, "x")]);
        assert!(names(&incoming, H1, &any).is_empty(), "{name}");
        // Who names it means it.
        let named = [HeaderName::from_static(name)];
        for rules in [
            Outgoing {
                named: &named,
                ..NOTHING
            },
            Outgoing {
                forward: Forward::Named(&named),
                ..NOTHING
            },
        ] {
            assert_eq!(names(&incoming, H1, &rules), [name]);
        }
    }
    // Names that only look like those.
    for name in ["remote-addresses", "scripts", "x-acceleration", "x-clients"] {
        assert_eq!(names(&map(&[(name, "x")]), H1, &any), [name]);
    }
}

#[test]
fn outbound_passes_the_credential_only_where_told() {
    let incoming = map(&[("authorization", "Bearer secret")]);
    let told = Outgoing {
        forward_credential: true,
        ..NOTHING
    };
    assert_eq!(names(&incoming, H1, &told), ["authorization"]);
    let injected = [header::AUTHORIZATION];
    let replaced = Outgoing {
        injected: &injected,
        ..told
    };
    assert!(names(&incoming, H1, &replaced).is_empty());
}

#[test]
fn outbound_passes_te_range_and_handshakes_in_their_place() {
    let te = map(&[("te", "gzip"), ("te", "Trailers")]);
    let http2 = Outgoing {
        http2: true,
        ..NOTHING
    };
    assert_eq!(outbound(&te, H2, &http2).get("te").unwrap(), "trailers");
    assert!(names(&te, H2, &NOTHING).is_empty());
    assert!(names(&te, H1, &http2).is_empty());
    assert!(names(&map(&[("te", "gzip")]), H2, &http2).is_empty());

    // A body of HTTP/2 comes without a word in the head.
    let range = map(&[("range", "x")]);
    let bodiless = Outgoing {
        body: false,
        ..NOTHING
    };
    assert_eq!(names(&range, H2, &bodiless), ["range"]);
    assert!(names(&range, H2, &NOTHING).is_empty());

    let key = map(&[("sec-websocket-key", "x"), ("sec-websocket-accept", "x")]);
    let websocket = Outgoing {
        websocket: true,
        ..NOTHING
    };
    assert_eq!(names(&key, H1, &websocket), ["sec-websocket-key"]);
    assert!(names(&key, H1, &NOTHING).is_empty());
}

#[test]
fn responses_lose_what_is_the_connections() {
    let response = [
        ("connection", "keep-alive, X-Hop"),
        ("connection", "upgrade"),
        ("content-length", "5"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("proxy-connection", "x"),
        ("te", "x"),
        ("trailer", "x-sum"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("x-end", "1"),
        ("x-hop", "1"),
    ];
    let mut headers = map(&response);
    strip_response(&mut headers);
    let mut left: Vec<_> = headers
        .iter()
        .map(|(n, v)| format!("{n}: {}", v.to_str().unwrap()))
        .collect();
    left.sort();
    assert_eq!(left, ["content-length: 5", "trailer: x-sum", "x-end: 1"]);
}

#[test]
fn crumbs_of_cookies_are_one_header_in_http1() {
    let cookies = |came: &[(&str, &str)], version, http2| -> Vec<String> {
        let rules = Outgoing {
            forward: Forward::Any,
            http2,
            ..NOTHING
        };
        let forwarded = outbound(&map(came), version, &rules);
        let values = forwarded.get_all(header::COOKIE).iter();
        values.map(|v| v.to_str().unwrap().to_owned()).collect()
    };
    let crumbs = [("cookie", "a=1"), ("x", "y"), ("cookie", "b=2; c=3")];
    assert_eq!(cookies(&crumbs, H2, false), ["a=1; b=2; c=3"]);
    assert_eq!(cookies(&crumbs, H2, true), ["a=1", "b=2; c=3"]);
    // what an HTTP/1.1 client sends is nobody's to repair
    assert_eq!(cookies(&crumbs, H1, false), ["a=1", "b=2; c=3"]);
    assert_eq!(cookies(&crumbs[..1], H2, false), ["a=1"]);
    assert!(cookies(&[], H2, false).is_empty());
}
