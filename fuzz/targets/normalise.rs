//! Request heads against the canonical form: what is accepted is a fixed point, holds nothing that two readers
//! take in two ways, says what a naive decoder reads, and is the same for every spelling of it.
//!
//! The input is a head as it comes over HTTP/1.1, parsed as hyper does it; after a first line `2` it is that of an
//! HTTP/2 request whose target is the whole URI. Bytes after the head choose the other spelling.

#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use libfuzzer_sys::fuzz_target;
use portcullis::policy::normalise::headers::{self, Forward, Outgoing};
use portcullis::policy::normalise::query::Query;
use portcullis::policy::normalise::{Canonical, Opaque};

fuzz_target!(|data: &[u8]| {
    let Some((head, entropy)) = Head::read(data) else {
        return;
    };
    let checked = headers::check(&head.headers, head.version);
    if checked.is_ok() {
        headers_are_unambiguous(&head.headers);
        goes_on(&head);
    }
    let Ok(canonical) = Canonical::of(&head.method, &head.uri, head.version, &head.headers) else {
        return;
    };
    is_a_fixed_point(&canonical);
    is_clean(&canonical);
    says_what_was_sent(&canonical, &head.uri);
    has_every_reading(&canonical);
    let spelled = spelling(canonical.path(), entropy);
    is_the_same_in_any_spelling(&canonical, &spelled);
    query_says_what_was_sent(canonical.query());
});

struct Head {
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
}

impl Head {
    /// As hyper reads it, and what follows it.
    fn read(data: &[u8]) -> Option<(Head, &[u8])> {
        let (version, data) = match data.strip_prefix(b"2\n") {
            Some(rest) => (Version::HTTP_2, rest),
            None => (Version::HTTP_11, data),
        };
        let mut lines = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut lines);
        let httparse::Status::Complete(length) = request.parse(data).ok()? else {
            return None;
        };
        let mut headers = HeaderMap::new();
        for line in &*request.headers {
            let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
            headers.append(name, HeaderValue::from_bytes(line.value).ok()?);
        }
        let head = Head {
            method: request.method?.parse().ok()?,
            uri: request.path?.parse().ok()?,
            version,
            headers,
        };
        Some((head, &data[length..]))
    }
}

fn headers_are_unambiguous(headers: &HeaderMap) {
    for name in headers.keys() {
        assert!(!name.as_str().contains('_'), "{name}");
        assert!(!name.as_str().contains("method-override"), "{name}");
    }
    for once in [
        "host",
        "authorization",
        "content-type",
        "content-length",
        "transfer-encoding",
    ] {
        assert!(headers.get_all(once).iter().count() <= 1, "{once}");
    }
    let both = headers.contains_key("content-length") && headers.contains_key("transfer-encoding");
    assert!(!both, "two framings");
}

/// Whatever the rules let through, nothing of the connection or of a proxy's own goes on.
fn goes_on(head: &Head) {
    let named = [
        HeaderName::from_static("cookie"),
        HeaderName::from_static("connection"),
    ];
    for forward in [Forward::Any, Forward::Named(&named)] {
        let rules = Outgoing {
            named: &named,
            forward,
            injected: &[HeaderName::from_static("x-injected")],
            forward_credential: false,
            body: true,
            http2: false,
            websocket: false,
        };
        let forwarded = headers::outbound(&head.headers, head.version, &rules);
        for (name, value) in &forwarded {
            let kept = [
                "connection",
                "keep-alive",
                "proxy-connection",
                "te",
                "trailer",
                "transfer-encoding",
                "upgrade",
                "expect",
                "host",
                "forwarded",
                "x-real-ip",
                "x-original-url",
                "x-rewrite-url",
                "x-injected",
                "authorization",
                "proxy-authorization",
                "http2-settings",
            ];
            assert!(!kept.contains(&name.as_str()), "{name}");
            assert!(!name.as_str().starts_with("x-forwarded-"), "{name}");
            assert!(!name.as_str().starts_with("x-portcullis-"), "{name}");
            assert!(
                !value
                    .as_bytes()
                    .iter()
                    .any(|b| matches!(b, b'\r' | b'\n' | 0))
            );
        }
        // In the order and the words in which they came; crumbs of a cookie (RFC 9113, 8.2.3) as one.
        for name in forwarded.keys() {
            let joined = |headers: &HeaderMap| -> Vec<u8> {
                let all: Vec<&[u8]> = headers.get_all(name).iter().map(|v| v.as_bytes()).collect();
                let between: &[u8] = if name == "cookie" { b"; " } else { b"\n" };
                all.join(between)
            };
            assert_eq!(joined(&head.headers), joined(&forwarded), "{name}");
        }
    }
}

