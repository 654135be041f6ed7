//! `matches`: regexes over the whole value, as dense DFAs.
//!
//! A DFA looks at each byte once, so no value can make a regex slow; what a regex costs is its size, and that
//! is bounded when it is read. Unicode is on and case counts, unless the regex says otherwise (`(?i)`).

use std::fmt;
use std::sync::Arc;

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};

use crate::policy::value::Truth;

/// The longest regex in bytes.
pub const MAX_REGEX: usize = 4096;

/// The largest DFA in bytes.
pub const MAX_DFA: usize = 1 << 20;

/// Work memory while a DFA is made, which also bounds the time that takes.
const MAX_DETERMINIZE: usize = 4 << 20;

/// A compiled regex that matches whole values.
#[derive(Clone)]
pub struct Pattern {
    text: Box<str>,
    dfa: Arc<dense::DFA<Vec<u32>>>,
}

impl Pattern {
    /// Compiles a regex. The error says what is wrong with it.
    pub fn new(text: &str) -> Result<Pattern, String> {
        if text.len() > MAX_REGEX {
            return Err(format!("longer than {MAX_REGEX} bytes"));
        }
        // By itself first: `a)|(?:b` is no regex, but would become one that escapes its anchors.
        for whole in [text, &anchored(text)] {
            syntax::parse(whole).map_err(|error| {
                let error = error.to_string();
                let told = error.lines().last().unwrap_or_default();
                format!("not a regex: {}", told.trim_start_matches("error: "))
            })?;
        }
        let dfa = dense::Builder::new()
            .configure(
                dense::Config::new()
                    .start_kind(StartKind::Anchored)
                    .dfa_size_limit(Some(MAX_DFA))
                    .determinize_size_limit(Some(MAX_DETERMINIZE)),
            )
            .thompson(
                thompson::Config::new()
                    .which_captures(WhichCaptures::None)
                    .nfa_size_limit(Some(MAX_DFA)),
            )
            .build(&anchored(text))
            .map_err(|error| told(&error))?;
        Ok(Pattern {
            text: text.into(),
            dfa: Arc::new(dfa),
        })
    }

    /// Whether the whole value matches.
    pub fn test(&self, value: &str) -> Truth {
        let input = Input::new(value).anchored(Anchored::Yes).earliest(true);
        match self.dfa.try_search_fwd(&input) {
            Ok(found) => found.is_some().into(),
            Err(_) => Truth::Indeterminate,
        }
    }

    /// The regex as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The regex as compiled: `\A(?:…)\z`.
    pub fn anchored(&self) -> String {
        anchored(&self.text)
    }

    /// The automaton, anchored at both ends.
    pub fn dfa(&self) -> &Arc<dense::DFA<Vec<u32>>> {
        &self.dfa
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.text).finish()
    }
}

fn anchored(text: &str) -> String {
    format!(r"\A(?:{text})\z")
}

fn told(error: &dense::BuildError) -> String {
    use std::error::Error;
    // A limit of the NFA's arrives as the cause.
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    if error.is_size_limit_exceeded() || cause.contains("limit") {
        return format!(
            "the automaton would be larger than {} MiB; write shorter repetitions, or `[a-z]` and `[0-9]` for `\\w` and `\\d`",
            MAX_DFA >> 20
        );
    }
    if error.to_string().contains("word boundar") {
        return "`\\b` and `\\B` are not supported; the regex matches the whole value anyway"
            .to_owned();
    }
    let cause = if cause.is_empty() {
        error.to_string()
    } else {
        cause
    };
    format!("not a regex: {}", cause.lines().last().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_value_or_nothing() {
        let cases = [
            ("[a-z]+", "abc", true),
            ("[a-z]+", "abc1", false),
            ("a|b", "ab", false),
            ("a|ab", "ab", true),
            ("a", "a\n", false),
            ("(?m)^a$", "a\nb", false),
            ("a.c", "a\nc", false),
            ("(?i)straße", "STRASSE", false),
            ("é", "é", true),
            (".", "é", true),
            (r"\p{Greek}+", "αβγ", true),
            ("a", "A", false),
            ("", "", true),
        ];
        for (regex, value, expected) in cases {
            let pattern = Pattern::new(regex).unwrap();
            assert_eq!(pattern.test(value), expected.into(), "{regex} {value}");
        }
    }

    #[test]
    fn what_is_no_regex_says_why() {
        let cases = [
            ("a)|(?:b", "not a regex: unopened group"),
            ("(a", "not a regex: unclosed group"),
            (
                r"(?-u:\xff)",
                "not a regex: pattern can match invalid UTF-8",
            ),
            ("(?x)a #", "not a regex: unclosed group"),
            (
                "[a-z]{1000}{1000}",
                "the automaton would be larger than 1 MiB",
            ),
            (r"\w{200}", "the automaton would be larger than 1 MiB"),
            (
                "(?:a|b)*a(?:a|b){20}",
                "the automaton would be larger than 1 MiB",
            ),
            (r"\bx\b", r"`\b` and `\B` are not supported"),
            (&"a".repeat(4097), "longer than 4096 bytes"),
        ];
        for (regex, message) in cases {
            let error = Pattern::new(regex).unwrap_err();
            assert!(error.starts_with(message), "{regex:.20}: {error}");
        }
    }
}
