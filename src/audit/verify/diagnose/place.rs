//! Runs are linked by hashes and numbers, and the longest chain is kept.

use super::*;

/// Gives each run its place.
pub(super) fn place(seen: &Seen, anchor: Option<(u64, Hash)>) -> Placed {
    let anchor = anchor.map(Part::anchor);
    let parts: Vec<Part> = anchor
        .into_iter()
        .chain(seen.runs.iter().map(Part::of))
        .collect();
    let links = Links::of(&parts);
    let mut main: BTreeMap<u64, Part> = BTreeMap::new();
    let mut extras: Vec<Extra> = Vec::new();
    let mut suspects = Vec::new();
    for (index, copy) in links.copy_of.iter().enumerate() {
        if let (Some(part), Some(original)) = (parts.get(index), copy.and_then(|at| parts.get(at)))
        {
            extras.push(part.extra(Why::Copy(original.start)));
        }
    }
    for chain in links.chains(&parts) {
        match chain.as_slice() {
            [lone] if lone.suspect => suspects.push(lone.part),
            members => members
                .iter()
                .for_each(|member| accept(member.part, &mut main, &mut extras)),
        }
    }
    let mut ordered: Vec<Part> = main.into_values().collect();
    let mut away = displaced(&ordered);
    suspects.sort_by_key(|part| part.start);
    for suspect in suspects {
        fit(suspect, &mut ordered, &mut away, &mut extras);
    }
    extras.extend(seen.strays.iter().map(|stray| Extra {
        start: stray.start,
        lines: stray.lines,
        says: None,
        prev: None,
        why: Why::Stray(stray.what),
    }));
    extras.sort_by_key(|extra| extra.start);
    Placed {
        main: ordered,
        displaced: away,
        extras: joined(extras),
    }
}

/// What each part stands behind.
struct Links {
    parent: Vec<Option<usize>>,
    copy_of: Vec<Option<usize>>,
    /// Records from the part on to the end of the longest chain.
    reach: Vec<u64>,
}

struct Member {
    part: Part,
    /// One record, linked to nothing.
    suspect: bool,
}

impl Links {
    fn of(parts: &[Part]) -> Links {
        let mut ends: HashMap<(u64, Hash), Vec<usize>> = HashMap::new();
        for (index, part) in parts.iter().enumerate() {
            if let Some(tail) = part.tail {
                ends.entry((part.last, tail)).or_default().push(index);
            }
        }
        let parent = parts.iter().enumerate().map(|(index, part)| {
            let before = (part.first.checked_sub(1)?, part.prev?);
            let found = ends.get(&before)?;
            // the nearest that stands before it; else any
            let nearest = found.iter().rev().find(|at| **at < index);
            nearest
                .or_else(|| found.iter().find(|at| **at != index))
                .copied()
        });
        let mut links = Links {
            parent: parent.collect(),
            copy_of: vec![None; parts.len()],
            reach: parts.iter().map(Part::records).collect(),
        };
        links.measure(parts);
        links.copies(parts, &ends);
        links
    }

    /// How far each part reaches: later numbers first, for a part's children have them.
    fn measure(&mut self, parts: &[Part]) {
        let mut order: Vec<usize> = (0..parts.len()).collect();
        order.sort_by_key(|at| std::cmp::Reverse(parts.get(*at).map(|part| part.first)));
        for at in order {
            let reach = self.reach.get(at).copied().unwrap_or_default();
            let own = |of: usize| parts.get(of).map_or(0, Part::records);
            if let Some(parent) = self.parent.get(at).copied().flatten()
                && let Some(its) = self.reach.get_mut(parent)
            {
                *its = (*its).max(own(parent).saturating_add(reach));
            }
        }
    }

