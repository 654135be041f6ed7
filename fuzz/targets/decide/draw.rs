//! Policies from bytes.
//!
//! A byte is one choice, so that to change a byte is to change one thing. What is put together from parts is kept
//! for good, since the property test's types hold texts that live for ever; the parts are few, so this ends.

use std::cell::RefCell;
use std::collections::HashSet;

use super::properties::generate::{BodyText, Named, PolicyText, Who};

/// The most texts that are kept.
const MOST_TEXTS: usize = 400_000;

const METHODS: &[&str] = &[
    "GET", "*", "POST", "GET,POST", "HEAD", "PUT,GET", "DELETE", "GET,HEAD",
];
const SEGMENTS: &[&str] = &[
    "{x}",
    "a",
    "{y}",
    "b",
    "{x*2}",
    "A",
    "{x:[ab]+}",
    "{y:.*}",
    "a%2Fb",
    "{x:[a-z]+}",
    "42",
    "{y*3}",
    "%C3%A9",
    "a.b",
    "{x:a|b}",
    "B",
];
pub(crate) const TEXTS: &[&str] = &[
    "a", "b", "ab", "ag/a", "ag/b", "A", "42", "1", "", "a/b", "ag/../a", "042", "é", "É", "a b",
    "b.test", "aab", "AG/A",
];
const GLOBS: &[&str] = &[
    "a*", "*b", "ag/*", "**", "*", "a*b", "*/b", "a**", "ag/a*", "a*a*", "**/a", "é*", "*é",
    "*g/*", "A*",
];
const REGEXES: &[&str] = &[
    "a.*", "[ab]", "ag/[ab]", ".*b", "(?i)a", "a|b", "[0-9]+", ".", "(a|ag/b)", "a{1,3}b?",
];
pub(crate) const NUMBERS: &[&str] = &[
    "1",
    "42",
    "0",
    "7",
    "0.5",
    "-1",
    "1.0",
    "9007199254740993",
    "9007199254740992",
    "1e2",
    "100",
    "-0",
    "1e-400",
    "0.1",
    "12345678901234567890123456789012345678901",
];
const TYPES: &[&str] = &[
    "string", "number", "boolean", "array", "object", "\"null\"", "integer",
];
const FACTS: &[&str] = &["claims/t", "claims/n", "claims/l", "claims/t/u"];
const POINTERS: &[&str] = &["/a", "/b", "/c", "/c/d", "/a~1b", "/c/d/e", "/A"];
const WHO: &[&str] = &[
    "agent",
    "user",
    "groups",
    "claims/t",
    "claims/n",
    "claims/t/u",
    "cert/dns",
    "claims/l",
];
const NAMES: &[&str] = &["q", "r", "Q", "q[]"];
const HEADERS: &[&str] = &["x-a", "x-b"];
const MOMENTS: &[&str] = &[
    "2026-03-01T06:00:00Z",
    "2026-03-01T12:00:00Z",
    "$claims/end",
];

/// A cursor over the input.
pub(crate) struct Draw<'d> {
    rest: &'d [u8],
}

/// A policy that always loads.
pub(crate) fn plain(permit: bool) -> PolicyText {
    PolicyText {
        permit,
        shadow: false,
        operations: vec![("GET", "/a/{x}")],
        host: None,
        who: if permit { Who::Any } else { Who::Absent },
        path: Vec::new(),
        query: Named::Absent,
        headers: Vec::new(),
        headers_only: None,
        client: None,
        body: BodyText::Absent,
        when: None,
        unless: Vec::new(),
        websocket: false,
    }
}

