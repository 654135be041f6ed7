//! `routes`: host and path prefix to upstream.

use http::HeaderValue;

use super::load::Loader;
use super::raw::ROUTE;
use super::read::{Reader, text, word};
use super::{ForwardHeaders, Route, Upstream, listeners, secrets};
use crate::policy::normalise::{self, Opaque};
use crate::yaml::{At, Yaml, nearest};

/// Reads the routes. Upstreams that none leads to get a warning.
pub(super) fn read(file: &Reader<'_>, upstreams: &[Upstream], cx: &mut Loader<'_>) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    let Some(list) = file.value("routes") else {
        return routes;
    };
    for at in list.items(&mut cx.problems) {
        if let Some(route) = route(&at, &routes, upstreams, cx) {
            routes.push(route);
        }
    }
    if matches!(&list.node.value, Yaml::List(items) if items.is_empty()) {
        cx.problem(&list, "expected at least one route");
    }
    if let Some(map) = file.value("upstreams") {
        for (i, upstream) in upstreams.iter().enumerate() {
            if !routes.iter().any(|route| route.upstream == i) {
                let name = &upstream.name;
                cx.warn(&map, format!("no route leads to the upstream `{name}`"));
            }
        }
    }
    routes
}

fn route(
    at: &At<'_>,
    others: &[Route],
    upstreams: &[Upstream],
    cx: &mut Loader<'_>,
) -> Option<Route> {
    let reader = Reader::open(at, &ROUTE, cx)?;
    let host_at = reader.written("host");
    let host = host_at.as_ref().and_then(|at| host(at, cx));
    let path_at = reader.value("path")?;
    let path = text(&path_at, cx).unwrap_or("/");
    if let Err(message) = check_path(path) {
        cx.problem(&path_at, message);
    }
    let written = reader.written("name");
    let name = match &written {
        Some(at) => listeners::name(at, cx).unwrap_or_default().to_owned(),
        None => format!("{}{path}", host.as_deref().unwrap_or_default()),
    };
    // A host that can't be read is a problem already, and isn't any host.
    let known = host.is_some() || host_at.is_none();
    let twin = |other: &&Route| known && other.host == host && *other.path == *path;
    if let Some(other) = others.iter().find(twin) {
        let other = &other.name;
        cx.problem(at, format!("route `{other}` has this host and path"));
    } else if !name.is_empty() && others.iter().any(|other| *other.name == *name) {
        cx.problem(
            written.as_ref().unwrap_or(at),
            format!("a second route named `{name}`"),
        );
    }
    let set_at = reader.value("set_headers");
    let set_headers = set_at.map_or(Vec::new(), |at| secrets::headers(&at, cx));
    let forward_headers = forward_headers(&reader, cx);
    if let ForwardHeaders::Named(names) = &forward_headers {
        for (set, _) in set_headers.iter().filter(|(set, _)| names.contains(set)) {
            let message = format!("{set} is under `set_headers`; the client's is never forwarded");
            cx.problem(&reader.value("forward_headers")?, message);
        }
    }
    let upstream_host = reader
        .value("upstream_host")
        .filter(|at| !at.is_word("keep"));
    Some(Route {
        name: name.into(),
        host,
        path: path.into(),
        upstream: upstream(&reader, upstreams, cx).unwrap_or(usize::MAX),
        set_headers,
        forward_headers,
        forward_credential: reader.flag("forward_credential", cx),
        opaque: opaque(&reader, cx),
        upstream_host: upstream_host.and_then(|at| authority(&at, cx)),
        request_timeout: reader.duration("request_timeout", cx),
    })
}

fn upstream(reader: &Reader<'_>, upstreams: &[Upstream], cx: &mut Loader<'_>) -> Option<usize> {
    let at = reader.value("upstream")?;
    let name = text(&at, cx)?;
    let found = upstreams.iter().position(|u| *u.name == *name);
    if found.is_none() {
        let names: Vec<&str> = upstreams.iter().map(|u| &*u.name).collect();
        cx.problem(
            &at,
            match nearest(name, &names) {
                Some(near) => format!("there is no upstream `{name}`; did you mean `{near}`?"),
                None => format!("there is no upstream `{name}`; known: {}", names.join(", ")),
            },
        );
    }
    found
}

fn forward_headers(reader: &Reader<'_>, cx: &mut Loader<'_>) -> ForwardHeaders {
    let Some(at) = reader.value("forward_headers") else {
        return ForwardHeaders::Named(Vec::new());
    };
    if at.is_word("any") {
        return ForwardHeaders::Any;
    }
    if !matches!(at.node.value, Yaml::List(_)) {
        cx.problem(&at, "expected a list of header names, or `any`");
    }
    let mut names = Vec::new();
    for item in at.one_or_many() {
        let Some(text) = text(&item, cx) else {
            continue;
        };
        match secrets::forwardable(text) {
            Ok(name) if names.contains(&name) => cx.problem(&item, "this name stands here twice"),
            Ok(name) => names.push(name),
            Err(message) => cx.problem(&item, message),
        }
    }
    ForwardHeaders::Named(names)
}

fn opaque(reader: &Reader<'_>, cx: &mut Loader<'_>) -> Opaque {
    let mut opaque = Opaque::default();
    let Some(at) = reader.value("allow") else {
        return opaque;
    };
    for item in at.one_or_many() {
        match word(&item, reader.words("allow"), cx) {
            Some("encoded_slash") => opaque.encoded_slash = true,
            Some("semicolon") => opaque.semicolon = true,
            Some("encoded_percent") => opaque.encoded_percent = true,
            Some("empty_segments") => opaque.empty_segments = true,
            Some(_) | None => {}
        }
    }
    opaque
}

