//! `when`: the time in which a policy speaks.

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

use super::facts::FactRef;
use super::value::{Truth, Value};

/// A time window: every part that is present must hold.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// The beginning, inclusive.
    pub from: Option<Moment>,
    /// The end, exclusive.
    pub until: Option<Moment>,
    /// The longest time from the beginning (or from now, where there is none) to the end.
    pub max: Option<SignedDuration>,
    /// Hours of the week; one of them must hold. Empty: always.
    pub weekly: Vec<Weekly>,
}

/// A moment written in the policy, or taken from a fact.
#[derive(Clone, Debug)]
pub enum Moment {
    /// RFC 3339 or NumericDate, as written.
    At(Timestamp),
    /// A fact that holds either.
    Fact(FactRef),
}

/// `Mon-Fri 08:00-18:00 Europe/Berlin`: wall-clock hours on days of the week, the end exclusive. Hours that
/// end before they begin cross midnight and belong to the day on which they begin.
#[derive(Clone, Debug)]
pub struct Weekly {
    days: [bool; 7],
    begin: Time,
    end: Time,
    zone: TimeZone,
}

impl Window {
    /// Whether `now` is inside, and when the window that is open then ends.
    pub fn test<'v>(
        &self,
        now: Timestamp,
        fact: impl Fn(&FactRef) -> Value<'v>,
    ) -> (Truth, Option<Timestamp>) {
        let (from, until) = (resolve(&self.from, &fact), resolve(&self.until, &fact));
        let mut truth = Truth::True;
        truth = truth.and(from.map_or(Truth::Indeterminate, |from| {
            from.is_none_or(|from| now >= from).into()
        }));
        truth = truth.and(until.map_or(Truth::Indeterminate, |until| {
            until.is_none_or(|until| now < until).into()
        }));
        let mut end = until.ok().flatten();
        if let Some(max) = self.max {
            truth = truth.and(match (from, end) {
                (Ok(from), Some(until)) => {
                    (until.duration_since(from.unwrap_or(now)) <= max).into()
                }
                _ => Truth::Indeterminate,
            });
        }
        if !self.weekly.is_empty() {
            let hours = self.hours(now);
            truth = truth.and((hours != Hours::Closed).into());
            end = match (end, hours) {
                (Some(a), Hours::Until(b)) => Some(a.min(b)),
                (None, Hours::Until(b)) => Some(b),
                (end, Hours::Closed | Hours::Always) => end,
            };
        }
        (truth, end)
    }

    /// The first moment, not before `at`, at which the window may be open; `None` where it never opens again. A
    /// moment that can't be told bounds nothing, so what is told is never too late.
    pub fn opens<'v>(
        &self,
        at: Timestamp,
        fact: impl Fn(&FactRef) -> Value<'v>,
    ) -> Option<Timestamp> {
        let known = |moment| resolve(moment, &fact).ok().flatten();
        let (from, until) = (known(&self.from), known(&self.until));
        let mut opens = from.map_or(at, |from| at.max(from));
        if let (Some(max), Some(until)) = (self.max, until) {
            match (&self.from, from) {
                (Some(_), Some(from)) if until.duration_since(from) > max => return None,
                // Without a beginning, the time that is left shrinks until it fits.
                (None, _) => opens = until.checked_sub(max).map_or(opens, |fits| opens.max(fits)),
                (Some(_), _) => {}
            }
        }
        if !self.weekly.is_empty() {
            let next = self.weekly.iter().filter_map(|weekly| weekly.opens(opens));
            // Hours always come again; where the calendar ends before they do, nothing is promised.
            opens = next.min().unwrap_or(opens);
        }
        until.is_none_or(|until| opens < until).then_some(opens)
    }

    /// The hours that are open at `now`: what follows without a gap is one with them.
    fn hours(&self, now: Timestamp) -> Hours {
        let later = |at| {
            self.weekly
                .iter()
                .filter_map(|weekly| weekly.open_until(at))
                .max()
        };
        let Some(mut end) = later(now) else {
            return Hours::Closed;
        };
        while end.duration_since(now) <= WHOLE_WEEK {
            let Some(next) = later(end) else {
                return Hours::Until(end);
            };
            end = next;
        }
        // Whoever is open for a week by the clocks of one zone always is. Clocks of two zones come apart.
        let mut zones = self.weekly.iter().map(|weekly| &weekly.zone);
        let first = zones.next();
        match zones.all(|zone| Some(zone) == first) {
            true => Hours::Always,
            false => Hours::Until(end),
        }
    }
}

/// What `weekly` says of a moment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hours {
    Closed,
    Until(Timestamp),
    Always,
}

/// A week, and a day for what clocks are set back and forth.
const WHOLE_WEEK: SignedDuration = SignedDuration::from_hours(8 * 24);

/// The days among which the next of weekly hours is looked for: two weeks, as clocks set forth may skip one.
const DAYS_AHEAD: usize = 15;

/// A moment's time; an error where it can't be told.
fn resolve<'v>(
    moment: &Option<Moment>,
    fact: impl Fn(&FactRef) -> Value<'v>,
) -> Result<Option<Timestamp>, ()> {
    match moment {
        None => Ok(None),
        Some(Moment::At(at)) => Ok(Some(*at)),
        Some(Moment::Fact(name)) => timestamp(fact(name)).map(Some).ok_or(()),
    }
}

/// RFC 3339 text, or seconds since 1970 (RFC 7519, NumericDate), as a moment.
pub fn timestamp(value: Value<'_>) -> Option<Timestamp> {
    match value {
        Value::Text(text) | Value::Wire(text) => parse_rfc3339(text),
        Value::Number(text) => numeric_date(text),
        Value::Missing
        | Value::Unreadable
        | Value::Null
        | Value::Bool(_)
        | Value::Texts(_)
        | Value::Json(_) => None,
    }
}

