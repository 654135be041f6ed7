//! How a record's line is shown. What callers wrote never speaks to the terminal.

use std::io::{self, Write};

use crate::audit::read::{Record, Tone, describe_with, visible, visible_json};
use crate::cli::Paint;

/// One line for people, coloured by how it went.
pub(super) fn readable(line: &str, paint: Paint, out: &mut impl Write) -> io::Result<()> {
    let painted = |tone, word: &str| match tone {
        Tone::Good => paint.green(word),
        Tone::Bad => paint.red(word),
        Tone::Odd => paint.yellow(word),
    };
    match Record::parse(line) {
        Ok(record) => writeln!(out, "{}", describe_with(&record, painted)),
        // of this version, but newer than this program
        Err(_) => writeln!(out, "{}", visible(line)),
    }
}

/// The line as it is. One that holds what our writer would have escaped is escaped: as JSON it stays the same.
pub(super) fn raw(line: &str, out: &mut impl Write) -> io::Result<()> {
    out.write_all(visible_json(line).as_bytes())?;
    out.write_all(b"\n")
}