/// The parts of the canonical form that make another one equal.
#[derive(Debug, PartialEq)]
struct Parts<'c> {
    method: &'c str,
    authority: &'c str,
    host: &'c str,
    port: Option<u16>,
    target: &'c str,
    path: &'c str,
    query: Option<&'c str>,
    read: Read<'c>,
}

/// What is read in a path, however it is spelled.
#[derive(Debug, PartialEq)]
struct Read<'c> {
    segments: Vec<&'c str>,
    trailing_slash: bool,
    uses: Opaque,
    readings: Vec<Vec<(String, bool)>>,
}

fn read(canonical: &Canonical) -> Read<'_> {
    let pieces = |reading: &portcullis::policy::normalise::Reading| {
        let pieces = reading.pieces.iter();
        pieces
            .map(|piece| (piece.text.to_string(), piece.begins))
            .collect()
    };
    Read {
        segments: segments(canonical),
        trailing_slash: canonical.trailing_slash(),
        uses: canonical.uses(),
        readings: canonical.readings().iter().map(pieces).collect(),
    }
}

fn segments(canonical: &Canonical) -> Vec<&str> {
    (0..canonical.segments())
        .map(|i| canonical.segment(i))
        .collect()
}

fn parts(canonical: &Canonical) -> Parts<'_> {
    Parts {
        method: canonical.method(),
        authority: canonical.authority(),
        host: canonical.host(),
        port: canonical.port(),
        target: canonical.target(),
        path: canonical.path(),
        query: canonical.query(),
        read: read(canonical),
    }
}

fn is_a_fixed_point(canonical: &Canonical) {
    let (method, authority) = (canonical.method(), canonical.authority());
    let again = Canonical::new(method, authority, canonical.path(), canonical.query());
    assert_eq!(parts(&again.expect("what was accepted")), parts(canonical));
    // The same once more by way of the wire, as the next proxy reads it.
    let uri: Uri = canonical.target().parse().expect("a target");
    assert_eq!(uri.to_string(), canonical.target(), "as it is forwarded");
    let host = HeaderValue::from_str(authority).expect("a host");
    let headers = HeaderMap::from_iter([(http::header::HOST, host)]);
    let method = method.parse().expect("a method");
    let again = Canonical::of(&method, &uri, Version::HTTP_11, &headers);
    assert_eq!(parts(&again.expect("what was forwarded")), parts(canonical));
}

fn is_clean(canonical: &Canonical) {
    let (path, uses) = (canonical.path(), canonical.uses());
    assert!(path.starts_with('/'));
    for byte in canonical
        .target()
        .bytes()
        .chain(canonical.authority().bytes())
    {
        assert!(matches!(byte, b'!'..=b'~') && !matches!(byte, b'\\' | b'#' | b'"' | b'<' | b'>'));
    }
    for (at, _) in path.match_indices('%') {
        let hex = &path.as_bytes()[at + 1..at + 3];
        assert!(
            hex.iter().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F')),
            "{path}"
        );
        let byte = u8::from_str_radix(std::str::from_utf8(hex).unwrap(), 16).unwrap();
        assert!(!unreserved(byte), "{path} could be shorter");
    }
    for text in segments(canonical) {
        assert!(!matches!(text, "." | ".."), "{path}");
        assert!(
            !text.contains(|c: char| c.is_control() || c == '\\'),
            "{path}"
        );
        assert!(uses.empty_segments || !text.is_empty(), "{path}");
        assert!(uses.encoded_slash || !text.contains('/'), "{path}");
        assert!(uses.semicolon || !text.contains(';'), "{path}");
    }
    assert_eq!(
        canonical.readings().is_empty(),
        uses == Opaque::default(),
        "{path}"
    );
    assert_eq!(
        canonical.admitted_by(Opaque::default()).is_ok(),
        uses == Opaque::default()
    );
    assert_eq!(canonical.admitted_by(uses), Ok(()));
    for piece in canonical
        .readings()
        .iter()
        .flat_map(|reading| &reading.pieces)
    {
        assert!(!matches!(&*piece.text, "." | ".."), "{path}");
        assert!(
            !piece.text.contains(|c: char| c.is_control() || c == '\\'),
            "{path}"
        );
    }
}