/// RFC 3339 with an offset; a bare local time has no one meaning and is none. Nor is what ISO 8601 has besides,
/// such as `20261121T09Z` or a zone in brackets.
pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let digits = |part: &str, shape: &str| {
        part.len() == shape.len()
            && part.bytes().zip(shape.bytes()).all(|(b, s)| match s {
                b'0' => b.is_ascii_digit(),
                b't' => matches!(b, b'T' | b't'),
                b'+' => matches!(b, b'+' | b'-'),
                _ => b == s,
            })
    };
    let (moment, rest) = text.split_at_checked("0000-00-00t00:00:00".len())?;
    let offset = rest.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let fraction = rest.strip_suffix(offset)?;
    let fits = digits(moment, "0000-00-00t00:00:00")
        && (matches!(offset, "Z" | "z") || digits(offset, "+00:00"))
        && (fraction.is_empty() || fraction.rfind('.') == Some(0) && fraction.len() > 1);
    fits.then(|| text.parse().ok()).flatten()
}

/// NumericDate: seconds since 1970, with or without a fraction.
pub fn numeric_date(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, fraction),
        None => (text, ""),
    };
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) || fraction.len() > 9 {
        return None;
    }
    let nanos: i32 = format!("{fraction:0<9}").parse().ok()?;
    Timestamp::new(
        seconds,
        if whole.starts_with('-') {
            -nanos
        } else {
            nanos
        },
    )
    .ok()
}

impl Weekly {
    /// Parses `Mon-Fri 08:00-18:00 Europe/Berlin`, `Sat,Sun 00:00-24:00 UTC`.
    pub fn parse(text: &str) -> Result<Weekly, String> {
        let usage = || {
            format!(
                "`{text}`: write days, hours and a zone, such as `Mon-Fri 08:00-18:00 Europe/Berlin`"
            )
        };
        let mut words = text.split(' ').filter(|word| !word.is_empty());
        let (Some(days), Some(hours), Some(zone), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(usage());
        };
        let (begin, end) = hours.split_once('-').ok_or_else(usage)?;
        let (begin, end) = (
            parse_time(begin).ok_or_else(usage)?,
            parse_time(end).ok_or_else(usage)?,
        );
        // 24:00 is told from 00:00 by standing at the end.
        if begin == end && begin != Time::midnight() {
            return Err(format!(
                "`{text}`: the hours are empty; the end is exclusive"
            ));
        }
        let zone = TimeZone::get(zone)
            .map_err(|_| format!("`{zone}` is no IANA time zone, such as `Europe/Berlin`"))?;
        Ok(Weekly {
            days: parse_days(days).ok_or_else(usage)?,
            begin,
            end,
            zone,
        })
    }

    /// When the hours that are open at `now` end; `None` where none are.
    fn open_until(&self, now: Timestamp) -> Option<Timestamp> {
        let local = now.to_zoned(self.zone.clone());
        // Hours that began yesterday may still be open.
        let yesterday = local.yesterday().ok();
        [Some(local), yesterday]
            .into_iter()
            .flatten()
            .filter_map(|day| self.open_on(&day, now))
            .max()
    }

    /// When the hours open that are open at `at` or next: `at` itself, or a later beginning.
    fn opens(&self, at: Timestamp) -> Option<Timestamp> {
        if self.open_until(at).is_some() {
            return Some(at);
        }
        let today = at.to_zoned(self.zone.clone()).date();
        let days = std::iter::successors(Some(today), |day| day.tomorrow().ok());
        days.take(DAYS_AHEAD)
            .filter_map(|day| self.span_of(day))
            .find(|(begin, end)| begin < end && at <= *begin)
            .map(|(begin, _)| begin)
    }

    fn open_on(&self, day: &Zoned, now: Timestamp) -> Option<Timestamp> {
        let (begin, end) = self.span_of(day.date())?;
        (begin <= now && now < end).then_some(end)
    }

    /// The hours that begin on this day.
    fn span_of(&self, date: Date) -> Option<(Timestamp, Timestamp)> {
        let day = date.weekday();
        let index = usize::try_from(day.to_monday_zero_offset()).ok()?;
        if !self.days.get(index).copied().unwrap_or(false) {
            return None;
        }
        let end_date = if self.end <= self.begin {
            date.tomorrow().ok()?
        } else {
            date
        };
        let begin = date
            .to_datetime(self.begin)
            .to_zoned(self.zone.clone())
            .ok()?
            .timestamp();
        let end = end_date
            .to_datetime(self.end)
            .to_zoned(self.zone.clone())
            .ok()?
            .timestamp();
        Some((begin, end))
    }
}

fn parse_time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    if hour.len() != 2 || minute.len() != 2 {
        return None;
    }
    if text == "24:00" {
        return Some(Time::midnight());
    }
    Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
}

fn parse_days(text: &str) -> Option<[bool; 7]> {
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day_index(first)?, day_index(last)?);
        let mut day = first;
        loop {
            *days.get_mut(day)? = true;
            if day == last {
                break;
            }
            day = (day + 1) % 7;
        }
    }
    Some(days)
}

fn day_index(name: &str) -> Option<usize> {
    const DAYS: [(&str, Weekday); 7] = [
        ("Mon", Weekday::Monday),
        ("Tue", Weekday::Tuesday),
        ("Wed", Weekday::Wednesday),
        ("Thu", Weekday::Thursday),
        ("Fri", Weekday::Friday),
        ("Sat", Weekday::Saturday),
        ("Sun", Weekday::Sunday),
    ];
    let day = DAYS.iter().find(|(text, _)| *text == name)?.1;
    usize::try_from(day.to_monday_zero_offset()).ok()
}

#[cfg(test)]
mod tests;
