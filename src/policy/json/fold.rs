//! Unicode simple case folding: one character to one character, so that two names that a lenient reader takes
//! for one are told apart from two that differ.
//!
//! Full folding (`ß` as `ss`) is deliberately absent: no key-value reader that ignores case is known to do it.

use std::sync::LazyLock;

use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};

/// One character for all that differ from it only in case. Those with an ASCII letter among them (the Kelvin
/// sign, the long s) become that letter in lower case, and so do the dotless i and the dotted I: by way of upper
/// case, as Java compares, they are an i.
#[inline]
pub(in crate::policy) fn fold(character: char) -> char {
    if character.is_ascii() {
        return character.to_ascii_lowercase();
    }
    let found = FOLDS.binary_search_by_key(&character, |(from, _)| *from);
    found
        .ok()
        .and_then(|index| FOLDS.get(index))
        .map_or(character, |(_, to)| *to)
}

/// Whether the text is `folded` but for case, where `folded` was made with [`fold`].
pub(in crate::policy) fn folds_to(text: &str, folded: &str) -> bool {
    if text.is_ascii() && folded.is_ascii() {
        return text.eq_ignore_ascii_case(folded);
    }
    text.chars().map(fold).eq(folded.chars())
}

/// Makes the table now, so that no request waits the few milliseconds for it.
pub(in crate::policy) fn prepare() {
    LazyLock::force(&FOLDS);
}

/// Every character outside ASCII that folds to another, sorted. It is read off regex-syntax's tables once,
/// since asking those allocates.
static FOLDS: LazyLock<Vec<(char, char)>> = LazyLock::new(|| {
    let cased = |c: &char| {
        c.is_lowercase()
            || c.is_uppercase()
            || !c.to_lowercase().eq([*c])
            || !c.to_uppercase().eq([*c])
    };
    // No character above these planes has case; a test asks them all.
    ('\u{80}'..='\u{1FFFF}')
        .filter(cased)
        .map(|c| (c, least_variant(c)))
        .filter(|(from, to)| from != to)
        .collect()
});

/// The least character of those that differ only in case, in lower case if that is ASCII.
fn least_variant(character: char) -> char {
    if matches!(character, 'ı' | 'İ') {
        return 'i';
    }
    let mut class = ClassUnicode::new([ClassUnicodeRange::new(character, character)]);
    // It fails only where regex-syntax was built without its tables, which Cargo.toml rules out.
    let _ = class.try_case_fold_simple();
    let least = class
        .ranges()
        .first()
        .map_or(character, |range| range.start());
    least.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_character_that_folds() {
        for c in '\0'..='\u{1FFFF}' {
            assert_eq!(fold(c), least_variant(c), "{c:?}");
        }
        let mut above = ClassUnicode::new([ClassUnicodeRange::new('\u{20000}', char::MAX)]);
        above.try_case_fold_simple().unwrap();
        assert_eq!(above.ranges().len(), 1);
        assert_eq!(above.ranges()[0].start(), '\u{20000}');
    }

    #[test]
    fn folds_as_unicode_says() {
        let cases = [
            ('K', 'k'),
            ('\u{212A}', 'k'),
            ('\u{17F}', 's'),
            ('Σ', 'Σ'),
            ('ς', 'Σ'),
            ('σ', 'Σ'),
            ('\u{1E9E}', 'ß'),
            ('ß', 'ß'),
            ('Å', 'Å'),
            ('å', 'Å'),
            ('\u{212B}', 'Å'),
            ('İ', 'i'),
            ('ı', 'i'),
            ('Ꭰ', 'Ꭰ'),
            ('ꭰ', 'Ꭰ'),
            ('中', '中'),
        ];
        for (from, to) in cases {
            assert_eq!(fold(from), to, "{from}");
        }
    }
}
