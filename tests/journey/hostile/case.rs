//! A file of cases, read: each with the bytes that it sends.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use portcullis::policy::{Fault, Reason};
use portcullis::yaml::{self, At, Fields, Node, Problems, Yaml};

use super::http2::Stream;
use crate::harness::show;

/// A file of cases.
pub struct Suite {
    /// The parts of the gateway's setup that the file gives.
    pub setup: BTreeMap<&'static str, String>,
    pub cases: Vec<Case>,
}

pub struct Case {
    pub line: u32,
    pub lesson: String,
    /// What is sent; two where it goes over both protocols.
    pub sent: Vec<Sent>,
    /// The target and body that were sent, where a case has one request and they are plain to see.
    pub target: Option<String>,
    pub body: Option<Vec<u8>>,
    /// The client ends its side after the last byte.
    pub end: bool,
    pub expect: Vec<Expect>,
}

pub enum Sent {
    Http1(Vec<u8>),
    /// The same in small writes, so that it is read as it comes.
    Pieces(Vec<u8>),
    Http2(Stream),
}

pub struct Expect {
    pub verdict: Verdict,
    pub bodiless: bool,
    /// There is a record, and no answer.
    pub unanswered: bool,
    pub continued: Option<bool>,
}

pub enum Verdict {
    Permit {
        policy: String,
        target: Option<String>,
        forwarded: Option<Vec<u8>>,
        header: Vec<(String, String)>,
        absent: Vec<String>,
    },
    Deny {
        reason: Reason,
        detail: Option<String>,
        policies: Option<Vec<String>>,
    },
    /// A permit of this policy whose request the upstream got in part only.
    Cut { policy: String },
    /// A bare status, or none.
    Closed(Option<u16>),
    /// A bare 400 or none: it hangs on how the bytes come.
    Ended,
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sent::Http1(_) => "HTTP/1.1",
            Sent::Pieces(_) => "HTTP/1.1 in pieces",
            Sent::Http2(_) => "HTTP/2",
        })
    }
}

impl Case {
    /// How many records there must be.
    pub fn records(&self) -> usize {
        let recorded = |e: &&Expect| !matches!(e.verdict, Verdict::Closed(_) | Verdict::Ended);
        self.expect.iter().filter(recorded).count()
    }

    /// Whether a part of a request comes to the upstream.
    pub fn cut(&self) -> bool {
        let cut = |e: &Expect| matches!(e.verdict, Verdict::Cut { .. });
        self.expect.iter().any(cut)
    }

    /// Whether all of it is permitted.
    pub fn permits(&self) -> bool {
        let permit = |e: &Expect| matches!(e.verdict, Verdict::Permit { .. });
        self.expect.iter().all(permit)
    }
}

impl Suite {
    /// The lessons of a file with their lines, whatever else its cases hold.
    pub fn lessons(path: &Path) -> Vec<(u32, String)> {
        let text = std::fs::read_to_string(path).unwrap();
        let mut problems = Problems::new(path.display().to_string());
        let root = yaml::parse(&text, &mut problems).unwrap();
        let under = |node: &Node, key: &str| match &node.value {
            Yaml::Map(entries) => entries
                .iter()
                .find(|(k, _)| k.text == key)
                .map(|(_, n)| n.clone()),
            _ => None,
        };
        let cases = under(&root, "cases").unwrap();
        let Yaml::List(cases) = cases.value else {
            panic!("{}: no cases", path.display())
        };
        cases
            .iter()
            .map(
                |case| match under(case, "lesson").map(|lesson| lesson.value) {
                    Some(Yaml::Text(lesson)) => (case.mark.line, lesson),
                    _ => panic!("{}:{}: no lesson", path.display(), case.mark.line),
                },
            )
            .collect()
    }

    /// Reads a file; `token` is what `{token}` stands for.
    pub fn read(path: &Path, token: &str) -> Suite {
        let text = std::fs::read_to_string(path).unwrap();
        let mut problems = Problems::new(path.display().to_string());
        let root = yaml::parse(&text, &mut problems);
        let suite = root.and_then(|root| Reader { token }.suite(&At::root(&root), &mut problems));
        let problems = problems.into_vec();
        match suite {
            Some(suite) if problems.is_empty() => suite,
            _ => panic!("{}", show(&problems)),
        }
    }
}

const SETUP: [&str; 6] = [
    "policies", "listener", "route", "upstream", "provider", "more",
];

const CASE: [&str; 11] = [
    "lesson", "send", "head", "headers", "body", "bytes", "both", "h2", "trailers", "end", "expect",
];

const EXPECT: [&str; 13] = [
    "permit",
    "cut",
    "target",
    "forwarded",
    "header",
    "absent",
    "deny",
    "detail",
    "policies",
    "closed",
    "bodiless",
    "unanswered",
    "continued",
];

struct Reader<'t> {
    token: &'t str,
}

