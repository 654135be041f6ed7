//! The URL standard's cases as request targets: what is accepted has the scheme, host, port, path and query
//! that a browser reads; what a browser reads otherwise, or not at all, is refused.
//!
//! The `url` matcher has the same oracle in `src/policy/matcher/url.rs`.

use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use portcullis::policy::Canonical;
use portcullis::policy::normalise::Opaque;
use serde_json::Value;

use crate::{Figures, folder};

/// A case of the suite: what stands there, and what a browser reads.
struct Case {
    input: String,
    base: Option<String>,
    /// `None` where it reads nothing.
    read: Option<Read>,
}

struct Read {
    protocol: String,
    hostname: String,
    port: String,
    pathname: String,
    search: String,
}

fn cases() -> Option<Vec<Case>> {
    let file = folder("url")?.join("urltestdata.json");
    let all: Vec<Value> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let text = |case: &Value, key: &str| case[key].as_str().map(str::to_owned);
    let read = |case: &Value| {
        Some(Read {
            protocol: text(case, "protocol")?,
            hostname: text(case, "hostname")?,
            port: text(case, "port")?,
            pathname: text(case, "pathname")?,
            search: text(case, "search")?,
        })
    };
    let cases = all.iter().filter_map(|case| {
        Some(Case {
            input: text(case, "input")?,
            base: text(case, "base"),
            read: read(case),
        })
    });
    Some(cases.collect())
}

/// The target as hyper reads it, and then we.
fn target(text: &str, host: Option<&str>) -> Option<(Uri, Canonical)> {
    let uri = text.parse::<Uri>().ok()?;
    let named = uri.authority().map(|authority| authority.as_str());
    let host = host.or(named).unwrap_or("example.com");
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_str(host).ok()?);
    let read = Canonical::of(&Method::GET, &uri, Version::HTTP_11, &headers).ok()?;
    (read.uses() == Opaque::default()).then_some((uri, read))
}

/// A path in our one form, where it has one.
fn path(raw: &str) -> Option<String> {
    let read = Canonical::new("GET", "a", raw, None).ok()?;
    Some(read.path().to_owned())
}

#[test]
fn urls_as_absolute_targets() {
    let Some(cases) = cases() else {
        return;
    };
    let mut figures = Figures::default();
    for Case { input, read, .. } in &cases {
        if input.contains('#') {
            figures
                .pass_over("have a fragment, which is refused on the wire before it is a target");
            continue;
        }
        let absolute = target(input, None).filter(|(uri, _)| uri.authority().is_some());
        figures.count(absolute.is_some());
        let Some((uri, ours)) = absolute else {
            continue;
        };
        let Some(read) = read else {
            // Whether Punycode is sound isn't looked at: unsound, it is nobody's host.
            assert!(ours.host().contains("xn--"), "{input}: no URL to browsers");
            continue;
        };
        let scheme = uri.scheme_str().unwrap_or_default();
        assert_eq!(format!("{scheme}:"), read.protocol, "{input}");
        assert_eq!(ours.host(), read.hostname, "{input}");
        let default = if scheme == "https" { 443 } else { 80 };
        let port = if read.port.is_empty() {
            default
        } else {
            read.port.parse().unwrap()
        };
        assert_eq!(ours.port().unwrap_or(default), port, "{input}");
        assert_eq!(
            Some(ours.path().to_owned()),
            path(&read.pathname),
            "{input}"
        );
        assert_eq!(query(&ours), unescaped(&read.search), "{input}");
    }
    figures.tell("WHATWG URLs, as absolute targets", 40, 600);
}

#[test]
fn urls_as_origin_targets() {
    let Some(cases) = cases() else {
        return;
    };
    let mut figures = Figures::default();
    for Case { input, base, read } in &cases {
        let base = base.as_deref().and_then(|base| base.parse::<Uri>().ok());
        let host = base.as_ref().and_then(Uri::host);
        if input.contains('#') {
            figures.pass_over("have a fragment");
            continue;
        }
        let origin = target(input, host).filter(|(uri, _)| uri.authority().is_none());
        figures.count(origin.is_some());
        let Some((_, ours)) = origin else {
            continue;
        };
        // Only what begins with a slash is one; what a browser makes of it by its base is the same path, on the same host.
        assert!(input.starts_with('/'), "{input}");
        let (Some(read), Some(base)) = (read, &base) else {
            continue;
        };
        if !matches!(base.scheme_str(), Some("http" | "https")) {
            continue;
        }
        assert_eq!(Some(read.hostname.as_str()), base.host(), "{input}");
        assert_eq!(
            Some(ours.path().to_owned()),
            path(&read.pathname),
            "{input}"
        );
        assert_eq!(query(&ours), unescaped(&read.search), "{input}");
    }
    figures.tell("WHATWG URLs, as origin targets", 15, 600);
}

/// What browsers send after they have read a URL is accepted, but for what DESIGN 4 refuses: a control that the
/// two tests above don't pass by refusing all.
#[test]
fn what_browsers_send_is_read_as_they_mean_it() {
    let Some(cases) = cases() else {
        return;
    };
    let mut figures = Figures::default();
    for Case { read, .. } in &cases {
        let Some(read) = read else {
            figures.pass_over("are no URL");
            continue;
        };
        if !matches!(read.protocol.as_str(), "http:" | "https:") {
            figures.pass_over("are of other schemes");
            continue;
        }
        let host = match read.port.as_str() {
            "" => read.hostname.clone(),
            port => format!("{}:{port}", read.hostname),
        };
        let sent = format!("{}{}", read.pathname, read.search);
        let got = target(&sent, Some(&host));
        figures.count(got.is_some());
        let Some((_, ours)) = got else {
            continue;
        };
        assert_eq!(ours.host(), read.hostname, "{sent}");
        assert_eq!(Some(ours.path().to_owned()), path(&read.pathname), "{sent}");
        assert_eq!(query(&ours), unescaped(&read.search), "{sent}");
    }
    figures.tell("WHATWG URLs, as browsers send them", 150, 20);
}

/// `?` and the query, or nothing; a browser drops a lone `?`.
fn query(ours: &Canonical) -> String {
    match ours.query() {
        None | Some("") => String::new(),
        Some(query) => unescaped(&format!("?{query}")),
    }
}

/// A browser escapes an apostrophe in a query, which RFC 3986 doesn't ask for. Both are one character.
fn unescaped(query: &str) -> String {
    query.replace("%27", "'")
}
