//! What fits, and that no line that fits is passed over.

use std::net::SocketAddr;

use serde_json::Value;
use uuid::Uuid;

use super::*;
use crate::audit::query::{Query, Tally};
use crate::audit::record::{Decision, Principal, Request, Stages, Verdict};
use crate::policy::Reason;

#[test]
fn patterns() {
    for (pattern, text, fits) in [
        ("a", "a", true),
        ("a", "A", false),
        ("a", "ab", false),
        ("", "", true),
        ("", "a", false),
        ("*", "", true),
        ("*", "a/b\n", true),
        ("a*", "a", true),
        ("a*", "ba", false),
        ("*a", "a", true),
        ("*a", "ab", false),
        ("a*a", "a", false),
        ("a*a", "aa", true),
        ("a*b*a", "a-b-a", true),
        ("a*b*a", "aba", true),
        ("a*b*a", "ab", false),
        ("*ab*ab*", "abab", true),
        ("*ab*ab*", "ab-b", false),
        ("*aab", "aaab", true),
        ("a**b", "ab", true),
        ("/a/*/c", "/a/b/b/c", true),
    ] {
        assert_eq!(Pattern::of(pattern).fits(text), fits, "{pattern} {text}");
    }
}

#[test]
fn needles_are_as_the_writer_writes() {
    for (field, pattern, needles) in [
        (Field::Agent, "a\"b", &[&[r#""agent":"a\"b""#][..]][..]),
        (Field::Agent, "a*", &[&[r#""agent":"a"#]]),
        (Field::Agent, "*", &[&[r#""agent":""#]]),
        (Field::Agent, "ab*c", &[&[r#""agent":"ab"#], &["c\""]]),
        (
            Field::Agent,
            "a*bc*d",
            &[&["bc"], &[r#""agent":"a"#], &["d\""]],
        ),
        (Field::Agent, "a*bc", &[&["bc\""], &[r#""agent":"a"#]]),
        (Field::Policy, "p", &[&["[\"p\"", ",\"p\""]]),
        (Field::Policy, "*", &[&["[\"", ",\""]]),
        (Field::Verdict, "deny", &[&[r#""decision":"deny""#]]),
        (
            Field::Provider,
            "a\u{85}\u{7f}",
            &[&[
                r#""provider":"a\u0085\u007f""#,
                "\"provider\":\"a\u{85}\u{7f}\"",
            ]],
        ),
    ] {
        let came = Pattern::of(pattern).needles(field);
        let came: Vec<Vec<&str>> = came
            .iter()
            .map(|needle| {
                let forms = needle.forms.iter().map(|form| form.needle());
                forms.map(|form| str::from_utf8(form).unwrap()).collect()
            })
            .collect();
        assert_eq!(came, needles, "{pattern}");
    }
}

#[test]
fn times_are_compared_as_text_only_where_they_are_ours() {
    let line = |at: &str| {
        format!(r#"{{"v":1,"kind":"event","node":"\"at\":\"","seq":1,"at":"{at}","event":"stop"}}"#)
    };
    let between = |since: &str, until: &str| {
        let moment = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap());
        Filter::between(moment(since), moment(until))
    };
    let at = "2026-11-21T09:00:00.000001Z";
    for (since, until, written, through, fits) in [
        ("", "", at, true, true),
        (at, "", at, true, true),
        ("", at, at, true, false), // the same microsecond is the filter's to tell
        ("2026-11-21T09:00:00.000001001Z", "", at, true, false),
        ("", "2026-11-21T09:00:00.000001001Z", at, true, true),
        ("2026-11-21T09:00:00.000002Z", "", at, false, false),
        ("", "2026-11-21T09:00:00Z", at, false, false),
        ("2026-11-21T11:00:00+02:00", "", at, true, true),
        // written by someone else
        (
            "2026-11-21T09:00:00Z",
            "",
            "2026-11-21T10:00:00+01:00",
            true,
            true,
        ),
        (
            "2026-11-21T09:00:01Z",
            "",
            "2026-11-21T10:00:00+01:00",
            true,
            false,
        ),
        (
            "2026-11-21T09:00:01Z",
            "",
            "2026-11-21T09:00:00Z",
            true,
            false,
        ),
        // before what is compared as text
        ("1960-01-01T00:00:00Z", "", at, true, true),
    ] {
        let filter = between(since, until);
        let line = line(written);
        let view = View::parse(&line).unwrap();
        let came = (
            filter.sieve().lets_through(line.as_bytes()),
            filter.fits(&view),
        );
        assert_eq!(came, (through, fits), "{since} {until} {written}");
    }
}

/// A small generator with a fixed start, so that what fails once fails again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, many: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % many as u64) as usize
    }

    fn of<'t, T: ?Sized>(&mut self, choices: &[&'t T]) -> &'t T {
        choices[self.below(choices.len())]
    }

    /// A text of few pieces, so that texts often are the same or parts of each other.
    fn text(&mut self) -> String {
        let pieces = [
            "a", "b", "\"", "\\", "/", "\n", "\u{85}", "\u{202e}", "\u{7f}", "é", "😀", "\t",
            "\u{1}", "–", "\",\"", "\":\"", "u0085",
        ];
        (0..self.below(4)).map(|_| self.of(&pieces)).collect()
    }

    fn maybe(&mut self) -> Option<String> {
        (self.below(4) > 0).then(|| self.text())
    }

    fn at(&mut self) -> Timestamp {
        Timestamp::from_microsecond(1_790_000_000_000_000 + self.below(20) as i64).unwrap()
    }

    fn line(&mut self, seq: u64) -> String {
        let (node, at) = (self.text(), self.at());
        let node = serde_json::to_string(&node).unwrap();
        if self.below(5) == 0 {
            let provider = serde_json::to_string(&self.text()).unwrap();
            return format!(
                r#"{{"v":1,"kind":"event","node":{node},"seq":{seq},"at":"{at:.6}","event":"key_change","provider":{provider},"keys":1}}"#
            );
        }
        let reasons = [None, Some(Reason::NoPolicy), Some(Reason::Forbidden)];
        let policies: Vec<std::sync::Arc<str>> =
            (0..self.below(3)).map(|_| self.text().into()).collect();
        let decision = Decision {
            id: Uuid::from_u128(seq.into()),
            at,
            policy_set: "ab".into(),
            decision: *self.of(&[&Verdict::Permit, &Verdict::Deny]),
            reason: reasons[self.below(3)],
            detail: None,
            policies: policies.as_slice().into(),
            shadow: Default::default(),
            principal: (self.below(4) > 0).then(|| Principal {
                provider: self.maybe().map(Into::into),
                agent: self.maybe().map(Into::into),
                user: self.maybe().map(Into::into),
                task: self.maybe().map(Into::into),
                ..Principal::default()
            }),
            client: SocketAddr::from(([127, 0, 0, 1], 1)),
            route: self.maybe().map(Into::into),
            upstream: None,
            request: Request {
                path: self.maybe().map(Into::into),
                ..Request::default()
            },
            trace_id: None,
            span_id: None,
            parent_id: None,
            sampled: false,
            stages_us: Stages::default(),
        };
        let mut body = Vec::new();
        line::decision(&mut body, &decision).unwrap();
        let body = String::from_utf8(body).unwrap();
        let mut line = format!(r#"{{"v":1,"kind":"decision","node":{node},"seq":{seq},"#);
        line.push_str(body.strip_prefix('{').unwrap());
        line
    }
}

const FIELDS: [(Field, &str); 8] = [
    (Field::Agent, "/principal/agent"),
    (Field::User, "/principal/user"),
    (Field::Task, "/principal/task"),
    (Field::Provider, "/principal/provider"),
    (Field::Policy, "/policies"),
    (Field::Verdict, "/decision"),
    (Field::Path, "/request/path"),
    (Field::Route, "/route"),
];

/// The same by the plainest means.
fn naive(record: &Value, pointer: &str, patterns: &[String]) -> bool {
    fn glob(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', rest @ ..] => (0..=text.len()).any(|from| glob(rest, &text[from..])),
            [c, rest @ ..] => text.first() == Some(c) && glob(rest, &text[1..]),
        }
    }
    let value = record.pointer(pointer).or_else(|| {
        // of an event about a provider
        record
            .get("provider")
            .filter(|_| pointer.ends_with("provider"))
    });
    let texts: Vec<&str> = match value {
        Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(text)) => vec![text],
        _ => Vec::new(),
    };
    let chars = |text: &str| text.chars().collect::<Vec<char>>();
    texts.iter().any(|text| {
        patterns
            .iter()
            .any(|pattern| glob(&chars(pattern), &chars(text)))
    })
}

#[test]
fn a_search_finds_what_reading_everything_finds() {
    let mut dice = Dice(0x5eed_0fa1_0f5e);
    let mut found_at_all = 0;
    for round in 0..400 {
        let lines: Vec<String> = (0..40).map(|seq| dice.line(seq + 1)).collect();
        let log = lines.join("\n") + "\n";
        let since = (dice.below(3) == 0).then(|| dice.at());
        let until = (dice.below(3) == 0).then(|| dice.at());
        let mut filter = Filter::between(since, until);
        let mut terms = Vec::new();
        for _ in 0..1 + dice.below(2) {
            let (field, pointer) = FIELDS[dice.below(FIELDS.len())];
            let patterns: Vec<String> = (0..1 + dice.below(3))
                .map(|_| match (field, dice.below(3)) {
                    (Field::Verdict, _) => dice.of(&["permit", "deny", "d*", "*m*"]).to_owned(),
                    (_, 0) => dice.text(),
                    (_, 1) => format!("{}*{}", dice.text(), dice.text()),
                    (_, _) => format!("*{}*{}", dice.text(), dice.text()),
                })
                .collect();
            filter = filter.with(field, &patterns);
            terms.push((pointer, patterns));
        }
        let expected: Vec<&str> = lines
            .iter()
            .map(String::as_str)
            .filter(|line| {
                let record: Value = serde_json::from_str(line).unwrap();
                let at: Timestamp = record["at"].as_str().unwrap().parse().unwrap();
                since.is_none_or(|since| at >= since)
                    && until.is_none_or(|until| at < until)
                    && terms.iter().all(|(pointer, p)| naive(&record, pointer, p))
            })
            .collect();
        let mut came = Vec::new();
        let mut tally = Tally::default();
        Query::new(&filter)
            .run(&mut log.as_bytes(), &mut tally, |found| {
                came.push(found.line.to_owned());
                Ok(std::ops::ControlFlow::Continue(()))
            })
            .unwrap();
        assert_eq!(came, expected, "round {round}: {filter:?}");
        assert_eq!((tally.lines, tally.unreadable), (40, 0), "round {round}");
        found_at_all += came.len();
    }
    assert!(found_at_all > 500, "{found_at_all}");
}