/// A host as requests are compared with it: lower-case, no port.
fn host(at: &At<'_>, cx: &mut Loader<'_>) -> Option<Box<str>> {
    let lower = text(at, cx)?.to_ascii_lowercase();
    let message = if is_host(&lower) {
        match normalise::check_host(&lower) {
            Ok(()) => return Some(lower.into()),
            Err(wrong) => {
                cx.problem(at, wrong);
                return None;
            }
        }
    } else if lower.contains('*') {
        "expected one exact host; leave it away for any, or write a route for each"
    } else if lower.ends_with('.') {
        "expected no trailing dot"
    } else {
        "expected a host without port, such as api.example.com"
    };
    cx.problem(at, message);
    None
}

/// A host with its port, if any, as it is sent to an upstream.
fn authority(at: &At<'_>, cx: &mut Loader<'_>) -> Option<HeaderValue> {
    let text = text(at, cx)?;
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port_fits = port.is_none_or(|port| {
        !port.starts_with(['0', '+']) && port.parse::<u16>().is_ok_and(|port| port != 0)
    });
    if !is_host(&host.to_ascii_lowercase()) || !port_fits {
        cx.problem(at, "expected `keep`, or a host with its port, if any");
        return None;
    }
    HeaderValue::from_str(text).ok()
}

fn is_host(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    host.len() <= 253
        && host.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
        })
}

/// A prefix is written as requests' paths are compared with it: in canonical form, as whole segments.
fn check_path(path: &str) -> Result<(), String> {
    let Some(rest) = path.strip_prefix('/') else {
        let path = path.trim_end_matches('/');
        return Err(format!("expected a path that begins with `/`: `/{path}`"));
    };
    if rest.is_empty() {
        return Ok(());
    }
    if let Some(segments) = path.strip_suffix('/')
        && !segments.ends_with('/')
    {
        return Err(format!("a prefix is of whole segments: write `{segments}`"));
    }
    for segment in rest.split('/') {
        match segment {
            "" => return Err("expected no empty segment".to_owned()),
            "." | ".." => return Err("expected no dot segment".to_owned()),
            _ => check_segment(segment)?,
        }
    }
    Ok(())
}

fn check_segment(segment: &str) -> Result<(), String> {
    let mut decoded = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            // RFC 3986's pchar, but for `;`, on which parsers differ.
            if !byte.is_ascii_alphanumeric() && !b"-._~!$&'()*+,=:@".contains(&byte) {
                return Err(match byte {
                    b'*' | b'{' | b'}' => "expected a plain prefix, no pattern".to_owned(),
                    b';' | b'\\' | b'?' | b'#' => {
                        format!("`{}` can't stand in a path prefix", char::from(byte))
                    }
                    _ => "a character that must be percent-encoded".to_owned(),
                });
            }
            decoded.push(byte);
            continue;
        }
        let hex = |byte: Option<u8>| {
            char::from(byte?)
                .to_digit(16)
                .filter(|_| byte.is_some_and(|b| !b.is_ascii_lowercase()))
        };
        let (Some(high), Some(low)) = (hex(bytes.next()), hex(bytes.next())) else {
            return Err("expected two upper-case hex digits after `%`".to_owned());
        };
        let byte = u8::try_from(high * 16 + low).unwrap_or_default();
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            let plain = char::from(byte);
            return Err(format!("`%{byte:02X}` is `{plain}`; write it plainly"));
        }
        if byte.is_ascii_control() || b"%/;\\".contains(&byte) {
            return Err(format!("`%{byte:02X}` can't stand in a path prefix"));
        }
        decoded.push(byte);
    }
    match String::from_utf8(decoded) {
        Ok(_) => Ok(()),
        Err(_) => Err("expected UTF-8 once decoded".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for path in [
            "/",
            "/api",
            "/api/v1",
            "/caf%C3%A9",
            "/a%20b",
            "/a=b,c:@",
            "/..a",
        ] {
            assert_eq!(check_path(path), Ok(()), "{path}");
        }
        for (path, why) in [
            ("api", "`/api`"),
            ("/api/", "write `/api`"),
            ("//", "empty segment"),
            ("/a//b", "empty segment"),
            ("/a/../b", "dot segment"),
            ("/.", "dot segment"),
            ("/%2E", "write it plainly"),
            ("/%2e", "upper-case"),
            ("/%4", "two upper-case"),
            ("/%C3", "UTF-8"),
            ("/%2F", "can't stand"),
            ("/%25", "can't stand"),
            ("/%00", "can't stand"),
            ("/a;b", "can't stand"),
            ("/a\\b", "can't stand"),
            ("/a?b", "can't stand"),
            ("/{a}", "no pattern"),
            ("/é", "percent-encoded"),
            ("/a b", "percent-encoded"),
        ] {
            let error = check_path(path).unwrap_err();
            assert!(error.contains(why), "{path}: {error}");
        }
    }

    /// A route to a host that no request has is never taken, and the next best one is.
    #[test]
    fn a_host_is_one_that_requests_can_have() {
        for host in ["127.1", "[2001:db8:0:0::1]", "0x7f.0x1", "1.2.3.4.5"] {
            assert!(is_host(host), "{host}");
            assert!(normalise::check_host(host).is_err(), "{host}");
        }
    }

    #[test]
    fn hosts() {
        for host in ["a", "api.example.com", "127.0.0.1", "[::1]", "a_b.c"] {
            assert!(is_host(host), "{host}");
        }
        for host in [
            "", ".", "a.", ".a", "a..b", "-a", "a-", "*.a", "a:80", "[::1", "[a]", "a/b", "ä",
        ] {
            assert!(!is_host(host), "{host}");
        }
    }
}
