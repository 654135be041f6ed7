//! A policy file from bytes, one byte a choice: right in its form, and mostly in what it says, so that what lies
//! behind the YAML parser is reached. Now and then a value stands where another kind is wanted.

use std::fmt::Write as _;

const KEYS: &[&str] = &[
    "about", "effect", "mode", "host", "path", "query", "headers", "client", "body", "when",
    "unless", "upgrade", "then", "who", "needs", "limits",
];
const OPERATIONS: &[&str] = &[
    "GET",
    "*",
    "POST",
    "PUT,PATCH",
    "HEAD",
    "get",
    "GET,GET",
    "PROPFIND",
];
const SEGMENTS: &[&str] = &[
    "a",
    "{x}",
    "{y}",
    "{x*2}",
    "{y:[a-z]+}",
    "b%2Fc",
    "%C3%A9",
    "{x:(a|b)*}",
    "A",
    "{z:\\\\d{1,3}}",
    "{x*16}",
    "a;b",
    "{y:.{0,1000}}",
    "%7Bx%7D",
    "",
    ".",
    "{z:(?i)\\\\p{Greek}+}",
    "%ff",
    "{x:[^/]{1,200}}",
    "a{x}",
];
const FACTS: &[&str] = &[
    "agent",
    "user",
    "groups",
    "claims/t",
    "claims/o/u",
    "workload",
    "provider",
    "session",
    "task",
    "cert/spiffe_id",
    "cert/dns",
    "cert/email",
    "cert/fingerprint",
    "claims",
    "claims/~2",
    "client/ip",
];
const REFERENCES: &[&str] = &[
    "$claims/t",
    "$path/x",
    "$query/q",
    "$body/a",
    "$agent",
    "$claims/o/u",
    "$headers/x-a",
    "$groups",
    "$$a",
    "$x",
];
const TEXTS: &[&str] = &[
    "a",
    "b",
    "",
    "ag/*",
    "**",
    "a*b",
    "*",
    "a.test",
    "*.test",
    "10.0.0.0/8",
    "::1/128",
    "é",
    "[a-z]+",
    "a{1000}{1000}",
    "(?i)k",
    "/a/b",
    "https://a.test/",
    "..",
    "a/../b",
    "01",
    "1.0",
    "x y",
    "\\u0000",
    "\\U0001F600",
    "(a",
    "2026-11-21T09:00:00Z",
];
const SCALARS: &[&str] = &[
    "1",
    "0",
    "-1",
    "0.5",
    "1e5",
    "1e401",
    "9007199254740993",
    "12345678901234567890123456789012345678901",
    "true",
    "false",
    "~",
    "0x1",
    "-0",
    "1772355600",
    "30m",
    "8h",
    "1e-400",
];
const POINTERS: &[&str] = &[
    "/a", "/b", "/a/b", "/a/0", "/a~1b", "/A", "/c/d/e", "/", "a", "/a/-", "/~2", "/a/b/c",
];
const WEEKLY: &[&str] = &[
    "Mon-Fri 08:00-18:00 Europe/Berlin",
    "Sat 22:00-02:00 UTC",
    "Mon 24:00-25:00 UTC",
    "Fri-Mon 00:00-24:00 America/New_York",
    "Mon,Tue 08:00-09:00 Nowhere",
];
const OPERATORS: &[&str] = &[
    "eq", "ne", "in", "not_in", "lt", "lte", "gt", "gte", "glob", "matches", "prefix", "suffix",
    "contains", "cidr", "url", "type", "present", "absent", "count", "every", "some", "none",
    "not", "any_of", "json", "EQ",
];

/// The file that these bytes spell.
pub(crate) fn file(bytes: &[u8]) -> String {
    let mut draw = Draw {
        rest: bytes,
        out: String::from("version: 1\npolicies:\n"),
    };
    let count = 1 + draw.below(6);
    (0..count).for_each(|n| draw.policy(n));
    draw.out
}

struct Draw<'d> {
    rest: &'d [u8],
    out: String,
}

