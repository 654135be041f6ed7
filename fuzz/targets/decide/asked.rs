//! Requests from bytes, most of them near what a policy speaks of.

use super::draw::{Draw, NUMBERS, TEXTS, keep};
use super::properties::generate::{Asked, Caller, PolicyText};

impl Draw<'_> {
    /// A request, mostly about one of the policies; `None` when the input is used up.
    pub(crate) fn asked(&mut self, policies: &[PolicyText]) -> Option<Asked> {
        if self.is_empty() {
            return None;
        }
        let focus = &policies[self.below(policies.len())].operations[0];
        let mut slash = focus.1.len() > 1 && focus.1.ends_with('/');
        let mut segments = self.instance(focus.1);
        match self.below(12) {
            9 => segments.push(self.segment()),
            10 => slash = !slash,
            11 => {
                segments.pop();
            }
            _ => {}
        }
        let first = focus.0.split(',').next().unwrap_or("GET");
        let method = match self.below(6) {
            0 => "POST",
            1 => "HEAD",
            2 => "PUT",
            _ if first == "*" => "GET",
            _ => first,
        };
        let (content_type, body) = self.content();
        Some(Asked {
            method,
            host: self.of(&["h.test", "i.test", "h.test:8443", "b.test"]),
            segments,
            slash,
            query: self.query(),
            headers: self.headers(),
            who: self.caller(),
            client: self.of(&["10.1.2.3", "192.0.2.1", "::ffff:10.0.0.1", "2001:db8::1"]),
            content_type,
            body,
            websocket: self.rarely(16),
            now: self.of(&[
                "2026-03-01T09:00:00Z",
                "2026-03-01T12:00:00Z",
                "2026-03-01T05:59:59Z",
            ]),
        })
    }

    /// The template's literals, with segments for its parameters.
    fn instance(&mut self, template: &'static str) -> Vec<&'static str> {
        let mut path = Vec::new();
        for part in template.split('/').filter(|part| !part.is_empty()) {
            let count = match part {
                "{x*2}" => 2,
                "{y*3}" => 3,
                "{z...}" => 1 + self.below(3),
                _ if part.starts_with('{') => 1,
                literal => {
                    path.push(literal);
                    continue;
                }
            };
            path.extend((0..count).map(|_| self.segment()));
        }
        path
    }

    fn segment(&mut self) -> &'static str {
        self.of(&[
            "a", "b", "A", "ab", "42", "7", "B", "042", "c", "a%2Fb", "a%2fB", "%2Fa", "b;x", ";",
            "%2561", "", "%C3%A9", "a%252Fb", "a%3Bb", "a%2F%2Fb", "%61", "a.b", "1", "a%2Fb;c",
        ])
    }

    fn query(&mut self) -> Option<&'static str> {
        if !self.rarely(2) {
            return None;
        }
        let count = self.below(4);
        let parts: Vec<String> = (0..count).map(|_| self.parameter()).collect();
        Some(keep(parts.join("&")))
    }

    fn parameter(&mut self) -> String {
        let name = self.of(&["q", "r", "s", "Q", "q[]", "q%5B%5D", "%71", "q.x"]);
        let value = self.of(&[
            "a", "b", "42", "1", "", "ag%2Fa", "%zz", "a;b", "042", "%C3%A9", "a+b",
        ]);
        match self.below(8) {
            7 => name.into(),
            _ => format!("{name}={value}"),
        }
    }

    fn headers(&mut self) -> Vec<(&'static str, &'static [u8])> {
        const VALUES: &[&[u8]] = &[b"a", b"42", b"b", b"ag/a", b"", b"\xff", b"1", b"a b"];
        let count = match self.rarely(2) {
            true => self.below(4),
            false => 0,
        };
        let names = ["x-a", "x-b", "x-c", "accept"];
        (0..count)
            .map(|_| (self.of(&names), self.of(VALUES)))
            .collect()
    }

    fn content(&mut self) -> (Option<&'static str>, &'static str) {
        if self.rarely(2) {
            return (None, "");
        }
        let kind = match self.below(12) {
            8 => Some("application/json; charset=utf-8"),
            9 => Some("application/merge-patch+json"),
            10 => Some("text/plain"),
            11 => None,
            _ => Some("application/json"),
        };
        let whole = match self.below(8) {
            6 => self
                .of(&[
                    "[]",
                    "7",
                    "{\"a\":",
                    "\u{feff}{}",
                    "{} {}",
                    "null",
                    "\"a\"",
                    "[{\"a\":1}]",
                    " ",
                ])
                .into(),
            // Keys twice stand only where every policy that reads bodies judges them.
            7 => self
                .of(&[
                    "{\"a\":1,\"a\":1}",
                    "{\"A\":1}",
                    "{\"a\":1e-500}",
                    "{\"b\":\"$x\"}",
                ])
                .into(),
            _ => self.object(2),
        };
        (kind, keep(whole))
    }

    fn object(&mut self, depth: usize) -> String {
        let count = self.below(4);
        let mut seen: Vec<&str> = Vec::new();
        let mut members = Vec::new();
        for _ in 0..count {
            let key = self.of(&["a", "b", "c", "d", "e", "z", "a/b", "A", "C", "D", "\u{e9}"]);
            if !seen.contains(&key) {
                seen.push(key);
                members.push(format!("\"{key}\":{}", self.json(depth)));
            }
        }
        format!("{{{}}}", members.join(","))
    }

    fn json(&mut self, depth: usize) -> String {
        match self.below(8) {
            0 | 1 => self.text(),
            2 => self.of(NUMBERS).into(),
            3 => self.of(&["true", "false", "null", "1.0", "1e0"]).into(),
            4 => self
                .of(&[
                    "[]",
                    "[\"a\"]",
                    "[\"a\",\"b\"]",
                    "[1,\"a\",null]",
                    "[{\"a\":1}]",
                    "[[\"a\"]]",
                ])
                .into(),
            _ if depth == 0 => self.text(),
            _ => self.object(depth - 1),
        }
    }

    fn caller(&mut self) -> Option<Caller> {
        if self.rarely(6) {
            return None;
        }
        let mut maybe = |list: &[&'static str]| {
            let n = self.below(list.len() + 1);
            list.get(n).copied()
        };
        let (agent, user) = (maybe(TEXTS), maybe(TEXTS));
        let groups = self.some_of(&["a", "b", "ag/a", "A", "42"]);
        let mut claims = Vec::new();
        for name in ["t", "n", "l"] {
            let value = match self.below(10) {
                0 => continue,
                1..=3 => keep(self.json(1)),
                4 | 5 => keep(self.text()),
                6 => self.of(NUMBERS),
                7 => "{\"u\":\"a\"}",
                8 => "{\"u\":1}",
                _ => "[\"a\",\"ag/b\"]",
            };
            claims.push((name, value));
        }
        if self.rarely(3) {
            let ends = [
                "\"2026-03-01T09:00:00Z\"",
                "\"2026-03-01T15:00:00Z\"",
                "1772355600",
                "\"soon\"",
            ];
            claims.push(("end", self.of(&ends)));
        }
        Some(Caller {
            agent,
            user,
            groups,
            claims,
            dns: self.rarely(3).then(|| self.some_of(&["a", "b", "b.test"])),
            ends: self
                .rarely(8)
                .then(|| self.of(&["2026-03-01T10:00:00Z", "2027-01-01T00:00:00Z"])),
        })
    }
}