/// The raw target, split and decoded with nothing of the product's.
fn says_what_was_sent(canonical: &Canonical, uri: &Uri) {
    let target = uri.path_and_query().expect("a target").as_str();
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    assert_eq!(canonical.query(), query);
    let mut decoded: Vec<String> = path[1..].split('/').map(decode).collect();
    let trailing = decoded.last().is_some_and(String::is_empty);
    if trailing {
        decoded.pop();
    }
    assert_eq!(segments(canonical), decoded, "{path}");
    assert_eq!(
        canonical.trailing_slash(),
        trailing && path.len() > 1,
        "{path}"
    );
    let any = |test: &dyn Fn(&str) -> bool| decoded.iter().any(|text| test(text));
    let uses = Opaque {
        encoded_slash: any(&|text| text.contains('/')),
        semicolon: any(&|text| text.contains(';')),
        encoded_percent: any(&|text| decode(text) != text),
        empty_segments: any(&str::is_empty),
    };
    assert_eq!(canonical.uses(), uses, "{path}");
    // What is joined is what stood between slashes.
    let whole = canonical.joined(0..decoded.len());
    assert_eq!(whole.is_some(), !uses.encoded_slash, "{path}");
    if let Some(whole) = whole {
        assert_eq!(whole, decoded.join("/"), "{path}");
    }
}

/// What servers are known to do to a path, in the orders in which they are known to do it; each result must be
/// the canonical reading or one of the others, or a forbid would miss it.
fn has_every_reading(canonical: &Canonical) {
    let path = &canonical.path()[1..];
    let split = |path: &str| -> Vec<String> { path.split('/').map(str::to_owned).collect() };
    let each = |list: &[String], f: &dyn Fn(&str) -> String| -> Vec<String> {
        list.iter().map(|text| f(text)).collect()
    };
    let cut = |text: &str| text.split(';').next().unwrap_or_default().to_owned();
    let merged = |list: Vec<String>| -> Vec<String> {
        let last = list.last().is_some_and(String::is_empty);
        let mut kept: Vec<String> = list.into_iter().filter(|text| !text.is_empty()).collect();
        kept.extend(last.then(String::new));
        kept
    };
    let raw = split(path);
    let once = each(&raw, &decode);
    let whole = split(&decode(path));
    let twice = split(&decode(&decode(path)));
    let servers: [(&str, Vec<String>); 12] = [
        ("splits, decodes", once.clone()),
        ("splits, decodes twice", each(&each(&raw, &decode), &decode)),
        ("decodes, splits", whole.clone()),
        ("decodes twice, splits", twice.clone()),
        ("cuts parameters, decodes", each(&each(&raw, &cut), &decode)),
        ("decodes, cuts parameters", each(&once, &cut)),
        ("decodes, splits, cuts parameters", each(&whole, &cut)),
        ("decodes twice, splits, cuts parameters", each(&twice, &cut)),
        (
            "ends at a semicolon, decodes",
            each(&split(&cut(path)), &decode),
        ),
        ("decodes, ends at a semicolon", split(&cut(&decode(path)))),
        ("decodes, merges slashes", merged(whole.clone())),
        (
            "cuts parameters, decodes, merges slashes",
            merged(each(&each(&raw, &cut), &decode)),
        ),
    ];
    let mut known = vec![once];
    let texts = |reading: &portcullis::policy::normalise::Reading| {
        reading
            .pieces
            .iter()
            .map(|piece| piece.text.to_string())
            .collect()
    };
    known.extend(canonical.readings().iter().map(texts));
    // Forbids match with a trailing slash as without, and a reading has the path's own or not.
    let bare = |list: &[String]| -> Vec<String> {
        list.split_last()
            .filter(|(last, _)| last.is_empty())
            .map_or(list, |(_, rest)| rest)
            .to_vec()
    };
    let alike =
        |a: &[String], b: &[String]| a == b || bare(a) == b || a == bare(b) || bare(a) == bare(b);
    for (server, list) in servers {
        assert!(
            known.iter().any(|other| alike(other, &list)),
            "a server that {server} reads {list:?} in {path}; known are {known:?}"
        );
        assert!(
            !list.iter().any(|text| matches!(&**text, "." | "..")),
            "{server}: {path}"
        );
    }
}

