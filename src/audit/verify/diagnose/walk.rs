//! The chain is gone through from its end, pair by pair, and what doesn't fit is told.

use super::*;

/// Tells what is wrong between the parts, of those that are displaced, and of what is left over.
pub(super) fn walk(placed: &Placed, seen: &Seen, report: &mut Report<'_>) {
    let mut walk = Walk {
        placed,
        replaced: seen.replaced.iter().copied().collect(),
        used: vec![false; placed.extras.len()],
        bent: false,
        sound: false,
        report,
    };
    walk.end(seen.claim);
    let mut later: Option<usize> = None;
    for at in (0..placed.main.len()).rev() {
        if let (Some(before), Some(after)) = (
            placed.main.get(at),
            later.and_then(|later| placed.main.get(later)),
        ) {
            let still = |at: usize| !placed.displaced.get(at).copied().unwrap_or(true);
            let in_place = still(at) && later.is_some_and(still);
            walk.pair(before, after, in_place);
        }
        later = Some(at);
    }
    walk.displaced();
    walk.left_over();
    walk.broken();
    walk.misfits(&seen.misfits);
}

struct Walk<'w, 'f> {
    placed: &'w Placed,
    replaced: BTreeSet<u64>,
    /// The extras that a finding speaks of already.
    used: Vec<bool>,
    /// The later part of the pair is itself changed: what it says of the one before counts for nothing.
    bent: bool,
    /// The later part's last record is the one that its successor speaks of.
    sound: bool,
    report: &'w mut Report<'f>,
}

impl Walk<'_, '_> {
    fn pair(&mut self, before: &Part, after: &Part, in_place: bool) {
        let (bent, sound) = (
            std::mem::take(&mut self.bent),
            std::mem::take(&mut self.sound),
        );
        let between = match in_place && before.end() < after.start {
            true => self.between(before.end(), after.start),
            false => Vec::new(),
        };
        let fits = before.tail.zip(after.prev).map(|(hash, said)| hash == said);
        let next = before.last.checked_add(1);
        if next == Some(after.first) {
            match fits {
                Some(true) => self.sound = true,
                Some(false) => self.mismatch(before, after, bent, sound, &between),
                None => {}
            }
        } else if fits == Some(true) {
            let text = format!(
                "numbered {}, though it follows record {}",
                after.first, before.last
            );
            self.changed(after.start, (after.first, after.first), text);
        } else {
            let missing = (before.last.saturating_add(1), after.first.saturating_sub(1));
            self.gap(before, after, missing, &between);
        }
    }

    /// A record, and a successor that speaks of another one.
    fn mismatch(
        &mut self,
        before: &Part,
        after: &Part,
        bent: bool,
        sound: bool,
        between: &[usize],
    ) {
        let known = self.replaced.contains(&before.last);
        let vouched = !after.lone() || sound || after.vouched;
        let (last, next) = (before.last, after.first);
        let other = format!(
            "the record after it, at {}, carries the hash of another one",
            self.report.at(after.start)
        );
        if before.anchor {
            let spot = Spot {
                line: 1,
                ..after.start
            };
            match (bent, vouched) {
                (true, _) => {}
                (false, true) => self.report.tell(Kind::Header, spot, None, format!(
                    "the header speaks of another record before this file than record {next} does")),
                (false, false) => self.changed(after.start, (next, next),
                    "it carries another hash of the record before than the header".to_owned()),
            }
        } else if known {
            self.changed(before.end(), (last, last), other);
            self.bent = before.lone();
        } else if bent {
            // what it says of the record before counts for nothing
        } else if !vouched {
            let text = format!(
                "one of the two was changed: record {next} doesn't carry the hash of record {last}, and nothing vouches for either"
            );
            self.changed(before.end(), (last, next), text);
            self.bent = true;
        } else {
            self.changed(before.end(), (last, last), self.with(other, between));
            self.bent = before.lone();
        }
        self.use_up(between);
    }

