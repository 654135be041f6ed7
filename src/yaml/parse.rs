//! From text to nodes: the YAML 1.2 core schema, without its surprises.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::{Key, Mark, Node, Problems, Yaml};

/// Parses one YAML document. The problems found are added; `None` if there is nothing to go on with.
pub fn parse(text: &str, problems: &mut Problems) -> Option<Node> {
    let before = problems.found.len();
    if let Some((mark, character)) = unprintable(text) {
        let code = u32::from(character);
        let message = format!("not YAML: the character U+{code:04X} may not stand in a file");
        problems.add(Some(mark), "", message);
        return None;
    }
    let mut builder = Builder {
        problems,
        stack: Vec::new(),
        root: None,
        documents: 0,
    };
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => {
                if !builder.event(event, span) {
                    return None;
                }
            }
            Err(error) => {
                let mark = mark_of(error.marker());
                builder
                    .problems
                    .add(Some(mark), "", format!("not YAML: {}", error.info()));
                return None;
            }
        }
    }
    let root = builder.root;
    if problems.found.len() > before {
        return None;
    }
    if root.is_none() {
        problems.add_file("the file is empty");
    }
    root
}

/// The first character that is none of YAML's (1.2.2, section 5.1). The parser takes a NUL for the end of the file,
/// and what stands after it would be lost without a word.
fn unprintable(text: &str) -> Option<(Mark, char)> {
    let foreign = |c: char| {
        matches!(c, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\x7f'..='\u{84}')
            || matches!(c, '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}')
    };
    let (at, character) = text.char_indices().find(|(_, c)| foreign(*c))?;
    let (mut line, mut column) = (1, 1);
    for c in text.get(..at).unwrap_or_default().chars() {
        (line, column) = match c {
            '\n' => (line + 1, 1),
            _ => (line, column + 1),
        };
    }
    Some((Mark { line, column }, character))
}

struct Builder<'p> {
    problems: &'p mut Problems,
    stack: Vec<Open>,
    root: Option<Node>,
    documents: usize,
}

enum Open {
    List(Mark, Vec<Node>),
    Map(
        Mark,
        Vec<(Key, Node)>,
        hashbrown::HashSet<String, foldhash::fast::RandomState>,
        Option<Key>,
    ),
}

/// Deeper nesting than any file of ours needs.
const MAX_DEPTH: usize = 64;