/// Another spelling of the path that RFC 3986, section 6.2.2, calls the same.
fn spelling(path: &str, entropy: &[u8]) -> String {
    let mut bits = entropy.iter().cycle().copied();
    let mut next = || bits.next().unwrap_or(0x5A);
    let mut spelled = String::new();
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let choice = next();
        if byte == b'%' {
            spelled.push('%');
            for digit in bytes.by_ref().take(2) {
                let lower = choice & 1 == 1;
                spelled.push(
                    if lower {
                        digit.to_ascii_lowercase()
                    } else {
                        digit
                    }
                    .into(),
                );
            }
        } else if unreserved(byte) && choice & 1 == 1 {
            spelled.push_str(&match choice & 2 {
                0 => format!("%{byte:02x}"),
                _ => format!("%{byte:02X}"),
            });
        } else {
            spelled.push(byte.into());
        }
    }
    spelled
}

fn is_the_same_in_any_spelling(canonical: &Canonical, spelled: &str) {
    let shouted = canonical.authority().to_ascii_uppercase();
    let (method, query) = (canonical.method(), canonical.query());
    let again = Canonical::new(method, &shouted, spelled, query).expect(spelled);
    assert_eq!(parts(&again), parts(canonical));
    // Encoding what is reserved gives another path, but the same segments. (Not `;`: some cut at a plain one only.)
    let encode = |c: char| match c {
        '!' | '$' | '&' | '\'' | '(' | ')' | '*' | '+' | ',' | '=' | ':' | '@' => {
            format!("%{:02X}", u32::from(c))
        }
        c => c.to_string(),
    };
    let encoded: String = canonical.path().chars().map(encode).collect();
    let again = Canonical::new(method, &shouted, &encoded, query).expect(&encoded);
    assert_eq!(read(&again), read(canonical));
}

fn query_says_what_was_sent(raw: Option<&str>) {
    let query = Query::parse(raw);
    let sent: Vec<(&str, &str)> = raw
        .unwrap_or_default()
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .collect();
    assert_eq!(query.is_empty(), sent.is_empty());
    assert_eq!(query.names().count(), sent.len());
    let plain = |text: &str| decode_bytes(&text.replace('+', " "));
    for (name, _) in &sent {
        let name = plain(name);
        let bare = name
            .iter()
            .position(|b| !b" ?".contains(b))
            .map_or(&[][..], |at| &name[at..]);
        assert!(
            !bare.eq_ignore_ascii_case(b"_method"),
            "overrides the method"
        );
    }
    let names: Vec<String> = query.names().map(str::to_owned).collect();
    for name in &names {
        let Ok(value) = query.value(name) else {
            continue;
        };
        assert!(!raw.unwrap_or_default().contains(';'));
        let mut same = sent
            .iter()
            .filter(|(other, _)| plain(other) == name.as_bytes());
        let (_, only) = same.next().expect("the name stands there");
        assert!(same.next().is_none(), "twice: {name}");
        assert_eq!(value.map(str::as_bytes), Some(&*plain(only)), "{name}");
        for (other, _) in &sent {
            let other = plain(other);
            let alike = other.eq_ignore_ascii_case(name.as_bytes()) && other != name.as_bytes();
            assert!(!alike, "a variant of {name}");
        }
    }
}

fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn decode(text: &str) -> String {
    String::from_utf8_lossy(&decode_bytes(text)).into_owned()
}

/// Each `%` before two hex digits.
fn decode_bytes(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let (mut decoded, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let hex = bytes
            .get(at + 1..at + 3)
            .filter(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        match hex.filter(|_| bytes[at] == b'%') {
            Some(hex) => {
                let hex = std::str::from_utf8(hex).unwrap();
                decoded.push(u8::from_str_radix(hex, 16).unwrap());
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    decoded
}