impl Draw<'_> {
    fn below(&mut self, count: usize) -> usize {
        match self.rest.split_first() {
            Some((byte, rest)) => {
                self.rest = rest;
                usize::from(*byte) % count
            }
            None => 0,
        }
    }

    fn rarely(&mut self, one_in: usize) -> bool {
        self.below(one_in) == one_in - 1
    }

    fn of(&mut self, list: &[&'static str]) -> &'static str {
        list[self.below(list.len())]
    }

    fn put(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn quoted(&mut self, list: &[&'static str]) {
        let text = self.of(list);
        let _ = write!(self.out, "\"{text}\"");
    }

    fn policy(&mut self, n: usize) {
        let id = if self.rarely(32) { 0 } else { n };
        let _ = write!(self.out, "  - id: p{id}\n    do: [");
        for _ in 0..1 + usize::from(self.rarely(4)) {
            let (method, count) = (self.of(OPERATIONS), self.below(5));
            let _ = write!(self.out, "\"{method} ");
            for _ in 0..count {
                let segment = self.of(SEGMENTS);
                let _ = write!(self.out, "/{segment}");
            }
            let end = self.of(&["", "/", "/{r...}", "/{x...}", ""]);
            let end = if count == 0 && end.is_empty() {
                "/"
            } else {
                end
            };
            let _ = write!(self.out, "{end}\", ");
        }
        self.put("]\n");
        let forbid = self.rarely(4);
        if forbid {
            self.put("    effect: forbid\n");
        } else {
            self.put("    who: ");
            self.who();
            self.put("\n");
        }
        let mut used = Vec::new();
        for _ in 0..self.below(5) {
            let key = self.of(KEYS);
            let taken = used.contains(&key) || key == "who" && !forbid || key == "effect" && forbid;
            if taken && !self.rarely(64) {
                continue;
            }
            used.push(key);
            let _ = write!(self.out, "    {key}: ");
            if self.rarely(24) {
                self.anything(1);
            } else {
                self.section(key);
            }
            self.put("\n");
        }
    }

    fn section(&mut self, key: &str) {
        match key {
            "about" => self.quoted(TEXTS),
            "effect" => self.put("permit"),
            "mode" => self.put("shadow"),
            "host" => self.matcher(2),
            "who" => self.who(),
            "path" => self.mapping(&["x", "y", "z", "r"], 2),
            "query" => self.open(&["q", "r", "q[]", "Q"], &["none", "any"]),
            "headers" => self.open(
                &[
                    "x-a",
                    "x-b",
                    "content-type",
                    "X-A",
                    "authorization",
                    "cookie",
                ],
                &["x-a"],
            ),
            "client" => self.mapping(&["ip"], 1),
            "body" => self.body(),
            "when" => self.when(),
            "unless" => {
                let n = self.below(7);
                let _ = write!(self.out, "p{n}");
            }
            "upgrade" => self.put("websocket"),
            "then" => {
                self.put("{ set_headers: { ");
                let name = self.of(&["x-b", "host", "x-a", "content-length", "X-C"]);
                let _ = write!(self.out, "{name}: ");
                match self.below(3) {
                    0 => self.quoted(TEXTS),
                    1 => self.put("a"),
                    _ => self.quoted(REFERENCES),
                }
                self.put(" } }");
            }
            _ => self.anything(2),
        }
    }

    fn who(&mut self) {
        match self.below(4) {
            0 => self.put("any"),
            1 => self.put("anonymous"),
            _ => self.mapping(FACTS, 2),
        }
    }

    /// `any`, or matchers by name with `only`.
    fn open(&mut self, names: &[&'static str], words: &[&'static str]) {
        if self.rarely(3) {
            let word = self.of(words);
            return self.put(word);
        }
        self.put("{ ");
        self.entries(names, 2);
        if self.rarely(2) {
            self.put("only: [");
            for _ in 0..self.below(3) {
                self.quoted(names);
                self.put(", ");
            }
            self.put("], ");
        }
        self.put("}");
    }

    fn body(&mut self) {
        match self.below(8) {
            0 => return self.put("none"),
            1 => return self.put("any"),
            _ => {}
        }
        self.put("{ ");
        if self.rarely(4) {
            let kind = self.of(&[
                "application/x-www-form-urlencoded",
                "text/plain",
                "[application/json, application/a+json]",
                "a",
            ]);
            let _ = write!(self.out, "content_type: {kind}, ");
        }
        self.shape(2);
        self.put("}");
    }

    /// Pointers with matchers, `only` and `exactly`.
    fn shape(&mut self, depth: usize) {
        self.entries(POINTERS, depth);
        if self.rarely(2) {
            self.put("only: [");
            for _ in 0..self.below(4) {
                self.quoted(POINTERS);
                self.put(", ");
            }
            self.put("], ");
        }
        if self.rarely(6) {
            self.put("exactly: ");
            self.anything(2);
            self.put(", ");
        }
    }

    fn when(&mut self) {
        self.put("{ ");
        for key in ["from", "until", "max", "weekly"] {
            if !self.rarely(2) {
                continue;
            }
            let _ = write!(self.out, "{key}: ");
            match (key, self.below(4)) {
                ("weekly", _) => self.quoted(WEEKLY),
                ("max", _) => self.quoted(&["8h", "30m", "0s", "7d", "1000000d", "1.5h", "h"]),
                (_, 0) => self.quoted(REFERENCES),
                (_, 1) => self.put("1772355600"),
                (_, 2) => self.put("2026-11-21T09:00:00Z"),
                _ => self.put("2026-11-21T09:00:00.5+14:00"),
            }
            self.put(", ");
        }
        self.put("}");
    }

    fn mapping(&mut self, names: &[&'static str], depth: usize) {
        self.put("{ ");
        self.entries(names, depth);
        self.put("}");
    }

    fn entries(&mut self, names: &[&'static str], depth: usize) {
        let mut used = Vec::new();
        for _ in 0..1 + self.below(3) {
            let name = self.of(names);
            if used.contains(&name) && !self.rarely(64) {
                continue;
            }
            used.push(name);
            let _ = write!(self.out, "\"{name}\": ");
            self.matcher(depth);
            self.put(", ");
        }
    }

    fn matcher(&mut self, depth: usize) {
        match self.below(8) {
            0 => self.quoted(TEXTS),
            1 => self.list(1),
            2 => self.quoted(REFERENCES),
            3 => self.scalar(),
            _ => {
                self.put("{ ");
                let mut used = Vec::new();
                for _ in 0..1 + usize::from(self.rarely(3)) {
                    let operator = self.of(OPERATORS);
                    if used.contains(&operator) {
                        continue;
                    }
                    used.push(operator);
                    let _ = write!(self.out, "{operator}: ");
                    self.operand(operator, depth);
                    self.put(", ");
                }
                self.put("}");
            }
        }
    }

    fn operand(&mut self, operator: &str, depth: usize) {
        if self.rarely(24) || depth == 0 {
            return self.anything(1);
        }
        match operator {
            "present" | "absent" => self.put("true"),
            "type" => {
                let kind = self.of(&[
                    "string",
                    "number",
                    "[string, \"null\"]",
                    "integer",
                    "array",
                    "any",
                ]);
                self.put(kind);
            }
            "in" | "not_in" if !self.rarely(4) => self.list(1),
            "any_of" => {
                self.put("[");
                for _ in 0..1 + self.below(3) {
                    self.matcher(depth - 1);
                    self.put(", ");
                }
                self.put("]");
            }
            "not" | "every" | "some" | "none" | "count" if !self.rarely(3) => {
                self.matcher(depth - 1)
            }
            "every" | "some" | "none" | "json" => {
                self.put("{ ");
                self.shape(depth - 1);
                self.put("}");
            }
            "url" => self.mapping(&["scheme", "host", "port", "path"], depth - 1),
            "lt" | "lte" | "gt" | "gte" => self.scalar(),
            "eq" | "ne" if self.rarely(4) => self.anything(2),
            "eq" | "ne" => self.quoted(REFERENCES),
            _ if self.rarely(3) => self.list(1),
            _ => self.quoted(TEXTS),
        }
    }

    fn scalar(&mut self) {
        let scalar = self.of(SCALARS);
        self.put(scalar);
    }

    fn list(&mut self, depth: usize) {
        self.put("[");
        for _ in 0..self.below(5) {
            self.anything(depth - 1);
            self.put(", ");
        }
        self.put("]");
    }

    fn anything(&mut self, depth: usize) {
        match self.below(8) {
            0 | 1 => self.quoted(TEXTS),
            2 | 3 => self.scalar(),
            4 => self.quoted(REFERENCES),
            5 if depth > 0 => self.list(depth),
            6 if depth > 0 => {
                self.put("{ a: ");
                self.anything(depth - 1);
                self.put(", \"b\": ");
                self.anything(depth - 1);
                self.put(" }");
            }
            _ => self.put("any"),
        }
    }
}
