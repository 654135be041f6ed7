//! The files of a log in its order, which is that of their headers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::lines::{Lines, Next, open};
use super::{Finding, Kind, VerifyError};
use crate::audit::segment::{COMPRESSED, Segment};

/// Puts files in order by their first lines, and tells those whose names say otherwise. A file whose first line says
/// nothing keeps its place behind the one that was named before it.
pub(in crate::audit) fn in_order(
    files: &[PathBuf],
) -> Result<(Vec<PathBuf>, Vec<Finding>), VerifyError> {
    let mut found = Vec::with_capacity(files.len());
    let mut findings = Vec::new();
    let mut before = 0;
    for path in files {
        let (named, first) = (named_first(path), first_record(path)?);
        if let (Some(named), Some(first)) = (named, first)
            && named != first
        {
            findings.push(Finding {
                kind: Kind::Reordered,
                file: Some(Arc::from(path.as_path())),
                line: 1,
                records: None,
                text: format!(
                    "the file is named as if it began with record {named}, and begins with {first}"
                ),
            });
        }
        before = first.or(named).unwrap_or(before);
        found.push((before, path.clone()));
    }
    found.sort_by_key(|(first, _)| *first);
    let files = found.into_iter().map(|(_, path)| path).collect();
    Ok((files, findings))
}

/// What the header says; `None` where it is none.
fn first_record(path: &Path) -> Result<Option<u64>, VerifyError> {
    let error = |source| VerifyError::Read {
        path: path.to_owned(),
        source,
    };
    let from = open(path, |_| {}).map_err(error)?;
    // what can't be decompressed is told where the file is read
    let header = match Lines::new(from).next() {
        Ok(Next::Line(line)) => Segment::parse(line.bytes()),
        Ok(Next::TooLong | Next::End) => None,
        Err(source) if std::fs::metadata(path).is_ok_and(|of| of.is_dir()) => {
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