impl Reader<'_> {
    fn suite(&self, at: &At<'_>, problems: &mut Problems) -> Option<Suite> {
        let known = [&["version", "about", "cases"][..], &SETUP].concat();
        let fields = at.fields(&known, problems)?;
        fields
            .required("version", problems)?
            .integer(1, 1, problems);
        fields.required("about", problems)?.text(problems);
        let mut setup = BTreeMap::new();
        for key in SETUP {
            if let Some(at) = fields.optional(key) {
                setup.insert(key, at.text(problems)?.to_owned());
            }
        }
        let list = fields.required("cases", problems)?;
        let items = list.items(problems);
        let cases = items.iter().filter_map(|at| self.case(at, problems));
        Some(Suite {
            cases: cases.collect(),
            setup,
        })
    }

    fn case(&self, at: &At<'_>, problems: &mut Problems) -> Option<Case> {
        let fields = at.fields(&CASE, problems)?;
        let lesson = fields
            .required("lesson", problems)?
            .text(problems)?
            .to_owned();
        let flag = |key: &str, problems: &mut Problems| {
            fields
                .optional(key)
                .and_then(|at| at.bool(problems))
                .unwrap_or(false)
        };
        let (both, end) = (flag("both", problems), flag("end", problems));
        let text = |key: &str, problems: &mut Problems| match fields.optional(key) {
            Some(at) => self.text(&at, problems).map(Some),
            None => Some(None),
        };
        let (body, bytes) = (text("body", problems)?, text("bytes", problems)?);
        let utf8 = body.is_some();
        let body = match (body, bytes) {
            (Some(_), Some(_)) => {
                at.problem(problems, "`body` and `bytes` exclude each other");
                return None;
            }
            (Some(body), None) => Some(body.into_bytes()),
            (None, Some(bytes)) => Some(latin1(&bytes)),
            (None, None) => None,
        };
        let (send, head) = (text("send", problems)?, text("head", problems)?);
        let h2 = fields.optional("h2").map(|at| self.pairs(&at, problems));
        let trailers = fields
            .optional("trailers")
            .map(|at| self.pairs(&at, problems));
        let lines = match fields.optional("headers") {
            Some(at) => self.texts(&at, problems),
            None => Vec::new(),
        };
        let mut case = Case {
            line: at.node.mark.line,
            lesson,
            sent: Vec::new(),
            target: None,
            body: None,
            end,
            expect: fields
                .required("expect", problems)?
                .one_or_many()
                .iter()
                .filter_map(|at| self.expect(at, utf8, problems))
                .collect(),
        };
        match (send, head, h2) {
            (Some(text), None, None) => {
                let bytes = latin1(&text);
                (case.target, case.body) = plain(&bytes);
                case.sent.push(Sent::Http1(bytes.clone()));
                case.sent.push(Sent::Pieces(bytes));
            }
            (None, Some(head), None) => {
                let lines = self.lines(&lines, body.as_deref());
                let mut bytes = latin1(&format!("{head} HTTP/1.1\r\n"));
                for (name, value) in &lines {
                    bytes.extend(
                        [latin1(name), b":".to_vec(), latin1(value), b"\r\n".to_vec()].concat(),
                    );
                }
                bytes.extend(b"\r\n");
                bytes.extend(body.iter().flatten());
                (case.target, case.body) = plain(&bytes);
                case.sent.push(Sent::Http1(bytes.clone()));
                case.sent.push(Sent::Pieces(bytes));
                if both {
                    case.sent.push(Sent::Http2(Stream::of(&head, &lines, body)));
                }
            }
            (None, None, Some(fields)) => {
                let path = fields.iter().find(|(name, _)| name == b":path");
                case.target = path.map(|(_, value)| as_latin1(value));
                case.body = Some(body.clone().unwrap_or_default());
                case.sent.push(Sent::Http2(Stream {
                    fields,
                    body,
                    trailers,
                }));
            }
            _ => at.problem(problems, "expected one of `send`, `head` and `h2`"),
        }
        Some(case)
    }

    /// The header lines of the short form, with what is added to them.
    fn lines(&self, given: &[String], body: Option<&[u8]>) -> Vec<(String, String)> {
        let name = |line: &str| {
            line.split(':')
                .next()
                .unwrap_or_default()
                .trim()
                .to_ascii_lowercase()
        };
        let removed: Vec<String> = given
            .iter()
            .map(|line| {
                name(
                    line.strip_prefix('-')
                        .filter(|l| !l.contains(':'))
                        .unwrap_or(line),
                )
            })
            .collect();
        let mut added = vec![
            ("host", "a".to_owned()),
            ("authorization", format!("Bearer {}", self.token)),
            ("connection", "close".to_owned()),
        ];
        if let Some(body) = body {
            added.push(("content-type", "application/json".to_owned()));
            added.push(("content-length", body.len().to_string()));
        }
        let added = added
            .into_iter()
            .filter(|(name, _)| !removed.iter().any(|r| r == name))
            .map(|(name, value)| (name.to_owned(), format!(" {value}")));
        let given = given.iter().filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_owned(), value.to_owned()))
        });
        added.chain(given).collect()
    }

    fn expect(&self, at: &At<'_>, utf8: bool, problems: &mut Problems) -> Option<Expect> {
        let fields = at.fields(&EXPECT, problems)?;
        let flag = |key: &str, problems: &mut Problems| fields.optional(key)?.bool(problems);
        Some(Expect {
            verdict: self.verdict(at, &fields, utf8, problems)?,
            bodiless: flag("bodiless", problems).unwrap_or(false),
            unanswered: flag("unanswered", problems).unwrap_or(false),
            continued: flag("continued", problems),
        })
    }

    fn verdict(
        &self,
        at: &At<'_>,
        fields: &Fields<'_>,
        utf8: bool,
        problems: &mut Problems,
    ) -> Option<Verdict> {
        let one = |key: &str, problems: &mut Problems| self.text(&fields.optional(key)?, problems);
        let many = |key: &str, problems: &mut Problems| {
            let at = fields.optional(key)?;
            Some(self.texts(&at, problems))
        };
        match ["permit", "cut", "deny", "closed"].map(|key| one(key, problems)) {
            [None, Some(policy), None, None] => Some(Verdict::Cut { policy }),
            [Some(policy), None, None, None] => Some(Verdict::Permit {
                policy,
                target: one("target", problems),
                forwarded: one("forwarded", problems).map(|text| match utf8 {
                    true => text.into_bytes(),
                    false => latin1(&text),
                }),
                header: many("header", problems)
                    .unwrap_or_default()
                    .iter()
                    .filter_map(|line| line.split_once(": "))
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect(),
                absent: many("absent", problems).unwrap_or_default(),
            }),
            [None, None, Some(code), None] => {
                let reason = Reason::from_code(&code);
                let detail = one("detail", problems);
                let known = |d: &String| Fault::ALL.iter().any(|fault| fault.code() == d);
                if reason.is_none() || !(detail.iter().all(known) || code == "invalid_token") {
                    at.problem(problems, "no such reason, or no such detail");
                }
                Some(Verdict::Deny {
                    reason: reason?,
                    detail,
                    policies: many("policies", problems),
                })
            }
            [None, None, None, Some(how)] if how == "end" => Some(Verdict::Closed(None)),
            [None, None, None, Some(how)] if how == "any" => Some(Verdict::Ended),
            [None, None, None, Some(how)] => {
                let status = how.parse().ok();
                if status.is_none() {
                    at.problem(problems, "expected 400, 431, `end` or `any`");
                }
                Some(Verdict::Closed(Some(status?)))
            }
            _ => {
                at.problem(
                    problems,
                    "expected one of `permit`, `cut`, `deny` and `closed`",
                );
                None
            }
        }
    }

    /// Text, or a number as it is written, with what stands in braces filled in.
    fn text(&self, at: &At<'_>, problems: &mut Problems) -> Option<String> {
        let text = match &at.node.value {
            Yaml::Text(text) | Yaml::Number(text) => text,
            Yaml::Null | Yaml::Bool(_) | Yaml::List(_) | Yaml::Map(_) => {
                at.problem(problems, "expected text");
                return None;
            }
        };
        let mut text = text.replace("{token}", self.token);
        while let Some((before, rest)) = text.split_once("{*") {
            let (count, rest) = rest.split_once(':')?;
            let (piece, after) = rest.split_once('}')?;
            text = format!("{before}{}{after}", piece.repeat(count.parse().ok()?));
        }
        Some(text)
    }

    fn texts(&self, at: &At<'_>, problems: &mut Problems) -> Vec<String> {
        let items = at.items(problems);
        items
            .iter()
            .filter_map(|at| self.text(at, problems))
            .collect()
    }

    fn pairs(&self, at: &At<'_>, problems: &mut Problems) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut pairs = Vec::new();
        for item in at.items(problems) {
            match &self.texts(&item, problems)[..] {
                [name, value] => pairs.push((latin1(name), latin1(value))),
                _ => item.problem(problems, "expected a name and a value"),
            }
        }
        pairs
    }
}

