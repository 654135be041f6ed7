//! Globs: `*` is any bytes but the separator, `**` any bytes. All else is literal; there are no escapes.
//!
//! A value is matched in time linear in its length (times the length of the pattern in 64-byte words), without
//! allocating. Most globs have one star and are two comparisons. The others run as a set of positions in the
//! pattern, one bit each (Baeza-Yates and Gonnet, "A new approach to text searching", 1992), because
//! backtracking over two kinds of stars takes time that a hostile value chooses.

use super::{compare, segments};
use crate::policy::value::Truth;

/// The longest glob in bytes.
pub const MAX_GLOB: usize = 1024;

/// A compiled glob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    text: Box<str>,
    separator: u8,
    /// Where the first star begins and the last one ends; `None` where there is none.
    stars: Option<(usize, usize)>,
    form: Form,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// No star.
    Literal,
    /// One `*`.
    Star,
    /// One `**`.
    DoubleStar,
    /// Several stars: from the first to the last.
    Several(Box<Positions>),
}

impl Glob {
    /// Compiles a glob in which `*` stops at `separator` (`/`, or `.` for hosts). The error says what would be right.
    pub fn new(text: &str, separator: u8) -> Result<Glob, String> {
        let glob = Glob::compile(text, separator)?;
        glob.check().map(|()| glob)
    }

    fn compile(text: &str, separator: u8) -> Result<Glob, String> {
        if text.is_empty() {
            return Err("an empty glob; write `eq: \"\"` for the empty text".to_owned());
        }
        if text.len() > MAX_GLOB {
            return Err(format!("longer than {MAX_GLOB} bytes"));
        }
        if let Some(special) = text.chars().find(|c| "{}[]\\".contains(*c)) {
            return Err(format!(
                "`{special}` has no meaning in a glob; write a list of globs, or use `matches`"
            ));
        }
        if text.contains("***") {
            return Err("`***` has no meaning; `*` stops at a separator, `**` doesn't".to_owned());
        }
        let stars = text.find('*').zip(text.rfind('*').map(|last| last + 1));
        let form = match stars.and_then(|(first, end)| text.get(first..end)) {
            None => Form::Literal,
            Some("*") => Form::Star,
            Some("**") => Form::DoubleStar,
            Some(middle) => Form::Several(Box::new(Positions::new(middle, separator))),
        };
        Ok(Glob {
            text: text.into(),
            separator,
            stars,
            form,
        })
    }

    /// Whether the whole value matches.
    pub fn is_match(&self, value: &str) -> bool {
        if matches!(self.form, Form::Literal) {
            return *self.text == *value;
        }
        let Some(middle) = value
            .as_bytes()
            .strip_prefix(self.literal_prefix().as_bytes())
            .and_then(|rest| rest.strip_suffix(self.literal_suffix().as_bytes()))
        else {
            return false;
        };
        match &self.form {
            Form::Literal => middle.is_empty(),
            Form::Star => memchr::memchr(self.separator, middle).is_none(),
            Form::DoubleStar => true,
            Form::Several(positions) => positions.is_match(middle),
        }
    }

    /// The text before the first star; the whole where there is none.
    pub fn literal_prefix(&self) -> &str {
        self.stars
            .and_then(|(first, _)| self.text.get(..first))
            .unwrap_or(&self.text)
    }

    /// The text after the last star; the whole where there is none.
    pub fn literal_suffix(&self) -> &str {
        self.stars
            .and_then(|(_, end)| self.text.get(end..))
            .unwrap_or(&self.text)
    }

    /// The glob as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether there is no star in it.
    pub fn is_literal(&self) -> bool {
        self.stars.is_none()
    }

    /// Whether it speaks of `/`-separated segments, so that it gives no verdict on a value of which
    /// [`segments::is_ambiguous`] is true.
    pub fn judges_segments(&self) -> bool {
        self.text.contains('/')
    }

    /// Refuses what could never match, and what could match another URL authority than it names.
    fn check(&self) -> Result<(), String> {
        let text = &*self.text;
        let ambiguous = if self.is_literal() {
            segments::is_ambiguous(text)
        } else {
            segments::begins_ambiguous(self.literal_prefix())
        };
        if self.judges_segments() && ambiguous {
            return Err(NEVER_SEGMENTS.to_owned());
        }
        let Some((before, rest)) = text.split_once("://") else {
            return Ok(());
        };
        let (authority, _) = segments::split_authority(rest);
        let names_none = matches!(authority, "" | "*" | "**");
        if names_none || segments::split_scheme(text).is_none() && !before.contains('*') {
            return Ok(());
        }
        if before.contains('*') || authority.contains('*') {
            return Err(format!(
                "could match another authority than `{authority}`; say `url: {{ host: {{ glob: … }} }}`"
            ));
        }
        Ok(())
    }
}