    /// Numbers that nobody has. Lines that stand in their place are those records, changed.
    fn gap(&mut self, before: &Part, after: &Part, missing: (u64, u64), between: &[usize]) {
        let mut open = BTreeMap::from([missing]);
        let says = |at: &usize| self.placed.extras.get(*at).and_then(|extra| extra.says);
        // those that say which they are first
        let (mut sure, mut rest) = (Vec::new(), Vec::new());
        for at in between {
            match says(at).filter(|(first, last)| missing.0 <= *first && *last <= missing.1) {
                Some(range) => sure.push((*at, range)),
                None => rest.push(*at),
            }
        }
        let mut assigned = Vec::new();
        for (at, range) in sure {
            match take(&mut open, range) {
                true => assigned.push((at, range)),
                false => rest.push(at),
            }
        }
        rest.sort_unstable();
        let mut over = Vec::new();
        for at in rest {
            let lines = self.placed.extras.get(at).map_or(1, |extra| extra.lines);
            let Some((first, last)) = open.first_key_value().map(|(a, b)| (*a, *b)) else {
                over.push(at);
                continue;
            };
            let range = (first, last.min(first.saturating_add(lines - 1)));
            take(&mut open, range);
            assigned.push((at, range));
        }
        for (at, range) in assigned {
            let Some(extra) = self.placed.extras.get(at).copied() else {
                continue;
            };
            let text = match (extra.why, extra.says) {
                (Why::Stray(what), _) => format!("what stands there is {}", no_record(what)),
                (_, Some(says)) if says != range => {
                    format!("what stands there says to be {}", records(says))
                }
                _ => format!(
                    "it doesn't fit what stands around it: {} speaks of other records",
                    self.report.at(after.start)
                ),
            };
            self.changed(extra.start, range, text);
            self.mark(at);
        }
        // parts of lines that were broken in two
        if between.len() > over.len() {
            let broken: Vec<usize> = over.into_iter().filter(|at| self.is_stray(*at)).collect();
            self.use_up(&broken);
        }
        for range in open {
            let text = if before.anchor {
                "they are missing at the log's beginning: the header says that they come first"
                    .to_owned()
            } else if before.start.file != after.start.file {
                format!(
                    "missing between {} and {}: the end of the one, or whole files",
                    self.report.at(before.end()),
                    self.report.at(after.start)
                )
            } else {
                format!("missing after {}", self.report.at(before.end()))
            };
            self.report
                .tell(Kind::Removed, after.start, Some(range), text);
        }
    }

    /// What stands behind the last record, and what a header behind it says.
    fn end(&mut self, claim: Option<(Spot, u64, Hash)>) {
        let still = self.placed.main.iter().zip(&self.placed.displaced);
        let Some(last) = still
            .filter(|(_, away)| !**away)
            .map(|(part, _)| part)
            .next_back()
        else {
            return;
        };
        if let Some(at) = (0..self.used.len()).find(|at| {
            self.placed
                .extras
                .get(*at)
                .is_some_and(|extra| extra.start > last.end())
        }) && let Some(extra) = self.placed.extras.get(at).copied()
            && extra.prev.is_some()
            && extra.prev == last.tail
            && extra.why != Why::Second
        {
            let number = last.last.saturating_add(1);
            let says = extra.says.unwrap_or_default();
            let text = format!("what stands there says to be {}", records(says));
            self.changed(extra.start, (number, number), text);
            self.mark(at);
        }
        let Some((spot, seq, hash)) = claim else {
            return;
        };
        if last.last == seq && last.tail.is_some_and(|tail| tail != hash) {
            let text = format!(
                "the header at {} carries the hash of another one",
                self.report.at(spot)
            );
            self.changed(last.end(), (seq, seq), text);
            self.bent = last.lone();
        } else if last.last < seq {
            let text = match last.anchor {
                true => format!("missing before {}", self.report.at(spot)),
                false => format!(
                    "missing between {} and {}",
                    self.report.at(last.end()),
                    self.report.at(spot)
                ),
            };
            self.report
                .tell(Kind::Removed, spot, Some((last.last + 1, seq)), text);
        } else if last.last > seq {
            let text = format!(
                "the header says that record {seq} comes before this file, not {}",
                last.last
            );
            self.report.tell(Kind::Header, spot, None, text);
        }
    }

    fn displaced(&mut self) {
        let mut told: Option<(Spot, u64, u64)> = None;
        let mut all = Vec::new();
        for (part, away) in self.placed.main.iter().zip(&self.placed.displaced) {
            match &mut told {
                Some((start, first, last))
                    if *away
                        && last.checked_add(1) == Some(part.first)
                        && start.file == part.start.file
                        && start.line + (part.first - *first) == part.start.line =>
                {
                    *last = part.last
                }
                _ => {
                    all.extend(told.take());
                    told = away.then_some((part.start, part.first, part.last));
                }
            }
        }
        all.extend(told);
        for (start, first, last) in all {
            let mut text = "not where its number and hash place it".to_owned();
            let main = &self.placed.main;
            if let Some(before) = main.iter().rfind(|part| part.last < first && !part.anchor) {
                let _ = write!(
                    text,
                    ": after record {}, at {}",
                    before.last,
                    self.report.at(before.end())
                );
            }
            self.report
                .tell(Kind::Reordered, start, Some((first, last)), text);
        }
    }

    fn left_over(&mut self) {
        for at in 0..self.used.len() {
            let Some(extra) = self.placed.extras.get(at).copied() else {
                continue;
            };
            if self.used.get(at).copied().unwrap_or(false) {
                continue;
            }
            let stands = extra.says.and_then(|(first, _)| self.where_is(first));
            let place = stands.map(|spot| self.report.at(spot)).unwrap_or_default();
            let (kind, text) = match extra.why {
                Why::Copy(original) => {
                    let text = format!("a copy of what stands at {}", self.report.at(original));
                    (Kind::Inserted, text)
                }
                Why::Second | Why::Misplaced if stands.is_none() => (
                    Kind::Inserted,
                    "neither its number nor its hash fit where it stands".to_owned(),
                ),
                Why::Second | Why::Misplaced if extra.lines > 1 => (
                    Kind::Forked,
                    format!("other records of these numbers begin at {place}: two histories"),
                ),
                Why::Second | Why::Misplaced => (
                    Kind::Inserted,
                    format!("the chain has another record of this number, at {place}"),
                ),
                Why::Stray(NoRecord::Header) => {
                    (Kind::Inserted, "a header where none belongs".to_owned())
                }
                Why::Stray(what) => (Kind::Garbage, no_record(what)),
            };
            self.report.tell(kind, extra.start, extra.says, text);
        }
    }