impl<'d> Draw<'d> {
    pub(crate) fn new(data: &'d [u8]) -> Draw<'d> {
        Draw { rest: data }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next choice; 0, the plainest, past the end.
    fn byte(&mut self) -> usize {
        match self.rest.split_first() {
            Some((byte, rest)) => {
                self.rest = rest;
                usize::from(*byte)
            }
            None => 0,
        }
    }

    pub(crate) fn below(&mut self, count: usize) -> usize {
        self.byte() % count
    }

    /// True for one in so many bytes, and never past the end.
    pub(crate) fn rarely(&mut self, one_in: usize) -> bool {
        self.byte() % one_in == one_in - 1
    }

    pub(crate) fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// Those of the list that a byte has a bit for.
    pub(crate) fn some_of(&mut self, list: &[&'static str]) -> Vec<&'static str> {
        let bits = self.byte();
        let chosen = list.iter().enumerate().filter(|(n, _)| bits >> n & 1 == 1);
        chosen.map(|(_, item)| *item).collect()
    }

    pub(crate) fn policies(&mut self) -> Vec<PolicyText> {
        let count = 1 + self.below(8);
        let mut policies: Vec<PolicyText> = (0..count).map(|_| self.policy()).collect();
        let permits: Vec<bool> = policies.iter().map(|policy| policy.permit).collect();
        for policy in policies.iter_mut().filter(|policy| !policy.permit) {
            if self.rarely(3) {
                let n = self.below(count);
                policy.unless.extend(permits[n].then_some(n));
            }
        }
        policies
    }

    fn policy(&mut self) -> PolicyText {
        let kind = self.byte();
        let mut policy = plain(kind & 3 != 3);
        policy.shadow = kind & 0x1C == 0x1C;
        policy.websocket = kind & 0xE0 == 0xE0;
        let count = 1 + usize::from(self.rarely(4));
        policy.operations = (0..count)
            .map(|_| (self.of(METHODS), self.template()))
            .collect();
        if self.rarely(4) {
            let host = self.of(&[
                "h.test",
                "[h.test, i.test]",
                "{ glob: \"*.test\" }",
                "{ ne: h.test }",
                "{ glob: \"h.*\" }",
                "{ suffix: test }",
            ]);
            policy.host = Some(host);
        }
        policy.who = match self.below(8) {
            0 | 1 => Who::Any,
            2 => Who::Anonymous,
            3 if !policy.permit => Who::Absent,
            n => Who::Conditions(self.conditions(WHO, 1 + n % 2, 2)),
        };
        let captured = |name: &&&str| {
            policy.operations.iter().all(|(_, template)| {
                let mut ends = ["}", ":", "*", "..."].iter();
                ends.any(|end| template.contains(&format!("{{{name}{end}")))
            })
        };
        let names: Vec<&'static str> = ["x", "y", "z"].iter().filter(captured).copied().collect();
        if !names.is_empty() && self.rarely(2) {
            policy.path = self.conditions(&names, 1, 2);
        }
        policy.query = match self.below(6) {
            0 => Named::Any,
            1 => Named::Absent,
            2 => Named::None,
            _ => {
                let list = self.conditions(NAMES, 1, 1);
                let only = self.rarely(3).then(|| self.some_of(NAMES));
                Named::Judged(list, only)
            }
        };
        if self.rarely(4) {
            policy.headers = self.conditions(HEADERS, 1, 1);
        }
        if self.rarely(8) {
            policy.headers_only = Some(self.some_of(HEADERS));
        }
        if self.rarely(8) {
            policy.client =
                Some(self.of(&["10.0.0.0/8", "::/0", "192.0.2.1/32", "::ffff:10.0.0.0/104"]));
        }
        policy.body = match self.below(8) {
            _ if policy.websocket => BodyText::Absent,
            0 | 1 => BodyText::Any,
            2 => BodyText::Absent,
            3 => BodyText::None,
            n => self.body(n),
        };
        if self.rarely(4) {
            policy.when = Some(match self.below(3) {
                0 => (Some(self.of(MOMENTS)), None),
                1 => (None, Some(self.of(MOMENTS))),
                _ => (Some(MOMENTS[0]), Some(self.of(&MOMENTS[1..]))),
            });
        }
        policy
    }

    fn template(&mut self) -> &'static str {
        let count = self.below(5);
        let mut text: String = (0..count)
            .map(|_| format!("/{}", self.of(SEGMENTS)))
            .collect();
        match self.below(5) {
            1 => text.push_str("/{z...}"),
            2 => text.push('/'),
            _ => {}
        }
        keep(if text.is_empty() { "/".into() } else { text })
    }

    fn body(&mut self, kind: usize) -> BodyText {
        let types = self.rarely(6).then(|| {
            self.of(&[
                "text/plain",
                "[application/json, application/merge-patch+json]",
            ])
        });
        let fields = self.conditions(POINTERS, kind % 3, 3);
        let only = self.rarely(2).then(|| self.some_of(&POINTERS[..6]));
        let exactly = self.rarely(8).then(|| {
            self.of(&[
                "{ a: 1 }",
                "{}",
                "[]",
                "{ b: \"$$x\" }",
                "{ a: 1, c: { d: b } }",
            ])
        });
        if types.is_none() && only.is_none() && exactly.is_none() && fields.is_empty() {
            return BodyText::Any;
        }
        BodyText::Judged {
            types,
            only,
            exactly,
            fields,
        }
    }

    /// So many conditions, each on another fact.
    fn conditions(
        &mut self,
        facts: &[&'static str],
        count: usize,
        depth: usize,
    ) -> Vec<(&'static str, &'static str)> {
        let mut list: Vec<(&'static str, &'static str)> = Vec::new();
        for _ in 0..count {
            let fact = self.of(facts);
            let matcher = keep(self.matcher(depth));
            if list.iter().all(|(other, _)| *other != fact) {
                list.push((fact, matcher));
            }
        }
        list
    }

    pub(crate) fn text(&mut self) -> String {
        format!("\"{}\"", self.of(TEXTS))
    }

    fn scalar(&mut self) -> String {
        match self.below(4) {
            0 | 1 => self.text(),
            2 => self.of(NUMBERS).into(),
            _ => self.of(&["true", "false", "null", "1.0"]).into(),
        }
    }

    fn list(&mut self, mut item: impl FnMut(&mut Self) -> String) -> String {
        let count = 1 + self.below(3);
        let items: Vec<String> = (0..count).map(|_| item(self)).collect();
        format!("[{}]", items.join(", "))
    }

    fn glob(&mut self) -> String {
        format!("\"{}\"", self.of(GLOBS))
    }

    fn matcher(&mut self, depth: usize) -> String {
        let inner = |draw: &mut Self| match depth {
            0 => format!("{{ eq: {} }}", draw.text()),
            _ => draw.matcher(depth - 1),
        };
        match self.below(28) {
            0 => self.text(),
            1 => self.list(Self::text),
            2 => format!("{{ eq: {} }}", self.scalar()),
            3 => format!("{{ in: {} }}", self.list(Self::scalar)),
            4 => format!("{{ ne: {} }}", self.scalar()),
            5 => format!("{{ not_in: {} }}", self.list(Self::scalar)),
            6 => format!("{{ glob: {} }}", self.glob()),
            7 => format!("{{ glob: {} }}", self.list(Self::glob)),
            8 => format!("{{ prefix: {} }}", self.text()),
            9 => format!("{{ prefix: {} }}", self.list(Self::text)),
            10 => format!("{{ suffix: {} }}", self.text()),
            11 => format!("{{ matches: \"{}\" }}", self.of(REGEXES)),
            12 => "{ present: true }".into(),
            13 => "{ absent: true }".into(),
            14 => format!("{{ not: {} }}", inner(self)),
            15 => format!("{{ any_of: [{}, {}] }}", inner(self), inner(self)),
            16 => format!("${}", self.of(FACTS)),
            17 => format!("{{ in: ${} }}", self.of(FACTS)),
            18 => format!(
                "{{ {}: ${} }}",
                self.of(&["ne", "gte", "lt"]),
                self.of(FACTS)
            ),
            19 => format!("{{ in: [{}, ${}] }}", self.scalar(), self.of(FACTS)),
            20 => format!("{{ contains: {} }}", self.text()),
            21 => format!(
                "{{ {}: {} }}",
                self.of(&["gte", "lt", "lte", "gt"]),
                self.of(NUMBERS)
            ),
            22 => format!("{{ type: {} }}", self.of(TYPES)),
            23 => format!(
                "{{ count: {{ {}: {} }} }}",
                self.of(&["gte", "lt", "eq"]),
                self.of(NUMBERS)
            ),
            24 => format!(
                "{{ {}: {} }}",
                self.of(&["some", "every", "none"]),
                inner(self)
            ),
            25 => format!("{{ glob: {}, not: {} }}", self.glob(), inner(self)),
            26 => format!(
                "{{ in: {}, prefix: {} }}",
                self.list(Self::text),
                self.text()
            ),
            _ => format!("{{ any_of: [{{ present: false }}, {}] }}", inner(self)),
        }
    }
}

/// The text, for good; `a` where too many are kept.
pub(crate) fn keep(text: String) -> &'static str {
    thread_local! {
        static KEPT: RefCell<HashSet<&'static str>> = RefCell::default();
    }
    KEPT.with_borrow_mut(|kept| {
        if let Some(text) = kept.get(&*text) {
            return *text;
        }
        if kept.len() >= MOST_TEXTS {
            return "a";
        }
        let text: &'static str = text.leak();
        kept.insert(text);
        text
    })
}
