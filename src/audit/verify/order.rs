//! The files of a log in its order, which is that of their headers.

use std::path::Path;
use std::sync::Arc;

use super::lines::{Lines, Next, open};
use super::{Finding, Kind, VerifyError};
use crate::audit::files::Part;
use crate::audit::segment::{COMPRESSED, Segment};

/// Puts files in order by their first lines, and tells those whose names say otherwise. A file whose first line says
/// nothing keeps its place behind the one that was named before it.
pub(in crate::audit) fn in_order(
    parts: Vec<Part>,
) -> Result<(Vec<Part>, Vec<Finding>), VerifyError> {
    let mut found = Vec::with_capacity(parts.len());
    let mut findings = Vec::new();
    let mut before = 0;
    for part in parts {
        let (named, first) = (named_first(&part.path), first_record(&part)?);
        if let (Some(named), Some(first)) = (named, first)
            && named != first
        {
            findings.push(Finding {
                kind: Kind::Reordered,
                file: Some(Arc::from(part.path.as_path())),
                line: 1,
                records: None,
                text: format!(
                    "the file is named as if it began with record {named}, and begins with {first}"
                ),
            });
        }
        before = first.or(named).unwrap_or(before);
        found.push((before, part));
    }
    found.sort_by_key(|(first, _)| *first);
    let parts = found.into_iter().map(|(_, part)| part).collect();
    Ok((parts, findings))
}

/// What the header says; `None` where it is none.
fn first_record(part: &Part) -> Result<Option<u64>, VerifyError> {
    let error = |source| VerifyError::Read {
        path: part.path.clone(),
        source,
    };
    let from = open(part, |_| {}).map_err(error)?;
    // what can't be decompressed is told where the file is read
    let header = match Lines::new(from).next() {
        Ok(Next::Line(line)) => Segment::parse(line.bytes()),
        Ok(Next::TooLong | Next::End) => None,
        Err(source) if std::fs::metadata(&part.path).is_ok_and(|of| of.is_dir()) => {
            return Err(error(source));
        }
        Err(_) => None,
    };
    Ok(header.and_then(|header| header.seq.checked_add(1)))
}

/// The number in the name of a closed file.
fn named_first(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let name = name.strip_suffix(COMPRESSED).unwrap_or(name);
    let (_, number) = name.rsplit_once('.')?;
    let digits = number.len() >= 16 && number.bytes().all(|digit| digit.is_ascii_digit());
    digits.then(|| number.parse().ok())?
}
