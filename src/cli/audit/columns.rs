//! Records as CSV (RFC 4180), for spreadsheets.
//!
//! What callers wrote must not become a formula where the file is opened: a cell that begins with what a
//! spreadsheet takes for one gets an apostrophe before it. And it must not speak to a terminal: control
//! characters are written as `\u{…}`.

use std::io::{self, Write};

use crate::audit::read::visible;
use crate::audit::view::{Field, View};

/// A column: its name, and what of a record stands in it.
type Column = (&'static str, Cell);

enum Cell {
    Text(Field),
    At,
    Seq,
    Policies,
    Status,
    Bytes,
    RequestBytes,
    TotalUs,
}

/// The columns, in this order. New ones are only added at the end.
const COLUMNS: [Column; 30] = [
    ("kind", Cell::Text(Field::Kind)),
    ("node", Cell::Text(Field::Node)),
    ("seq", Cell::Seq),
    ("at", Cell::At),
    ("id", Cell::Text(Field::Id)),
    ("decision", Cell::Text(Field::Verdict)),
    ("reason", Cell::Text(Field::Reason)),
    ("detail", Cell::Text(Field::Detail)),
    ("policies", Cell::Policies),
    ("provider", Cell::Text(Field::Provider)),
    ("agent", Cell::Text(Field::Agent)),
    ("user", Cell::Text(Field::User)),
    ("workload", Cell::Text(Field::Workload)),
    ("session", Cell::Text(Field::Session)),
    ("task", Cell::Text(Field::Task)),
    ("client", Cell::Text(Field::Client)),
    ("route", Cell::Text(Field::Route)),
    ("upstream", Cell::Text(Field::Upstream)),
    ("method", Cell::Text(Field::Method)),
    ("host", Cell::Text(Field::Host)),
    ("path", Cell::Text(Field::Path)),
    ("template", Cell::Text(Field::Template)),
    ("grant", Cell::Text(Field::Grant)),
    ("trace_id", Cell::Text(Field::TraceId)),
    ("event", Cell::Text(Field::Event)),
    ("end", Cell::Text(Field::End)),
    ("status", Cell::Status),
    ("bytes", Cell::Bytes),
    ("request_bytes", Cell::RequestBytes),
    ("total_us", Cell::TotalUs),
];

/// The first row: the columns' names.
pub(super) fn names(out: &mut impl Write) -> io::Result<()> {
    row(COLUMNS.iter().map(|(name, _)| (*name).to_owned()), out)
}

/// A record as a row.
pub(super) fn record(view: &View<'_>, out: &mut impl Write) -> io::Result<()> {
    row(COLUMNS.iter().map(|(_, cell)| text(view, cell)), out)
}

/// A row of any cells.
pub(super) fn row(cells: impl Iterator<Item = String>, out: &mut impl Write) -> io::Result<()> {
    for (index, cell) in cells.enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        out.write_all(quoted(&cell).as_bytes())?;
    }
    out.write_all(b"\r\n")
}

fn text(view: &View<'_>, cell: &Cell) -> String {
    let number = |number: Option<u64>| number.map(|n| n.to_string()).unwrap_or_default();
    match cell {
        Cell::Text(field) => view.text(*field).unwrap_or_default().to_owned(),
        Cell::At => format!("{:.6}", view.at),
        Cell::Seq => view.seq.to_string(),
        // an id holds no blank
        Cell::Policies => {
            let ids: Vec<&str> = view.texts(Field::Policy).collect();
            ids.join(" ")
        }
        Cell::Status => number(view.status().map(u64::from)),
        Cell::Bytes => number(view.bytes()),
        Cell::RequestBytes => number(view.request_bytes()),
        Cell::TotalUs => number(view.total_us()),
    }
}

fn quoted(cell: &str) -> String {
    let mut text = visible(cell);
    // also before blanks, which some strip; and what full-width keyboards write for the same signs
    let first = cell.trim_start().chars().next();
    let formula = matches!(
        first,
        Some('=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠')
    ) || cell.starts_with(['\t', '\r']);
    if formula {
        text.insert(0, '\'');
    }
    if text.contains([',', '"', '\'', ';', ' ']) {
        text = format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_no_formulas() {
        for (cell, written) in [
            ("", ""),
            ("plain", "plain"),
            ("é中😀", "é中😀"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("=1+1", "\"'=1+1\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            (" =1", "\"' =1\""),
            ("＝1", "\"'＝1\""),
            ("\t=1", "\"'\\u{9}=1\""),
            ("\r", "\"'\\u{d}\""),
            ("\tx", "\"'\\u{9}x\""),
            ("a\nb", "a\\u{a}b"),
            ("=cmd|' /C calc'!A0", "\"'=cmd|' /C calc'!A0\""),
            ("\",=1", "\"\"\",=1\""),
            ("\u{1b}[31m\u{202e}", "\\u{1b}[31m\\u{202e}"),
        ] {
            assert_eq!(quoted(cell), written, "{cell:?}");
        }
    }

    #[test]
    fn a_row_ends_as_rfc_4180_says() {
        let mut out = Vec::new();
        row(["a", "b c"].map(str::to_owned).into_iter(), &mut out).unwrap();
        assert_eq!(out, b"a,\"b c\"\r\n");
    }
}
