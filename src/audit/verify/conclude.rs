//! What signed checkpoints say of the log that was read, and what a reader should know of it.

use super::checkpoints::Signed;
use super::diagnose::{Found, Spot, records};
use super::scan::Scan;
use super::trees::Said;
use super::{Kind, SignedPart};

/// Adds to what was found what only checkpoints tell, and to the report what is signed.
/// `last` is the number of the chain's last record; `trusted` is absent where nothing is held against checkpoints.
pub(super) fn conclude(
    scan: &mut Scan,
    trusted: Option<&[Signed]>,
    last: Option<u64>,
    found: &mut Vec<Found>,
) {
    let last = last.unwrap_or(0);
    let signed = trusted.unwrap_or_default();
    let (size, offset) = scan.trees.size().unwrap_or((last, 0));
    let total = size.max(last.saturating_sub(offset));
    let base = scan.base.as_ref().map_or(0, |(_, base)| base.tree.size());
    let mut part = SignedPart {
        checkpoints: signed.len() as u64,
        up_to: scan.trees.up_to,
        ..SignedPart::default()
    };
    for one in signed {
        match scan.trees.said.get(&one.size) {
            // of two that were signed for one size at most one does
            Some(_) if scan.trees.agreed.contains(&(one.size, one.root)) => part.agree += 1,
            Some(_) => part.disagree += 1,
            None if one.size < base => part.older += 1,
            None => part.not_compared += 1,
        }
    }
    part.after = last.saturating_sub(
        part.up_to
            .unwrap_or(0)
            .max(scan.seen.anchor.map_or(0, |a| a.0)),
    );
    if !scan.stopped {
        truncated(scan, signed, total, offset, found);
    }
    if trusted.is_some() {
        beyond(scan, signed, found);
    }
    rewritten(scan, offset, found);
    notes(scan, &part);
    scan.report.signed = Some(part);
}

/// More was signed than is there.
fn truncated(scan: &Scan, signed: &[Signed], total: u64, offset: u64, found: &mut Vec<Found>) {
    let Some(largest) = signed.last().filter(|one| one.size > total) else {
        return;
    };
    let spot = scan.last.map_or(Spot::default(), |last| last.spot);
    let missing = largest.size - total;
    found.push(Found {
        kind: Kind::Truncated,
        spot,
        records: Some((
            total.saturating_add(offset).saturating_add(1),
            largest.size.saturating_add(offset),
        )),
        text: format!(
            "{missing} missing after the log's end: {} were there when the checkpoint at line {} was signed",
            largest.size, largest.line
        ),
    });
}

/// The log begins where no checkpoint leads to: its header, and all that follows, can be anybody's. One within the log
/// would have been compared with the tree that grew from the header.
fn beyond(scan: &Scan, signed: &[Signed], found: &mut Vec<Found>) {
    let largest = signed.last().map_or(0, |one| one.size);
    let Some((spot, base)) = &scan.base else {
        return;
    };
    let size = base.tree.size();
    if size <= largest {
        return;
    }
    let offset = base.seq.saturating_sub(size);
    let upto = match signed.last() {
        Some(one) => format!(
            "the last one, at line {}, is of {largest} records",
            one.line
        ),
        None => "there is none".to_owned(),
    };
    found.push(Found {
        kind: Kind::Removed,
        spot: *spot,
        records: Some((largest.saturating_add(offset).saturating_add(1), base.seq)),
        text: format!(
            "no checkpoint leads up to where the log begins, with record {}: {upto}. Retention removes no file before the \
             checkpoint at its end is written",
            base.seq.saturating_add(1)
        ),
    });
}

