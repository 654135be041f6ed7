//! Globs: `*` is any bytes but the separator, `**` any bytes.

/// A compiled glob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    text: Box<str>,
    separator: u8,
}

impl Glob {
    /// Compiles a glob in which `*` stops at `separator` (`/`, or `.` for hosts).
    pub fn new(text: &str, separator: u8) -> Result<Glob, String> {
        Ok(Glob {
            text: text.into(),
            separator,
        })
    }

    /// Whether the whole value matches.
    pub fn is_match(&self, value: &str) -> bool {
        matches(self.text.as_bytes(), value.as_bytes(), self.separator)
    }
}

fn matches(glob: &[u8], value: &[u8], separator: u8) -> bool {
    match glob {
        [] => value.is_empty(),
        [b'*', b'*', rest @ ..] => {
            (0..=value.len()).any(|n| value.get(n..).is_some_and(|v| matches(rest, v, separator)))
        }
        [b'*', rest @ ..] => {
            let stop = value
                .iter()
                .position(|b| *b == separator)
                .unwrap_or(value.len());
            (0..=stop).any(|n| value.get(n..).is_some_and(|v| matches(rest, v, separator)))
        }
        [first, rest @ ..] => value
            .split_first()
            .is_some_and(|(v, tail)| v == first && matches(rest, tail, separator)),
    }
}
