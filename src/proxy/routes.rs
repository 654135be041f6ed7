//! Host and path prefix to route.
//!
//! The most exact host wins, then the longest prefix, on whole segments. A host that is named has only its
//! own routes: what none of them takes doesn't fall through to the routes of any host. Prefixes compare decoded, as the
//! literals of policies do: who asks must not choose between two routes by the spelling of one path.

use std::borrow::Cow;

use hashbrown::HashMap;

use crate::config::Route;

/// The routes of a configuration, by host and prefix.
#[derive(Debug, Default)]
pub struct Routes {
    hosts: HashMap<Box<str>, Prefixes, foldhash::fast::RandomState>,
    any: Prefixes,
}

/// Prefixes without their trailing slash, so that `/` is the empty one.
type Prefixes = HashMap<Box<str>, usize, foldhash::fast::RandomState>;

impl Routes {
    /// Files the routes under their hosts. Of two routes of the same host and prefix the first stays.
    pub fn new(routes: &[Route]) -> Routes {
        let mut table = Routes::default();
        for (index, route) in routes.iter().enumerate() {
            let prefixes = match &route.host {
                Some(host) => table.hosts.entry(host.clone()).or_default(),
                None => &mut table.any,
            };
            let prefix = decoded(route.path.trim_end_matches('/'));
            prefixes.entry(prefix.into()).or_insert(index);
        }
        table
    }

    /// The route's index for a canonical host and path.
    pub fn find(&self, host: &str, path: &str) -> Option<usize> {
        let prefixes = self.hosts.get(host).unwrap_or(&self.any);
        let path = decoded(path);
        let mut prefix = &*path;
        loop {
            if let Some(index) = prefixes.get(prefix) {
                return Some(*index);
            }
            prefix = prefix.rsplit_once('/')?.0;
        }
    }
}

/// A path with its triplets decoded, but for those that would be something else then: `%2F` and `%25`.
fn decoded(path: &str) -> Cow<'_, str> {
    let Some(first) = path.find('%') else {
        return Cow::Borrowed(path);
    };
    let (before, rest) = path.split_at_checked(first).unwrap_or((path, ""));
    let mut bytes = before.as_bytes().to_vec();
    let mut rest = rest.as_bytes();
    while let [byte, tail @ ..] = rest {
        let hex = |digit: &u8| char::from(*digit).to_digit(16);
        let triplet = match rest {
            [b'%', high, low, ..] => hex(high).zip(hex(low)),
            _ => None,
        };
        let octet = triplet.and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        match octet.filter(|octet| !matches!(octet, b'/' | b'%')) {
            Some(octet) => {
                bytes.push(octet);
                rest = rest.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).map_or(Cow::Borrowed(path), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ForwardHeaders;

    fn route(host: Option<&str>, path: &str) -> Route {
        Route {
            name: path.into(),
            host: host.map(Box::from),
            path: path.into(),
            upstream: 0,
            set_headers: Vec::new(),
            forward_headers: ForwardHeaders::Any,
            forward_credential: false,
            opaque: Default::default(),
            upstream_host: None,
            request_timeout: None,
        }
    }

    #[test]
    fn the_most_exact_host_then_the_longest_prefix() {
        let routes = Routes::new(&[
            route(None, "/"),
            route(None, "/api"),
            route(None, "/api/v1/"),
            route(Some("a.example"), "/api"),
        ]);
        for (host, path, expected) in [
            ("b.example", "/", Some(0)),
            ("b.example", "/apis", Some(0)),
            ("b.example", "/api", Some(1)),
            ("b.example", "/api/", Some(1)),
            ("b.example", "/api/v1", Some(2)),
            ("b.example", "/api/v1/x/y", Some(2)),
            ("b.example", "/api/v10", Some(1)),
            ("a.example", "/api/v1", Some(3)),
            ("a.example", "/other", None),
        ] {
            assert_eq!(routes.find(host, path), expected, "{host}{path}");
        }
        assert_eq!(Routes::new(&[route(None, "/api")]).find("x", "/"), None);
    }

    #[test]
    fn the_spelling_of_a_path_chooses_no_route() {
        let routes = Routes::new(&[
            route(None, "/"),
            route(None, "/v1/x:sync"),
            route(None, "/v1/%40scope"),
            route(None, "/v1/é"),
            route(None, "/v1/a%2Fb"),
        ]);
        for (path, expected) in [
            ("/v1/x:sync", 1),
            ("/v1/x%3Async", 1),
            ("/v1/x%3Async/y", 1),
            ("/v1/@scope/p", 2),
            ("/v1/%40scope/p", 2),
            ("/v1/%C3%A9", 3),
            ("/v1/a%2Fb", 4),
            ("/v1/a/b", 0),
            ("/v1/a%252Fb", 0),
        ] {
            assert_eq!(routes.find("x", path), Some(expected), "{path}");
        }
    }
}