/// Whether one of the globs matches the whole value; one with a `/` says nothing of a value whose segments
/// are ambiguous.
pub fn test(globs: &[Glob], value: &str) -> Truth {
    let mut ambiguous = None;
    compare::any(globs.iter().map(|glob| {
        if glob.judges_segments() && *ambiguous.get_or_insert_with(|| segments::is_ambiguous(value))
        {
            return Truth::Indeterminate;
        }
        glob.is_match(value).into()
    }))
}

/// Why a pattern whose own segments are ambiguous is refused.
pub(super) const NEVER_SEGMENTS: &str = "can never hold: no value with an empty, `.` or `..` segment, a backslash or a control character is matched by a pattern with `/`";

/// A pattern that begins and ends with a star, as one bit a position.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Positions {
    separator: u8,
    /// For each byte, which row of `literals` is its own.
    rows: Box<[u8; 256]>,
    /// Row after row, the positions that hold that literal byte; row 0 is empty.
    literals: Box<[u64]>,
    /// The positions that hold `*`, and those that hold `**`.
    star: Box<[u64]>,
    double_star: Box<[u64]>,
    last: usize,
}

/// Words for the longest glob, and one position past its end.
const WORDS: usize = MAX_GLOB / 64 + 1;

impl Positions {
    fn new(pattern: &str, separator: u8) -> Positions {
        let mut tokens = Vec::with_capacity(pattern.len());
        let mut bytes = pattern.bytes().peekable();
        while let Some(byte) = bytes.next() {
            tokens.push(match byte {
                b'*' if bytes.next_if_eq(&b'*').is_some() => Token::DoubleStar,
                b'*' => Token::Star,
                literal => Token::Literal(literal),
            });
        }
        let words = tokens.len().div_ceil(64);
        let mut rows = Box::new([0_u8; 256]);
        let mut literals = vec![0_u64; words];
        let (mut star, mut double_star) = (vec![0; words], vec![0; words]);
        let mut row_count = 1_usize;
        for (position, token) in tokens.iter().enumerate() {
            let row = match token {
                Token::Star => &mut star[..],
                Token::DoubleStar => &mut double_star[..],
                Token::Literal(byte) => {
                    let row = rows.get_mut(usize::from(*byte));
                    let row = row.map_or(0, |row| {
                        if *row == 0 {
                            // At most 255 different bytes stand in a pattern: `*` is none of them.
                            *row = u8::try_from(row_count).unwrap_or(0);
                            row_count += 1;
                            literals.resize(row_count * words, 0);
                        }
                        usize::from(*row)
                    });
                    literals.get_mut(row * words..).unwrap_or_default()
                }
            };
            if let Some(word) = row.get_mut(position / 64) {
                *word |= 1 << (position % 64);
            }
        }
        Positions {
            separator,
            rows,
            literals: literals.into(),
            star: star.into(),
            double_star: double_star.into(),
            last: tokens.len().saturating_sub(1),
        }
    }

    fn is_match(&self, value: &[u8]) -> bool {
        let words = self.star.len();
        let mut buffer = [0_u64; WORDS];
        let Some(active) = buffer.get_mut(..words) else {
            return false;
        };
        if let Some(first) = active.first_mut() {
            *first = 1;
        }
        // A star may be empty, so that what follows it is active with it.
        self.pass_stars(active);
        for byte in value {
            let row = self.rows.get(usize::from(*byte)).copied().unwrap_or(0);
            let literals = self.literals.get(usize::from(row) * words..);
            let (mut carry, mut any) = (0, 0);
            for (((word, literal), star), double_star) in active
                .iter_mut()
                .zip(literals.unwrap_or_default())
                .zip(&self.star)
                .zip(&self.double_star)
            {
                let matched = *word & literal;
                let mut stays = double_star | star;
                if *byte == self.separator {
                    stays = *double_star;
                }
                let next = (matched << 1) | carry | (*word & stays);
                carry = matched >> 63;
                *word = next;
                any |= next;
            }
            if any == 0 {
                return false;
            }
            self.pass_stars(active);
        }
        active
            .get(self.last / 64)
            .is_some_and(|word| word & (1 << (self.last % 64)) != 0)
    }

