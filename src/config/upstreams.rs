//! `upstreams`: servers behind names.

use http::Uri;
use http::uri::{PathAndQuery, Scheme};
use rustls::pki_types::ServerName;

use super::load::Loader;
use super::raw::{EJECTION, UPSTREAM};
use super::read::{NOWHERE, Reader};
use super::{Balance, Ejection, Protocol, Upstream, listeners, tls};
use crate::yaml::At;

/// Reads the upstreams.
pub(super) fn read(file: &Reader<'_>, cx: &mut Loader<'_>) -> Vec<Upstream> {
    let mut upstreams = Vec::new();
    let Some(map) = file.value("upstreams") else {
        return upstreams;
    };
    let Some(entries) = map.entries(&mut cx.problems) else {
        return upstreams;
    };
    for (key, at) in entries {
        if !listeners::is_name(&key.text) {
            cx.problems.add(Some(key.mark), at.key(), listeners::NAME);
        }
        upstreams.push(upstream(&key.text, &at, cx).unwrap_or_else(|| stand_in(&key.text)));
    }
    upstreams
}

fn upstream(name: &str, at: &At<'_>, cx: &mut Loader<'_>) -> Option<Upstream> {
    let reader = Reader::open(at, &UPSTREAM, cx)?;
    let addresses_at = reader.value("addresses");
    let addresses = addresses_at.map_or(Vec::new(), |at| addresses(&at, cx));
    let secure = addresses.first().and_then(Uri::scheme) == Some(&Scheme::HTTPS);
    let protocol = match reader.word("protocol", cx) {
        "http2" => Protocol::Http2,
        _ => Protocol::Http1,
    };
    let tls = match reader.written("tls") {
        Some(at) if !secure && !addresses.is_empty() => {
            cx.problem(&at, "TLS is for https addresses; these are http");
            None
        }
        Some(at) => tls::upstream(&at, protocol, cx),
        None if secure => tls::upstream(&reader.value("tls")?, protocol, cx),
        None => None,
    };
    let ejection_at = reader.value("ejection").unwrap_or(At::root(&NOWHERE));
    let ejection = Reader::open(&ejection_at, &EJECTION, cx)?;
    Some(Upstream {
        name: name.into(),
        addresses,
        balance: match reader.word("balance", cx) {
            "round_robin" => Balance::RoundRobin,
            _ => Balance::LeastPending,
        },
        protocol,
        tls,
        ejection: Ejection {
            failures: u32::try_from(ejection.count("failures", cx)?).ok()?,
            rest: ejection.duration("rest", cx)?,
        },
        keep_idle: usize::try_from(reader.count("keep_idle", cx)?).ok()?,
        connect_timeout: reader.duration("connect_timeout", cx)?,
        response_timeout: reader.duration("response_timeout", cx)?,
        idle_timeout: reader.duration("idle_timeout", cx),
    })
}

/// Keeps the place of an upstream that couldn't be read, so that routes to it aren't problems too.
fn stand_in(name: &str) -> Upstream {
    Upstream {
        name: name.into(),
        addresses: Vec::new(),
        balance: Balance::LeastPending,
        protocol: Protocol::Http1,
        tls: None,
        ejection: Ejection {
            failures: 1,
            rest: std::time::Duration::ZERO,
        },
        keep_idle: 0,
        connect_timeout: std::time::Duration::ZERO,
        response_timeout: std::time::Duration::ZERO,
        idle_timeout: None,
    }
}

fn addresses(at: &At<'_>, cx: &mut Loader<'_>) -> Vec<Uri> {
    let mut addresses: Vec<Uri> = Vec::new();
    let items = at.one_or_many();
    if items.is_empty() {
        cx.problem(at, "expected at least one address");
    }
    for item in &items {
        let Some(text) = super::read::text(item, cx) else {
            continue;
        };
        let uri = match server(text) {
            Ok(uri) => uri,
            Err(message) => {
                cx.problem(item, message);
                continue;
            }
        };
        if addresses.iter().any(|other| same_server(other, &uri)) {
            cx.problem(item, "this address stands here twice");
        } else if addresses
            .first()
            .is_some_and(|f| f.scheme() != uri.scheme())
        {
            cx.problem(
                item,
                "expected the scheme of the first address: all http, or all https",
            );
        }
        addresses.push(uri);
    }
    addresses
}

