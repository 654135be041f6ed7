//! Reads values of a section by the table in `raw.rs`: the key's kind, range and default stand there.
//!
//! Each reader notes a problem where a value is no good and goes on with a stand-in, so that all problems of
//! a file are told at once. A stand-in never leaves `load.rs`: a configuration with a problem is refused.
//! No message quotes a value, but for words of closed lists: a value may be a secret in the wrong place.

use std::sync::LazyLock;
use std::time::Duration;

use super::load::Loader;
use super::raw::{Key, Kind, SECTIONS, Section};
use super::units;
use crate::yaml::{At, Fields, Mark, Node, Problems, Yaml, nearest, parse};

/// A mapping of the file, read as a section.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    fields: Fields<'a>,
    section: &'static Section,
}

impl<'a> Reader<'a> {
    /// Opens a mapping as a section: unknown and missing keys are problems.
    pub(super) fn open(
        at: &'a At<'a>,
        section: &'static Section,
        cx: &mut Loader<'_>,
    ) -> Option<Reader<'a>> {
        let known: Vec<&str> = section.keys.iter().map(|key| key.name).collect();
        let fields = at.fields(&known, &mut cx.problems)?;
        for key in section.keys.iter().filter(|key| key.required) {
            fields.required(key.name, &mut cx.problems);
        }
        Some(Reader { fields, section })
    }

    /// The mapping itself, for problems with the whole.
    pub(super) fn at(&self) -> &'a At<'a> {
        self.fields.at()
    }

    /// What the file says under this key, if anything.
    pub(super) fn written(&self, key: &str) -> Option<At<'a>> {
        self.fields.optional(key)
    }

    /// What the file says under this key, or the default.
    pub(super) fn value(&self, key: &str) -> Option<At<'a>> {
        self.written(key).or_else(|| {
            let key = self.key(key)?;
            Some(self.at().under(key.name, default_of(self.section, key)?))
        })
    }

    /// The one key among the section's [`Section::one_of`] that is written, and what stands under it.
    pub(super) fn the_one(&self, cx: &mut Loader<'_>) -> Option<(&'static str, At<'a>)> {
        let keys = self.section.one_of;
        let mut written = keys
            .iter()
            .filter_map(|key| Some((*key, self.written(key)?)));
        match (written.next(), written.next()) {
            (Some(one), None) => Some(one),
            (None, _) => {
                cx.problem(self.at(), format!("expected one of {}", one_of(keys)));
                None
            }
            (Some((first, _)), Some((second, at))) => {
                let message = format!("`{second}` beside `{first}`; expected only one of them");
                cx.problem(&at, message);
                None
            }
        }
    }

    pub(super) fn text(&self, key: &str, cx: &mut Loader<'_>) -> Option<&'a str> {
        text(&self.value(key)?, cx)
    }

    pub(super) fn flag(&self, key: &str, cx: &mut Loader<'_>) -> bool {
        self.value(key)
            .and_then(|at| at.bool(&mut cx.problems))
            .unwrap_or_default()
    }

    /// The word among the key's; the first of them where it is another.
    pub(super) fn word(&self, key: &str, cx: &mut Loader<'_>) -> &'static str {
        let Some(Kind::Word(words)) = self.kind(key) else {
            return "";
        };
        let first = words.first().copied().unwrap_or_default();
        self.value(key)
            .and_then(|at| word(&at, words, cx))
            .unwrap_or(first)
    }

    /// A whole number; `None` for the key's word.
    pub(super) fn count(&self, key: &str, cx: &mut Loader<'_>) -> Option<u64> {
        let (Some(Kind::Count(least, most, other)), Some(at)) = (self.kind(key), self.value(key))
        else {
            return None;
        };
        if other.is_some_and(|word| at.is_word(word)) {
            return None;
        }
        let number = match &at.node.value {
            Yaml::Number(text) => text.parse::<u64>().ok(),
            Yaml::Null | Yaml::Bool(_) | Yaml::Text(_) | Yaml::List(_) | Yaml::Map(_) => None,
        };
        let wanted = || match least == most {
            true => least.to_string(),
            false => format!("a whole number from {least} to {most}"),
        };
        within(
            &at,
            number.ok_or(wanted()),
            (*least, *most),
            *other,
            wanted,
            cx,
        )
    }

    /// A number of bytes; `None` for the key's word.
    pub(super) fn size(&self, key: &str, cx: &mut Loader<'_>) -> Option<u64> {
        let (Some(Kind::Size(least, most, other)), Some(at)) = (self.kind(key), self.value(key))
        else {
            return None;
        };
        if other.is_some_and(|word| at.is_word(word)) {
            return None;
        }
        let size = scalar(&at).map_or(Err("expected a size such as 64KiB or 1MiB"), units::size);
        let range = (units::size(least).ok()?, units::size(most).ok()?);
        let wanted = || format!("a size from {least} to {most}");
        let size = size.map_err(|wanted| wanted.trim_start_matches("expected ").to_owned());
        within(&at, size, range, *other, wanted, cx)
    }

    /// A duration; `None` for the key's word.
    pub(super) fn duration(&self, key: &str, cx: &mut Loader<'_>) -> Option<Duration> {
        let (Some(Kind::Duration(least, most, other)), Some(at)) =
            (self.kind(key), self.value(key))
        else {
            return None;
        };
        if other.is_some_and(|word| at.is_word(word)) {
            return None;
        }
        let wanted = "expected a duration such as 500ms, 5s, 10m or 1h";
        let duration = scalar(&at).map_or(Err(wanted), units::duration);
        let range = (units::duration(least).ok()?, units::duration(most).ok()?);
        let wanted = || format!("a duration from {least} to {most}");
        let duration = duration.map_err(|wanted| wanted.trim_start_matches("expected ").to_owned());
        within(&at, duration, range, *other, wanted, cx)
    }

    /// The key's words among which each item must be.
    pub(super) fn words(&self, key: &str) -> &'static [&'static str] {
        match self.kind(key) {
            Some(Kind::OneOrMany(Kind::Word(words)) | Kind::List(Kind::Word(words))) => words,
            _ => &[],
        }
    }

    fn key(&self, key: &str) -> Option<&'static Key> {
        self.section.keys.iter().find(|k| k.name == key)
    }

    fn kind(&self, key: &str) -> Option<&'static Kind> {
        self.key(key).map(|key| &key.kind)
    }
}