    /// Of parts that begin with the same record, or are another's last record, those that lead nowhere are copies.
    fn copies(&mut self, parts: &[Part], ends: &HashMap<(u64, Hash), Vec<usize>>) {
        let mut heads: HashMap<(u64, Hash), Vec<usize>> = HashMap::new();
        for (index, part) in parts.iter().enumerate() {
            if let Some(head) = part.head {
                heads.entry((part.first, head)).or_default().push(index);
            }
        }
        for (record, group) in &heads {
            let same_end = ends.get(record).map_or(&[][..], Vec::as_slice);
            let all = group.iter().chain(same_end);
            let reach = |at: usize| self.reach.get(at).copied().unwrap_or_default();
            let kept = all.max_by_key(|at| {
                let beside = self.beside_its_parent(parts, **at);
                (reach(**at), beside, std::cmp::Reverse(**at))
            });
            let Some(kept) = kept.copied() else { continue };
            for at in group.iter().filter(|at| **at != kept) {
                let Some(part) = parts.get(*at) else { continue };
                let whole = part.tail.and_then(|tail| ends.get(&(part.last, tail)));
                if (part.lone() || whole.is_some_and(|group| group.len() > 1))
                    && let Some(copy) = self.copy_of.get_mut(*at)
                {
                    *copy = Some(kept);
                }
            }
        }
        // what stands behind a copy stands behind the original
        for index in 0..parts.len() {
            let original = |at: usize| self.copy_of.get(at).copied().flatten();
            let parent = self.parent.get(index).copied().flatten();
            if let Some(parent) = parent.and_then(original)
                && let Some(its) = self.parent.get_mut(index)
            {
                let fits = parts
                    .get(parent)
                    .zip(parts.get(index))
                    .is_some_and(|(before, part)| {
                        before.tail == part.prev && before.last.checked_add(1) == Some(part.first)
                    });
                *its = fits.then_some(parent);
            }
        }
    }

    /// Whether it stands right behind what it is linked to.
    fn beside_its_parent(&self, parts: &[Part], at: usize) -> bool {
        let parent = self.parent.get(at).copied().flatten();
        let pair = parent
            .and_then(|parent| parts.get(parent))
            .zip(parts.get(at));
        pair.is_some_and(|(parent, part)| {
            let (end, start) = (parent.end(), part.start);
            let same = end.file == start.file && end.line + 1 == start.line;
            same || (end.file + 1 == start.file && start.line == 2)
        })
    }

    /// The chains: that of the log's beginning first, then the longest.
    fn chains(&self, parts: &[Part]) -> Vec<Vec<Member>> {
        let copy = |at: usize| self.copy_of.get(at).copied().flatten().is_some();
        let reach = |at: usize| self.reach.get(at).copied().unwrap_or_default();
        let mut best: HashMap<usize, usize> = HashMap::new();
        for (index, parent) in self.parent.iter().enumerate() {
            if let Some(parent) = parent
                && !copy(index)
            {
                let child = best.entry(*parent).or_insert(index);
                if reach(index) > reach(*child) {
                    *child = index;
                }
            }
        }
        let mut heads: Vec<usize> = (0..parts.len()).filter(|at| !copy(*at)).collect();
        heads.retain(|at| {
            let parent = self.parent.get(*at).copied().flatten();
            parent.is_none_or(|parent| best.get(&parent) != Some(at))
        });
        heads.sort_by_key(|at| {
            let anchor = parts.get(*at).is_some_and(|part| part.anchor);
            (!anchor, std::cmp::Reverse(reach(*at)), *at)
        });
        let chain = |head: usize| {
            let mut members = Vec::new();
            let mut next = Some(head);
            while let Some(at) = next {
                next = best.get(&at).copied();
                let linked = next.is_some() || self.parent.get(at).is_some_and(Option::is_some);
                members.extend(parts.get(at).map(|part| Member {
                    part: *part,
                    suspect: part.lone() && !part.anchor && !linked,
                }));
            }
            members
        };
        heads.into_iter().map(chain).collect()
    }
}