    /// Records that nothing vouches for, and that aren't even JSON.
    fn broken(&mut self) {
        for part in self.placed.main.iter().filter(|part| part.broken) {
            let number = part.last;
            let mut found = self.report.found.iter();
            let told = found.any(|found| {
                found.kind == Kind::Changed
                    && found
                        .records
                        .is_some_and(|(from, to)| (from..=to).contains(&number))
            });
            if !told {
                self.changed(
                    part.end(),
                    (number, number),
                    "it is no JSON any more".to_owned(),
                );
            }
        }
    }

    /// A header is to blame where what it speaks of is there, and another than it says.
    fn misfits(&mut self, misfits: &[(Spot, u64, Hash)]) {
        let main = &self.placed.main;
        for (spot, seq, hash) in misfits {
            let at = main
                .partition_point(|part| part.first <= *seq)
                .checked_sub(1);
            let part = at
                .and_then(|at| main.get(at))
                .filter(|part| part.last >= *seq);
            let next = at.and_then(|at| main.get(at + 1));
            let blamed = match part {
                // gone
                None => self.report.found.is_empty(),
                Some(part) if part.last == *seq && part.tail == Some(*hash) => false,
                Some(part) if part.last == *seq => {
                    self.report.found.is_empty() || next.is_some_and(|next| next.prev == part.tail)
                }
                Some(_) => true,
            };
            if blamed {
                let text = "it speaks of another record before this file than there is".to_owned();
                self.report.tell(Kind::Header, *spot, None, text);
            }
        }
    }

    /// Where the chain has this record.
    fn where_is(&self, number: u64) -> Option<Spot> {
        let main = &self.placed.main;
        let at = main
            .partition_point(|part| part.first <= number)
            .checked_sub(1)?;
        let part = main
            .get(at)
            .filter(|part| part.last >= number && !part.anchor)?;
        Some(part.cut(number, number).start)
    }

    fn between(&self, from: Spot, to: Spot) -> Vec<usize> {
        let extras = &self.placed.extras;
        let start = extras.partition_point(|extra| extra.start <= from);
        let end = extras.partition_point(|extra| extra.start < to);
        (start..end)
            .filter(|at| {
                let copy = extras
                    .get(*at)
                    .is_some_and(|extra| matches!(extra.why, Why::Copy(_)));
                !copy && !self.used.get(*at).copied().unwrap_or(true)
            })
            .collect()
    }

    /// Says how many lines in between are no records.
    fn with(&self, text: String, between: &[usize]) -> String {
        let strays = between.iter().filter(|at| self.is_stray(**at));
        let extras = strays.filter_map(|at| self.placed.extras.get(*at));
        match extras.map(|extra| extra.lines).sum::<u64>() {
            0 => text,
            lines => format!("{text}; with it goes {lines} line(s) that are no records"),
        }
    }

    fn use_up(&mut self, strays: &[usize]) {
        for at in strays.iter().copied() {
            if self.is_stray(at) {
                self.mark(at);
            }
        }
    }

    fn is_stray(&self, at: usize) -> bool {
        let extra = self.placed.extras.get(at);
        extra.is_some_and(|extra| matches!(extra.why, Why::Stray(_)))
    }

    fn mark(&mut self, at: usize) {
        if let Some(used) = self.used.get_mut(at) {
            *used = true;
        }
    }

    fn changed(&mut self, spot: Spot, records: (u64, u64), text: String) {
        self.report.tell(Kind::Changed, spot, Some(records), text);
    }
}

/// Takes these numbers out of those that are open; `false` where not all of them are.
fn take(open: &mut BTreeMap<u64, u64>, (first, last): (u64, u64)) -> bool {
    let Some((from, to)) = open.range(..=first).next_back().map(|(a, b)| (*a, *b)) else {
        return false;
    };
    if last > to {
        return false;
    }
    open.remove(&from);
    if from < first {
        open.insert(from, first - 1);
    }
    if last < to {
        open.insert(last + 1, to);
    }
    true
}

fn no_record(what: NoRecord) -> String {
    match what {
        NoRecord::Garbage => "not a record".to_owned(),
        NoRecord::Header => "a header, which belongs on a file's first line".to_owned(),
        NoRecord::Version(v) => format!("a record of version {v}, which this program doesn't know"),
        NoRecord::Unchained => {
            "a record without the hash of the one before, as logs had before they were chained"
                .to_owned()
        }
    }
}