/// The chain is whole, and yet not the one that was signed.
fn rewritten(scan: &Scan, offset: u64, found: &mut Vec<Found>) {
    if let Some((before, after)) = scan.trees.forked {
        found.push(Found {
            kind: Kind::Forked,
            spot: place_of(scan, before + offset),
            records: Some((before + offset, after + offset)),
            text: format!(
                "the log is the one of the checkpoint of {after} records, and not the one of the checkpoint of {before}: two histories were signed"
            ),
        });
        return;
    }
    let (mut agreed, mut told) = (None, false);
    let mut ranges = Vec::new();
    for (size, said) in &scan.trees.said {
        if *said == Said::Agrees {
            (agreed, told) = (Some(*size), false);
            continue;
        }
        if std::mem::replace(&mut told, true) {
            continue;
        }
        let first = agreed.map_or(scan.seen.anchor.map_or(0, |anchor| anchor.0), |size| {
            size + offset
        }) + 1;
        let range = (first.min(size + offset), size + offset);
        let since = match agreed {
            Some(agreed) => {
                format!("after the checkpoint of {agreed} records, with which the log agrees,")
            }
            None => "from the log's beginning on".to_owned(),
        };
        ranges.push(range);
        found.push(Found {
            kind: Kind::Changed,
            spot: place_of(scan, range.0),
            records: Some(range),
            text: format!(
                "the chain {since} is not the one of the checkpoint of {size} records: it was made anew{}",
                besides(found, range)
            ),
        });
    }
    for (before, last) in &scan.trees.unlike {
        let range = (before + 1, *last);
        if ranges
            .iter()
            .any(|(from, to)| *from <= range.1 && *to >= range.0)
        {
            continue;
        }
        let text = format!(
            "these are not the records that the header after them speaks of, with which a checkpoint agrees{}",
            besides(found, range)
        );
        found.push(Found {
            kind: Kind::Changed,
            spot: place_of(scan, range.0),
            records: Some(range),
            text,
        });
    }
}

/// Whether other findings are in the range as well.
fn besides(found: &[Found], range: (u64, u64)) -> &'static str {
    let within = |(from, to): (u64, u64)| from <= range.1 && to >= range.0;
    let others = found.iter().any(|one| one.records.is_some_and(within));
    match others {
        true => ", besides what else is told of them",
        false => "",
    }
}

/// Where this record stands.
fn place_of(scan: &Scan, number: u64) -> Spot {
    let run = scan
        .seen
        .runs
        .iter()
        .find(|run| run.first <= number && number <= run.last);
    match run {
        Some(run) => Spot {
            file: run.start.file,
            line: run.start.line + (number - run.first),
        },
        None => Spot { file: 0, line: 1 },
    }
}

fn notes(scan: &mut Scan, part: &SignedPart) {
    let mut notes = Vec::new();
    if scan.stopped {
        notes.push("more is broken than is looked at: what comes after was not read".to_owned());
    }
    if let Some((before, _)) = scan.seen.anchor.filter(|(before, _)| *before > 0) {
        let base_is_empty = scan
            .base
            .as_ref()
            .is_some_and(|(_, base)| base.tree.size() == 0);
        let vouched = match (part.checkpoints, part.agree) {
            _ if base_is_empty => "",
            (0, _) => "",
            (_, 0) => "; no checkpoint vouches for them",
            (_, _) => "; a checkpoint vouches for them",
        };
        notes.push(format!(
            "the log begins with record {}: the ones before it are not here, as after retention{vouched}",
            before + 1
        ));
    }
    if let Some((_, base)) = &scan.base
        && base.seq != base.tree.size()
    {
        let lost = base.seq.saturating_sub(base.tree.size());
        notes.push(format!(
            "{lost} records before the log's first file are in no tree: they were lost, or never chained"
        ));
    }
    for (before, last) in &scan.trees.unseen {
        notes.push(format!(
            "{} could not be compared with a checkpoint, because of what is told of them: not only those that are named \
             may be others than were signed",
            records((before + 1, *last))
        ));
    }
    if part.older > 0 {
        notes.push(format!(
            "{} checkpoints are older than the log's first file",
            part.older
        ));
    }
    notes.append(&mut scan.report.notes);
    scan.report.notes = notes;
}
