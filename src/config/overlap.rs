//! Whether two globs share a name: the test that keeps two providers from asserting the same agent.
//!
//! Both patterns are automata over bytes with one state per position. Their product is walked from the
//! start; they intersect exactly where it reaches the end of both. Positions are at most a few hundred, so
//! the product is small. Whether the common name is UTF-8 is not asked: at worst, more is refused.

/// Whether some text matches both globs (`*`: any bytes but `/`, `**`: any bytes).
pub fn overlap(a: &str, b: &str) -> bool {
    let (a, b) = (tokens(a), tokens(b));
    let width = b.len() + 1;
    let mut seen = vec![false; (a.len() + 1) * width];
    let mut open = vec![(0, 0)];
    while let Some((i, j)) = open.pop() {
        match seen.get_mut(i * width + j) {
            Some(seen) if !*seen => *seen = true,
            _ => continue,
        }
        if i == a.len() && j == b.len() {
            return true;
        }
        let (x, y) = (a.get(i), b.get(j));
        // A wildcard may end here, having taken what it took.
        if x.is_some_and(Token::is_wild) {
            open.push((i + 1, j));
        }
        if y.is_some_and(Token::is_wild) {
            open.push((i, j + 1));
        }
        // Both take one byte. Two wildcards taking the same byte stay where they are.
        match (x, y) {
            (Some(Token::Byte(x)), Some(Token::Byte(y))) if x == y => open.push((i + 1, j + 1)),
            (Some(Token::Byte(x)), Some(y)) if y.takes(*x) => open.push((i + 1, j)),
            (Some(x), Some(Token::Byte(y))) if x.takes(*y) => open.push((i, j + 1)),
            _ => {}
        }
    }
    false
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    Star,
    DoubleStar,
}

impl Token {
    fn is_wild(&self) -> bool {
        match self {
            Token::Byte(_) => false,
            Token::Star | Token::DoubleStar => true,
        }
    }

    /// Whether this wildcard takes the byte; a literal takes none here, for equal literals go together.
    fn takes(self, byte: u8) -> bool {
        match self {
            Token::Byte(_) => false,
            Token::Star => byte != b'/',
            Token::DoubleStar => true,
        }
    }
}

fn tokens(glob: &str) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(glob.len());
    let mut bytes = glob.bytes().peekable();
    while let Some(byte) = bytes.next() {
        tokens.push(match byte {
            b'*' if bytes.next_if_eq(&b'*').is_some() => Token::DoubleStar,
            b'*' => Token::Star,
            literal => Token::Byte(literal),
        });
    }
    tokens
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pairs() {
        for (a, b, expected) in [
            ("", "", true),
            ("a", "a", true),
            ("a", "b", false),
            ("a", "", false),
            ("*", "", true),
            ("*", "a/b", false),
            ("**", "a/b", true),
            ("a/*", "a/*", true),
            ("a/*", "*/b", true),
            ("a/*", "a/b/*", false),
            ("a/**", "a/b/*", true),
            ("*x", "y*", true),
            ("*x", "*y", false),
            ("x*", "y*", false),
            ("x/*/z", "x/**", true),
            ("x/*/z", "**/y", false),
            ("a*b*c", "a**c", true),
            (
                "spiffe://corp/agent/**",
                "spiffe://corp/agent/support/*",
                true,
            ),
            ("spiffe://corp/agent/*", "spiffe://corp/user/*", false),
            ("spiffe://corp/*", "spiffe://corp/agent/7", false),
            ("ü*", "u*", false),
        ] {
            assert_eq!(overlap(a, b), expected, "{a} {b}");
            assert_eq!(overlap(b, a), expected, "{b} {a}");
        }
    }

    /// The obvious matcher, exponential and right.
    fn matches(glob: &[Token], text: &[u8]) -> bool {
        match (glob.split_first(), text.split_first()) {
            (None, rest) => rest.is_none(),
            (Some((Token::Byte(b), glob)), Some((t, text))) => b == t && matches(glob, text),
            (Some((Token::Byte(_), _)), None) => false,
            (Some((wild, rest)), text_head) => {
                matches(rest, text)
                    || text_head.is_some_and(|(t, text)| wild.takes(*t) && matches(glob, text))
            }
        }
    }

    /// Every text of `a`, `b` and `/` up to this length.
    fn texts(longest: u32) -> impl Iterator<Item = Vec<u8>> {
        (0..=longest).flat_map(|length| {
            (0..3u32.pow(length)).map(move |n| {
                (0..length)
                    .map(|place| b"ab/"[(n / 3u32.pow(place) % 3) as usize])
                    .collect()
            })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// A shortest common text is no longer than the literals of both, so trying all of these is a proof.
        #[test]
        fn agrees_with_trying_every_text(a in "[ab/*]{0,4}", b in "[ab/*]{0,3}") {
            let (ta, tb) = (tokens(&a), tokens(&b));
            let common = texts(7).any(|text| matches(&ta, &text) && matches(&tb, &text));
            prop_assert_eq!(overlap(&a, &b), common, "{} {}", a, b);
        }

        #[test]
        fn a_glob_overlaps_what_it_matches(parts in prop::collection::vec("[a-c]{0,3}", 1..6)) {
            let glob = parts.join("*");
            let text = parts.join("xy");
            prop_assert!(overlap(&glob, &text));
            prop_assert!(overlap(&text, &glob));
        }
    }
}