/// Whether two URLs lead to one server; the scheme's port may be written or not.
fn same_server(a: &Uri, b: &Uri) -> bool {
    let port = |uri: &Uri| match uri.scheme_str() {
        Some("https") => uri.port_u16().unwrap_or(443),
        _ => uri.port_u16().unwrap_or(80),
    };
    a.host() == b.host() && port(a) == port(b)
}

/// A server's address: scheme, host and port, nothing else. Messages don't quote it, for it may hold a password.
fn server(text: &str) -> Result<Uri, &'static str> {
    let uri = url(text)?;
    if uri.path() != "/" || uri.query().is_some() {
        return Err("expected no path or query: a request keeps its own");
    }
    Ok(uri)
}

/// An http or https URL with a host that can be connected to, lower-cased up to its path.
pub(super) fn url(text: &str) -> Result<Uri, &'static str> {
    let wanted = "expected a URL such as http://127.0.0.1:9000";
    if text.contains('#') {
        return Err("expected no fragment");
    }
    let mut parts = text.parse::<Uri>().map_err(|_| wanted)?.into_parts();
    let scheme = parts.scheme.as_ref().map(Scheme::as_str);
    if !matches!(scheme, Some("http" | "https")) {
        return Err("expected the scheme http or https");
    }
    let authority = parts.authority.ok_or(wanted)?;
    if authority.as_str().contains('@') {
        return Err("expected no user or password; set a header under `set_headers`");
    }
    let host = authority.host();
    let port = authority.as_str().get(host.len()..).unwrap_or_default();
    if !port.is_empty() && authority.port_u16().is_none_or(|port| port == 0) {
        return Err("expected a port from 1 to 65535");
    }
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    if ServerName::try_from(bare.unwrap_or(host)).is_err() {
        return Err("expected a host name or an IP address");
    }
    let lower = authority.as_str().to_ascii_lowercase();
    parts.authority = Some(lower.parse().map_err(|_| wanted)?);
    parts
        .path_and_query
        .get_or_insert(PathAndQuery::from_static("/"));
    Uri::from_parts(parts).map_err(|_| wanted)
}

/// Whether the URL's host is this machine.
pub(super) fn is_loopback(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    match bare.unwrap_or(host).parse::<std::net::IpAddr>() {
        Ok(ip) => ip.is_loopback(),
        Err(_) => host == "localhost",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers() {
        for (text, expected) in [
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000/"),
            ("https://API.example.com", "https://api.example.com/"),
            ("http://[::1]:80/", "http://[::1]:80/"),
            ("http://api_1:80", "http://api_1:80/"),
        ] {
            assert_eq!(server(text).unwrap().to_string(), expected);
        }
        for (text, why) in [
            ("", "such as"),
            ("127.0.0.1:9000", "scheme"),
            ("ftp://a", "scheme"),
            ("http://", "such as"),
            ("http://a/b", "no path"),
            ("http://a?b", "no path"),
            ("http://a#b", "no fragment"),
            ("http://user:word@a", "no user"),
            ("http://a:0", "port"),
            ("http://a:65536", "port"),
            ("http://a:", "port"),
            ("http://a b", "such as"),
            ("http://*.a", "host name"),
        ] {
            let error = server(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn loopback() {
        for (text, expected) in [
            ("http://127.9.0.1/", true),
            ("http://[::1]:80/", true),
            ("http://LOCALHOST/", true),
            ("http://localhost.example/", false),
            ("http://10.0.0.1/", false),
        ] {
            assert_eq!(is_loopback(&url(text).unwrap()), expected, "{text}");
        }
    }
}