/// Takes a part in, as far as nothing has its numbers yet.
fn accept(part: Part, main: &mut BTreeMap<u64, Part>, extras: &mut Vec<Extra>) {
    let mut next = Some(part.first);
    while let Some(from) = next.filter(|from| *from <= part.last) {
        let over = main.range(..=from).next_back();
        let taken = over.filter(|(_, other)| other.last >= from);
        let to = match taken {
            Some((_, other)) => other.last.min(part.last),
            None => {
                let after = main.range(from..=part.last).next();
                after.map_or(part.last, |(first, _)| first.saturating_sub(1))
            }
        };
        let piece = part.cut(from, to);
        match taken {
            Some(_) => extras.push(piece.extra(Why::Second)),
            None => {
                main.insert(from, piece);
            }
        }
        next = to.checked_add(1);
    }
}

/// Takes in a record that is linked to nothing where its number fits its place.
fn fit(suspect: Part, main: &mut Vec<Part>, away: &mut Vec<bool>, extras: &mut Vec<Extra>) {
    let fixed = || {
        main.iter()
            .zip(&*away)
            .filter(|(_, away)| !**away)
            .map(|(part, _)| part)
    };
    let before = fixed().rfind(|part| part.start < suspect.start);
    let after = fixed().find(|part| part.start > suspect.start);
    let number = suspect.first;
    let follows = before.is_some_and(|part| part.tail == suspect.prev);
    let fits = before.is_none_or(|part| part.last < number)
        && after.is_none_or(|part| number < part.first)
        // the hash of the one before, and another number than the next
        && !follows;
    let at = main.partition_point(|part| part.first < number);
    let taken = at
        .checked_sub(1)
        .and_then(|at| main.get(at))
        .is_some_and(|part| part.last >= number)
        || main.get(at).is_some_and(|part| part.first == number);
    if fits && !taken {
        main.insert(at, suspect);
        away.insert(at, false);
    } else {
        extras.push(suspect.extra(if taken && !follows {
            Why::Second
        } else {
            Why::Misplaced
        }));
    }
}

/// Which parts stand elsewhere than they belong: all but the heaviest that stand in their order.
pub(super) fn displaced(parts: &[Part]) -> Vec<bool> {
    let mut best: Vec<(u64, Option<usize>)> = Vec::with_capacity(parts.len());
    for part in parts {
        let before = parts
            .iter()
            .zip(&best)
            .enumerate()
            .filter(|(_, (other, _))| other.start < part.start)
            .max_by_key(|(at, (_, (weight, _)))| (*weight, *at));
        let (weight, from) = before.map_or((0, None), |(at, (_, (weight, _)))| (*weight, Some(at)));
        let own = if part.anchor {
            u64::MAX / 2
        } else {
            part.records()
        };
        best.push((weight.saturating_add(own), from));
    }
    let mut away = vec![true; parts.len()];
    let heaviest = best
        .iter()
        .enumerate()
        .max_by_key(|(_, (weight, _))| *weight);
    let mut next = heaviest.map(|(at, _)| at);
    while let Some(at) = next {
        if let Some(away) = away.get_mut(at) {
            *away = false;
        }
        next = best.get(at).and_then(|(_, from)| *from);
    }
    away
}

/// Extras that go on from line to line and number to number become one.
fn joined(extras: Vec<Extra>) -> Vec<Extra> {
    let mut kept: Vec<Extra> = Vec::with_capacity(extras.len());
    for extra in extras {
        if let Some(last) = kept.last_mut()
            && last.start.file == extra.start.file
            && last.start.line + last.lines == extra.start.line
            && let (Some((_, to)), Some((first, until))) = (last.says, extra.says)
            && to.checked_add(1) == Some(first)
            && std::mem::discriminant(&last.why) == std::mem::discriminant(&extra.why)
        {
            last.lines += extra.lines;
            last.says = last.says.map(|(from, _)| (from, until));
        } else {
            kept.push(extra);
        }
    }
    kept
}