/// Each character as the byte of its number.
pub fn latin1(text: &str) -> Vec<u8> {
    let byte = |c: char| {
        u8::try_from(u32::from(c)).unwrap_or_else(|_| panic!("{c:?} in {text:?}: write its bytes"))
    };
    text.chars().map(byte).collect()
}

/// Each byte as the character of its number.
pub fn as_latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(*b)).collect()
}

/// Target and body of a request of HTTP/1.1, where both are plain to see.
fn plain(bytes: &[u8]) -> (Option<String>, Option<Vec<u8>>) {
    let text = as_latin1(bytes);
    let target = text
        .split(' ')
        .nth(1)
        .filter(|target| target.starts_with('/'));
    let Some((head, rest)) = text.split_once("\r\n\r\n") else {
        return (target.map(str::to_owned), None);
    };
    let head = head.to_ascii_lowercase();
    let length = head.split("\r\ncontent-length:").nth(1);
    let length = length.map(|l| l.lines().next().unwrap_or_default().trim().parse());
    let body = match length {
        _ if head.contains("\r\ntransfer-encoding") || head.contains("\r\nupgrade") => None,
        None => Some(Vec::new()),
        Some(Ok(length)) => latin1(rest).get(..length).map(<[u8]>::to_vec),
        Some(Err(_)) => None,
    };
    (target.map(str::to_owned), body)
}
