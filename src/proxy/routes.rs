//! Host and path prefix to route.
//!
//! The most exact host wins, then the longest prefix, on whole segments. A host that is named has only its
//! own routes: what none of them takes doesn't fall through to the routes of any host.

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
            let prefix = route.path.trim_end_matches('/');
            prefixes.entry(prefix.into()).or_insert(index);
        }
        table
    }

    /// The route's index for a canonical host and path.
    pub fn find(&self, host: &str, path: &str) -> Option<usize> {
        let prefixes = self.hosts.get(host).unwrap_or(&self.any);
        let mut prefix = path;
        loop {
            if let Some(index) = prefixes.get(prefix) {
                return Some(*index);
            }
            prefix = prefix.rsplit_once('/')?.0;
        }
    }
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
}
