//! YAML with the place of every value: the one way in for configuration, policies and cases.
//!
//! A file becomes a tree of [`Node`]s, each with its line and column, and the readers of the formats walk
//! it with an [`At`], which also knows the key path. So every problem in a file can be told at once, each
//! as `file:line:column key: what is wrong`.
//!
//! Scalars follow the YAML 1.2 core schema, but numbers keep their text (they are compared as decimals),
//! and what would be a surprise is a problem: duplicate keys, anchors and aliases, tags, several documents,
//! hexadecimal and octal numbers, infinities.

mod parse;

use std::fmt;
use std::sync::Arc;

pub use self::parse::{is_json_number, parse};

/// A place in a file: line and column, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where the value begins.
    pub mark: Mark,
    /// The value.
    pub value: Yaml,
}

/// A YAML value of the core schema.
#[derive(Clone, Debug)]
pub enum Yaml {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A plain decimal number, as written; always also a valid JSON number.
    Number(String),
    /// Any other scalar.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the order written; keys are unique.
    Map(Vec<(Key, Node)>),
}

/// A mapping's key and where it stands.
#[derive(Clone, Debug)]
pub struct Key {
    /// Where the key begins.
    pub mark: Mark,
    /// The key's text.
    pub text: String,
}

/// One thing wrong with one place of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file's name as the user gave it.
    pub file: Arc<str>,
    /// Where; absent where the file as a whole is meant.
    pub mark: Option<Mark>,
    /// The key path, such as `policies[2].path.account`; empty for the document itself.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(mark) = self.mark {
            write!(f, ":{}:{}", mark.line, mark.column)?;
        }
        if !self.key.is_empty() {
            write!(f, " {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// The problems of one file, as they are found.
#[derive(Debug)]
pub struct Problems {
    file: Arc<str>,
    found: Vec<Problem>,
}

impl Problems {
    /// No problems yet in the file of this name.
    pub fn new(file: impl Into<Arc<str>>) -> Self {
        Self {
            file: file.into(),
            found: Vec::new(),
        }
    }

    /// The file's name.
    pub fn file(&self) -> &Arc<str> {
        &self.file
    }

    /// Notes a problem with the file as a whole.
    pub fn add_file(&mut self, message: impl Into<String>) {
        self.add(None, String::new(), message);
    }

    /// Notes a problem at a mark, under a key path.
    pub fn add(&mut self, mark: Option<Mark>, key: impl Into<String>, message: impl Into<String>) {
        self.found.push(Problem {
            file: self.file.clone(),
            mark,
            key: key.into(),
            message: message.into(),
        });
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// What was found, in the order found.
    pub fn into_vec(self) -> Vec<Problem> {
        self.found
    }
}

/// A node, and the key path that leads to it.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// The node.
    pub node: &'a Node,
    path: Path<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Path<'a> {
    Root,
    Key(&'a At<'a>, &'a str),
    Item(&'a At<'a>, usize),
}

impl<'a> At<'a> {
    /// The document itself.
    pub fn root(node: &'a Node) -> Self {
        Self {
            node,
            path: Path::Root,
        }
    }

    /// The value under `key` of this mapping.
    pub fn under(&'a self, key: &'a str, node: &'a Node) -> At<'a> {
        At {
            node,
            path: Path::Key(self, key),
        }
    }

    /// The item of this list.
    pub fn item(&'a self, index: usize, node: &'a Node) -> At<'a> {
        At {
            node,
            path: Path::Item(self, index),
        }
    }

    /// The key path as text: `policies[2].path.account`.
    pub fn key(&self) -> String {
        let mut text = String::new();
        self.write_key(&mut text);
        text
    }

    fn write_key(&self, out: &mut String) {
        match self.path {
            Path::Root => {}
            Path::Key(parent, key) => {
                parent.write_key(out);
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(key);
            }
            Path::Item(parent, index) => {
                parent.write_key(out);
                out.push_str(&format!("[{index}]"));
            }
        }
    }

    /// Notes a problem with this value.
    pub fn problem(&self, problems: &mut Problems, message: impl Into<String>) {
        problems.add(Some(self.node.mark), self.key(), message);
    }

    /// This mapping's entries; a problem and `None` where it is none.
    pub fn entries(
        &'a self,
        problems: &mut Problems,
    ) -> Option<impl Iterator<Item = (&'a Key, At<'a>)> + use<'a>> {
        match &self.node.value {
            Yaml::Map(entries) => Some(
                entries
                    .iter()
                    .map(|(key, node)| (key, self.under(&key.text, node))),
            ),
            _ => {
                self.problem(
                    problems,
                    format!("expected a mapping, found {}", self.node.value.kind()),
                );
                None
            }
        }
    }

    /// This mapping with a closed list of keys: each key that is not among them is a problem.
    pub fn fields(&'a self, known: &[&str], problems: &mut Problems) -> Option<Fields<'a>> {
        for (key, at) in self.entries(problems)? {
            if !known.contains(&key.text.as_str()) {
                problems.add(Some(key.mark), at.key(), unknown_key(&key.text, known));
            }
        }
        Some(Fields { at: self })
    }

    /// This list's items; a problem and nothing where it is no list.
    pub fn items(&'a self, problems: &mut Problems) -> Vec<At<'a>> {
        match &self.node.value {
            Yaml::List(items) => items
                .iter()
                .enumerate()
                .map(|(i, node)| self.item(i, node))
                .collect(),
            _ => {
                self.problem(
                    problems,
                    format!("expected a list, found {}", self.node.value.kind()),
                );
                Vec::new()
            }
        }
    }

    /// A list's items, or the one value that stands in a list's place.
    pub fn one_or_many(&'a self) -> Vec<At<'a>> {
        match &self.node.value {
            Yaml::List(items) => items
                .iter()
                .enumerate()
                .map(|(i, node)| self.item(i, node))
                .collect(),
            _ => vec![*self],
        }
    }

    /// This text; a problem where it is none.
    pub fn text(&self, problems: &mut Problems) -> Option<&'a str> {
        match &self.node.value {
            Yaml::Text(text) => Some(text),
            other => {
                self.problem(problems, format!("expected text, found {}", other.kind()));
                None
            }
        }
    }

    /// This `true` or `false`; a problem where it is neither.
    pub fn bool(&self, problems: &mut Problems) -> Option<bool> {
        match &self.node.value {
            Yaml::Bool(value) => Some(*value),
            other => {
                self.problem(
                    problems,
                    format!("expected true or false, found {}", other.kind()),
                );
                None
            }
        }
    }

    /// This whole number between `least` and `most`; a problem where it is none.
    pub fn integer(&self, least: u64, most: u64, problems: &mut Problems) -> Option<u64> {
        if let Yaml::Number(text) = &self.node.value
            && let Ok(value) = text.parse::<u64>()
            && (least..=most).contains(&value)
        {
            return Some(value);
        }
        self.problem(
            problems,
            match least == most {
                true => format!("expected {least}"),
                false => format!("expected a whole number from {least} to {most}"),
            },
        );
        None
    }

    /// Whether this value is the text `word`.
    pub fn is_word(&self, word: &str) -> bool {
        matches!(&self.node.value, Yaml::Text(text) if text == word)
    }
}

/// A mapping whose keys were checked against a closed list.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    at: &'a At<'a>,
}

impl<'a> Fields<'a> {
    /// The mapping itself, for problems with the whole.
    pub fn at(&self) -> &'a At<'a> {
        self.at
    }

    /// The value under `key`, if there is one.
    pub fn optional(&self, key: &str) -> Option<At<'a>> {
        match &self.at.node.value {
            Yaml::Map(entries) => {
                let (key, node) = entries.iter().find(|(k, _)| k.text == key)?;
                Some(self.at.under(&key.text, node))
            }
            _ => None,
        }
    }

    /// The value under `key`; a problem where there is none.
    pub fn required(&self, key: &str, problems: &mut Problems) -> Option<At<'a>> {
        let value = self.optional(key);
        if value.is_none() {
            self.at
                .problem(problems, format!("the key `{key}` is missing"));
        }
        value
    }
}

impl Yaml {
    /// The kind of value, with its article, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Yaml::Null => "nothing",
            Yaml::Bool(_) => "true or false",
            Yaml::Number(_) => "a number",
            Yaml::Text(_) => "text",
            Yaml::List(_) => "a list",
            Yaml::Map(_) => "a mapping",
        }
    }
}