impl Builder<'_> {
    /// Takes one event; false where going on makes no sense.
    fn event(&mut self, event: Event<'_>, span: Span) -> bool {
        let mark = mark_of(&span.start);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => true,
            Event::DocumentStart(_) => {
                self.documents += 1;
                self.documents == 1
                    || self.refuse(mark, "a second document; write one document to a file")
            }
            Event::Alias(_) => self.refuse(mark, "aliases are not supported; write the value out"),
            Event::Scalar(text, style, anchor, tag) => {
                if anchor != 0 || tag.is_some() {
                    return self.refuse(
                        mark,
                        "anchors and tags are not supported; write the plain value",
                    );
                }
                let value = if style == ScalarStyle::Plain {
                    self.plain(&text, mark)
                } else {
                    Yaml::Text(text.into_owned())
                };
                self.value(Node { mark, value });
                true
            }
            Event::SequenceStart(anchor, tag) => self.open(
                Open::List(mark, Vec::new()),
                mark,
                anchor != 0 || tag.is_some(),
            ),
            Event::MappingStart(anchor, tag) => self.open(
                Open::Map(mark, Vec::new(), Default::default(), None),
                mark,
                anchor != 0 || tag.is_some(),
            ),
            Event::SequenceEnd | Event::MappingEnd => {
                match self.stack.pop() {
                    Some(Open::List(mark, items)) => self.value(Node {
                        mark,
                        value: Yaml::List(items),
                    }),
                    Some(Open::Map(mark, entries, _, _)) => self.value(Node {
                        mark,
                        value: Yaml::Map(entries),
                    }),
                    None => {}
                }
                true
            }
        }
    }

    fn open(&mut self, open: Open, mark: Mark, decorated: bool) -> bool {
        if decorated {
            return self.refuse(
                mark,
                "anchors and tags are not supported; write the plain value",
            );
        }
        if let Some(Open::Map(_, _, _, None)) = self.stack.last() {
            return self.refuse(mark, "a key must be text");
        }
        if self.stack.len() >= MAX_DEPTH {
            return self.refuse(mark, "nested too deeply");
        }
        self.stack.push(open);
        true
    }

    fn refuse(&mut self, mark: Mark, message: &str) -> bool {
        self.problems.add(Some(mark), "", message);
        false
    }

    fn value(&mut self, node: Node) {
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Map(_, entries, seen, waiting)) => match waiting.take() {
                Some(key) => entries.push((key, node)),
                None => {
                    let text = match node.value {
                        Yaml::Text(text) | Yaml::Number(text) => text,
                        Yaml::Bool(value) => value.to_string(),
                        Yaml::Null | Yaml::List(_) | Yaml::Map(_) => {
                            self.problems.add(Some(node.mark), "", "a key must be text");
                            String::new()
                        }
                    };
                    if !seen.insert(text.clone()) {
                        self.problems.add(
                            Some(node.mark),
                            text.clone(),
                            format!("the key `{text}` stands here twice"),
                        );
                    }
                    *waiting = Some(Key {
                        mark: node.mark,
                        text,
                    });
                }
            },
        }
    }

    fn plain(&mut self, text: &str, mark: Mark) -> Yaml {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => Yaml::Null,
            "true" | "True" | "TRUE" => Yaml::Bool(true),
            "false" | "False" | "FALSE" => Yaml::Bool(false),
            _ if is_json_number(text) => Yaml::Number(text.to_owned()),
            _ if is_odd_number(text) => {
                self.problems.add(Some(mark), "", format!("`{text}` is read differently by different YAML parsers; quote it or write a plain decimal"));
                Yaml::Null
            }
            _ => Yaml::Text(text.to_owned()),
        }
    }
}

/// Whether the text is a number of RFC 8259, section 6.
pub fn is_json_number(text: &str) -> bool {
    let rest = text.strip_prefix('-').unwrap_or(text);
    let digits = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
    let int = digits(rest);
    if int == 0 || (int > 1 && rest.starts_with('0')) {
        return false;
    }
    let mut rest = rest.split_at(int).1;
    if let Some(fraction) = rest.strip_prefix('.') {
        let n = digits(fraction);
        if n == 0 {
            return false;
        }
        rest = fraction.split_at(n).1;
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let n = digits(exponent);
        return n > 0 && n == exponent.len();
    }
    rest.is_empty()
}

/// Numbers to some YAML parser, but not to JSON: `0x1F`, `0o17`, `017`, `+1`, `.5`, `1_000`, `.inf`.
fn is_odd_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let lower = unsigned.to_ascii_lowercase();
    let based = |prefix: &str| {
        lower
            .strip_prefix(prefix)
            .is_some_and(|r| !r.is_empty() && r.bytes().all(|b| b.is_ascii_hexdigit() || b == b'_'))
    };
    matches!(lower.as_str(), ".inf" | ".nan")
        || based("0x")
        || based("0o")
        || based("0b")
        || (unsigned.bytes().any(|b| b.is_ascii_digit())
            && unsigned
                .bytes()
                .all(|b| b.is_ascii_digit() || b == b'_' || b == b'.')
            && unsigned.bytes().filter(|b| *b == b'.').count() <= 1)
}

fn mark_of(marker: &saphyr_parser::Marker) -> Mark {
    let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    // The parser counts columns from 0.
    Mark {
        line: clamp(marker.line()),
        column: clamp(marker.col().saturating_add(1)),
    }
}