    /// Activates the position after each active star. No two stars stand side by side.
    fn pass_stars(&self, active: &mut [u64]) {
        let mut carry = 0;
        for ((word, star), double_star) in active.iter_mut().zip(&self.star).zip(&self.double_star)
        {
            let stars = *word & (star | double_star);
            *word |= (stars << 1) | carry;
            carry = stars >> 63;
        }
    }
}

enum Token {
    Literal(u8),
    Star,
    DoubleStar,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, by recursion.
    fn reference(pattern: &[u8], value: &[u8], separator: u8) -> bool {
        match pattern {
            [] => value.is_empty(),
            [b'*', b'*', rest @ ..] => {
                (0..=value.len()).any(|n| reference(rest, &value[n..], separator))
            }
            [b'*', rest @ ..] => (0..=value.len())
                .take_while(|n| !value[..*n].contains(&separator))
                .any(|n| reference(rest, &value[n..], separator)),
            [literal, rest @ ..] => {
                value.first() == Some(literal) && reference(rest, &value[1..], separator)
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn a_glob_is_what_its_definition_says(
            parts in prop::collection::vec(prop_oneof!["[ab/.é]{0,3}", Just("*".to_owned()), Just("**".to_owned())], 0..9),
            value in "[ab/.é]{0,12}",
            separator in prop_oneof![Just(b'/'), Just(b'.')],
        ) {
            let pattern = parts.concat();
            if let Ok(glob) = Glob::compile(&pattern, separator) {
                let expected = reference(pattern.as_bytes(), value.as_bytes(), separator);
                prop_assert_eq!(glob.is_match(&value), expected, "{} on {}", pattern, value);
            }
        }
    }

    #[test]
    fn stars_and_separators() {
        let cases = [
            ("a*", "a", true),
            ("a*", "abc", true),
            ("a*", "ab/c", false),
            ("a**", "ab/c", true),
            ("*.txt", "x.txt", true),
            ("*.txt", "d/x.txt", false),
            ("ab*ba", "aba", false),
            ("a/*/c", "a/b/c", true),
            ("a/*/c", "a/b/b/c", false),
            ("a/**/c", "a/b/b/c", true),
            ("a/**/c", "a/c", false),
            ("**/b/*", "x/y/b/c", true),
            ("**/b/*", "b/c", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxa/xbxx", false),
            ("literal", "literal", true),
            ("literal", "literally", false),
            ("**", "", true),
        ];
        for (pattern, value, expected) in cases {
            let glob = Glob::new(pattern, b'/').unwrap();
            assert_eq!(glob.is_match(value), expected, "{pattern} {value}");
        }
        let host = Glob::new("*.example.com", b'.').unwrap();
        assert!(host.is_match("api.example.com"));
        assert!(!host.is_match("a.b.example.com"));
        assert!(!host.is_match("example.com"));
    }

    #[test]
    fn a_long_glob_crosses_words() {
        let pattern = format!("**{}*{}**", "a".repeat(100), "b".repeat(300));
        let glob = Glob::new(&pattern, b'/').unwrap();
        let value = format!("/{}x{}/", "a".repeat(150), "b".repeat(301));
        assert!(glob.is_match(&value));
        assert!(!glob.is_match(&value.replace('x', "/")));
        let longest = format!("*{}*", "c".repeat(MAX_GLOB - 2));
        let glob = Glob::new(&longest, b'/').unwrap();
        assert!(glob.is_match(&"c".repeat(MAX_GLOB)));
        assert!(!glob.is_match(&"c".repeat(MAX_GLOB - 3)));
    }

    #[test]
    fn the_literal_ends_serve_an_index() {
        let ends = |text| {
            let glob = Glob::new(text, b'/').unwrap();
            (
                glob.literal_prefix().to_owned(),
                glob.literal_suffix().to_owned(),
            )
        };
        assert_eq!(ends("a/*/b**c"), ("a/".into(), "c".into()));
        assert_eq!(ends("**"), (String::new(), String::new()));
        assert_eq!(ends("abc"), ("abc".into(), "abc".into()));
    }
}