/// Text that isn't empty.
pub(super) fn text<'a>(at: &At<'a>, cx: &mut Loader<'_>) -> Option<&'a str> {
    let Yaml::Text(text) = &at.node.value else {
        cx.problem(at, format!("expected text, found {}", at.node.value.kind()));
        return None;
    };
    if text.is_empty() {
        cx.problem(at, "expected text, found none");
        return None;
    }
    Some(text)
}

/// One of these words.
pub(super) fn word(
    at: &At<'_>,
    words: &'static [&'static str],
    cx: &mut Loader<'_>,
) -> Option<&'static str> {
    let found = text(at, cx)?;
    if let Some(word) = words.iter().find(|word| **word == found) {
        return Some(word);
    }
    let near = nearest(found, words).or_else(|| {
        words
            .iter()
            .copied()
            .find(|w| w.eq_ignore_ascii_case(found))
    });
    cx.problem(
        at,
        match near {
            Some(near) => format!("expected {}; did you mean `{near}`?", one_of(words)),
            None => format!("expected {}", one_of(words)),
        },
    );
    None
}

/// `a, b or c`.
pub(super) fn one_of(words: &[&str]) -> String {
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        Some((last, _)) => (*last).to_owned(),
        None => String::new(),
    }
}

/// The YAML that stands in for an absent key, parsed once.
pub(crate) fn default_of(section: &Section, key: &Key) -> Option<&'static Node> {
    static DEFAULTS: LazyLock<Vec<(&'static str, &'static str, Node)>> = LazyLock::new(|| {
        let mut defaults = Vec::new();
        for section in SECTIONS {
            for key in section.keys {
                let mut problems = Problems::new("default");
                if let Some(node) = key.default.and_then(|text| parse(text, &mut problems)) {
                    defaults.push((section.name, key.name, node));
                }
            }
        }
        defaults
    });
    let found = |(s, k, _): &&(&str, &str, Node)| *s == section.name && *k == key.name;
    DEFAULTS.iter().find(found).map(|(_, _, node)| node)
}

/// An empty mapping, for a section that stands nowhere.
pub(super) static NOWHERE: Node = Node {
    mark: Mark { line: 1, column: 1 },
    value: Yaml::Map(Vec::new()),
};

fn scalar<'a>(at: &At<'a>) -> Option<&'a str> {
    match &at.node.value {
        Yaml::Text(text) | Yaml::Number(text) => Some(text),
        Yaml::Null | Yaml::Bool(_) | Yaml::List(_) | Yaml::Map(_) => None,
    }
}

/// The value where it is in range; a problem and the least where it isn't.
fn within<T: PartialOrd>(
    at: &At<'_>,
    value: Result<T, String>,
    (least, most): (T, T),
    word: Option<&str>,
    wanted: impl Fn() -> String,
    cx: &mut Loader<'_>,
) -> Option<T> {
    let what = match value {
        Ok(value) if value >= least && value <= most => return Some(value),
        Ok(_) => wanted(),
        Err(wanted) => wanted,
    };
    cx.problem(
        at,
        match word {
            Some(word) => format!("expected {what}, or `{word}`"),
            None => format!("expected {what}"),
        },
    );
    Some(least)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::raw::LISTENER;

    #[test]
    fn every_default_is_yaml() {
        for section in SECTIONS {
            for key in section.keys {
                assert_eq!(
                    default_of(section, key).is_some(),
                    key.default.is_some(),
                    "{}.{}",
                    section.name,
                    key.name
                );
                assert!(!(key.required && key.default.is_some()));
            }
        }
        assert!(LISTENER.keys.iter().all(|key| key.default.is_none()));
    }
}