/// `unknown key …`, with the known key nearest to it where one is near.
pub fn unknown_key(key: &str, known: &[&str]) -> String {
    match nearest(key, known) {
        Some(near) => format!("unknown key `{key}`; did you mean `{near}`?"),
        None => format!("unknown key `{key}`; known here: {}", known.join(", ")),
    }
}

/// The name within two edits of `word`, if there is one.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .map(|k| (edits(word, k), *k))
        .filter(|(distance, k)| *distance <= 2 && *distance < k.len())
        .min()
        .map(|(_, k)| k)
}

/// The Levenshtein distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, (cb, pair)) in b.iter().zip(row.windows(2)).enumerate() {
            if let ([diagonal, above], Some(left)) = (pair, next.get(j)) {
                next.push(
                    (diagonal + usize::from(ca != *cb))
                        .min(above + 1)
                        .min(left + 1),
                );
            }
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(text: &str) -> Vec<String> {
        let mut problems = Problems::new("f.yaml");
        parse(text, &mut problems);
        problems
            .into_vec()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn every_value_knows_its_place() {
        let mut problems = Problems::new("f.yaml");
        let root = parse("a:\n  - b: 1\n    c: [x, 'y']\n", &mut problems).unwrap();
        let at = At::root(&root);
        let fields = at.fields(&["a"], &mut problems).unwrap();
        let a = fields.required("a", &mut problems).unwrap();
        let items = a.items(&mut problems);
        let inner = items[0].fields(&["b", "c"], &mut problems).unwrap();
        let c = inner.required("c", &mut problems).unwrap();
        let y = &c.items(&mut problems)[1];
        assert_eq!(y.key(), "a[0].c[1]");
        assert_eq!(
            y.node.mark,
            Mark {
                line: 3,
                column: 12
            }
        );
        assert_eq!(y.text(&mut problems), Some("y"));
        assert!(problems.is_empty());
    }

    #[test]
    fn surprises_are_problems() {
        assert_eq!(
            problems_of("a: 1\na: 2\n"),
            ["f.yaml:2:1 a: the key `a` stands here twice"]
        );
        for text in ["a: 0x1F", "a: 017", "a: +1", "a: .5", "a: 1_000", "a: .inf"] {
            assert!(
                problems_of(text)[0].contains("quote it"),
                "{text}: {:?}",
                problems_of(text)
            );
        }
        assert!(problems_of("a: &x 1\nb: *x\n")[0].contains("anchors"));
        assert!(problems_of("a: 1\n---\nb: 2\n")[0].contains("second document"));
        assert!(problems_of("").join("").contains("empty"));
        assert!(problems_of("a: [1, 2")[0].starts_with("f.yaml:"));
        assert!(problems_of(&"[".repeat(100))[0].contains("too deeply"));
        // The parser would end here, and the rest of the file be lost.
        assert_eq!(
            problems_of("a: 1\nb: é\0\nc: 2\n"),
            ["f.yaml:2:5: not YAML: the character U+0000 may not stand in a file"]
        );
        for c in ['\u{1}', '\u{b}', '\u{1b}', '\u{7f}', '\u{9b}', '\u{fffe}'] {
            assert!(problems_of(&format!("a: {c}\n"))[0].contains("may not stand"));
        }
        assert!(problems_of("a: 1\n...\nb: 2\n")[0].starts_with("f.yaml:3:1"));
    }

    #[test]
    fn scalars_follow_the_core_schema_and_numbers_keep_their_text() {
        let mut problems = Problems::new("f.yaml");
        let root = parse(
            "[no, 1.50, -0, 2026-11-21T09:00:00Z, 1.2.3.4, 10.0.0.0/8, '7', ~]",
            &mut problems,
        )
        .unwrap();
        assert!(problems.is_empty(), "{problems:?}");
        let Yaml::List(items) = root.value else {
            panic!()
        };
        let shown: Vec<String> = items.iter().map(|n| format!("{:?}", n.value)).collect();
        assert_eq!(
            shown,
            [
                "Text(\"no\")",
                "Number(\"1.50\")",
                "Number(\"-0\")",
                "Text(\"2026-11-21T09:00:00Z\")",
                "Text(\"1.2.3.4\")",
                "Text(\"10.0.0.0/8\")",
                "Text(\"7\")",
                "Null"
            ]
        );
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        assert_eq!(
            unknown_key("acount", &["tenant", "account"]),
            "unknown key `acount`; did you mean `account`?"
        );
        assert_eq!(
            unknown_key("zzz", &["a", "b"]),
            "unknown key `zzz`; known here: a, b"
        );
    }
}
