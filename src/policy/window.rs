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

    /// The facts that the window reads.
    pub fn references(&self) -> impl Iterator<Item = &FactRef> {
        [&self.from, &self.until]
            .into_iter()
            .filter_map(|moment| match moment {
                Some(Moment::Fact(name)) => Some(name),
                Some(Moment::At(_)) | None => None,
            })
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
mod tests {
    use super::*;

    fn open(weekly: &str, now: &str) -> Option<String> {
        Weekly::parse(weekly)
            .unwrap()
            .open_until(now.parse().unwrap())
            .map(|end| end.to_string())
    }

    #[test]
    fn weekly_hours_are_wall_clock_with_an_exclusive_end() {
        let office = "Mon-Fri 08:00-18:00 Europe/Berlin";
        // 2026-11-20 is a Friday; Berlin is at +01:00 in November and +02:00 in July.
        assert_eq!(
            open(office, "2026-11-20T07:00:00Z").as_deref(),
            Some("2026-11-20T17:00:00Z")
        );
        assert_eq!(open(office, "2026-11-20T06:59:59Z"), None);
        assert_eq!(open(office, "2026-11-20T17:00:00Z"), None);
        assert_eq!(
            open(office, "2026-07-20T06:00:00Z").as_deref(),
            Some("2026-07-20T16:00:00Z")
        );
        assert_eq!(open(office, "2026-11-21T10:00:00Z"), None);
    }

    #[test]
    fn weekly_hours_may_cross_midnight_and_belong_to_their_first_day() {
        let night = "Fri 22:00-06:00 UTC";
        assert_eq!(
            open(night, "2026-11-20T23:00:00Z").as_deref(),
            Some("2026-11-21T06:00:00Z")
        );
        assert_eq!(
            open(night, "2026-11-21T05:59:00Z").as_deref(),
            Some("2026-11-21T06:00:00Z")
        );
        assert_eq!(open(night, "2026-11-20T05:00:00Z"), None);
        assert_eq!(
            open("Sat,Sun 00:00-24:00 UTC", "2026-11-22T23:59:59Z").as_deref(),
            Some("2026-11-23T00:00:00Z")
        );
        assert_eq!(
            open("Sat-Mon 00:00-24:00 UTC", "2026-11-24T00:00:00Z"),
            None
        );
    }

    /// Hours that go on at once ended at the seam: a stream was cut at noon, or each midnight.
    #[test]
    fn hours_end_where_a_gap_follows() {
        let (morning, afternoon) = ("Mon 08:00-12:00 UTC", "Mon 12:00-18:00 UTC");
        let now = "2026-11-23T09:00:00Z"; // a Monday
        for (weekly, want) in [
            (&[morning][..], Some("2026-11-23T12:00:00Z")),
            (&[morning, afternoon], Some("2026-11-23T18:00:00Z")),
            (&[afternoon, morning], Some("2026-11-23T18:00:00Z")),
            (
                &[morning, "Mon 12:01-18:00 UTC"],
                Some("2026-11-23T12:00:00Z"),
            ),
            // another zone's hours that go on
            (
                &[morning, "Mon 13:00-15:00 Europe/Berlin"],
                Some("2026-11-23T14:00:00Z"),
            ),
            (&["Mon-Wed 00:00-24:00 UTC"], Some("2026-11-26T00:00:00Z")),
            // always, whatever the clocks do
            (&["Mon-Sun 00:00-24:00 Europe/Berlin"], None),
            (
                &[
                    "Mon-Sun 00:00-12:00 Europe/Berlin",
                    "Mon-Sun 12:00-24:00 Europe/Berlin",
                ],
                None,
            ),
            // always by today's clocks, which don't stay
            (
                &[
                    "Mon-Sun 00:00-12:00 Europe/Berlin",
                    "Mon-Sun 11:00-23:00 UTC",
                ],
                Some("2026-12-01T11:00:00Z"),
            ),
        ] {
            let window = Window {
                weekly: weekly.iter().map(|w| Weekly::parse(w).unwrap()).collect(),
                ..Window::default()
            };
            let (truth, end) = window.test(now.parse().unwrap(), |_| Value::Missing);
            assert_eq!(truth, Truth::True, "{weekly:?}");
            assert_eq!(end.map(|e| e.to_string()).as_deref(), want, "{weekly:?}");
        }
    }

    #[test]
    fn a_closed_window_tells_when_it_may_open() {
        let at = |text: &str| Some(Moment::At(text.parse().unwrap()));
        let noon = "2026-11-23T12:00:00Z";
        let weekly = |text: &str| vec![Weekly::parse(text).unwrap()];
        let always = Window::default();
        let fact = || Some(Moment::Fact(FactRef::Task));
        for (window, want) in [
            (always.clone(), Some("2026-11-23T09:00:00Z")),
            (
                Window {
                    from: at(noon),
                    ..always.clone()
                },
                Some(noon),
            ),
            (
                Window {
                    until: at("2026-11-23T08:00:00Z"),
                    ..always.clone()
                },
                None,
            ),
            // what can't be told may be at any time
            (
                Window {
                    from: fact(),
                    ..always.clone()
                },
                Some("2026-11-23T09:00:00Z"),
            ),
            (
                Window {
                    until: at(noon),
                    max: Some(SignedDuration::from_hours(1)),
                    ..always.clone()
                },
                Some("2026-11-23T11:00:00Z"),
            ),
            (
                Window {
                    from: at("2026-11-23T10:00:00Z"),
                    until: at(noon),
                    max: Some(SignedDuration::from_hours(1)),
                    ..always.clone()
                },
                None,
            ),
            (
                Window {
                    weekly: weekly("Mon 08:00-10:00 UTC"),
                    ..always.clone()
                },
                Some("2026-11-23T09:00:00Z"),
            ),
            (
                Window {
                    weekly: weekly("Mon 06:00-07:00 UTC"),
                    ..always.clone()
                },
                Some("2026-11-30T06:00:00Z"),
            ),
            (
                Window {
                    weekly: weekly("Sun,Tue 22:00-06:00 Europe/Berlin"),
                    ..always.clone()
                },
                Some("2026-11-24T21:00:00Z"),
            ),
            (
                Window {
                    from: at(noon),
                    weekly: weekly("Mon 08:00-10:00 UTC"),
                    ..always.clone()
                },
                Some("2026-11-30T08:00:00Z"),
            ),
            (
                Window {
                    until: at(noon),
                    weekly: weekly("Tue 08:00-10:00 UTC"),
                    ..always.clone()
                },
                None,
            ),
        ] {
            let now = "2026-11-23T09:00:00Z".parse().unwrap();
            let opens = window.opens(now, |_| Value::Missing).map(|t| t.to_string());
            assert_eq!(opens.as_deref(), want, "{window:?}");
        }
    }

    #[test]
    fn what_is_no_week_is_refused() {
        for text in [
            "Mon 08:00-18:00",
            "Mon 8:00-18:00 UTC",
            "Mo 08:00-18:00 UTC",
            "Mon 08:00-08:00 UTC",
            "Mon 08:00-25:00 UTC",
            "Mon 08:00-18:00 Mars/Olympus",
        ] {
            assert!(Weekly::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn moments() {
        let cases = [
            ("2026-03-02T09:00:00Z", Some(1_772_442_000)),
            ("2026-03-02t09:00:00.5z", Some(1_772_442_000)),
            ("2026-03-02T10:00:00+01:00", Some(1_772_442_000)),
            ("2026-03-02T09:00:00", None),
            ("2026-03-02T09:00:00.Z", None),
            ("2026-03-02T09:00:00.1.2Z", None),
            ("2026-03-02 09:00:00Z", None),
            ("2026-03-02T09:00Z", None),
            ("20260302T090000Z", None),
            ("2026-03-02T09:00:00Z[UTC]", None),
            ("2026-03-02T10:00:00+01:00[Europe/Berlin]", None),
            ("2026-03-02T10:00:00+01", None),
            ("2026-02-30T09:00:00Z", None),
            ("+002026-03-02T09:00:00Z", None),
            ("", None),
        ];
        for (text, want) in cases {
            assert_eq!(
                parse_rfc3339(text).map(Timestamp::as_second),
                want,
                "{text}"
            );
        }
        for (text, want) in [
            ("1772442000", Some(1_772_442_000)),
            ("1772442000.999", Some(1_772_442_000)),
            ("-1", Some(-1)),
            ("1e9", None),
            ("99999999999999999999", None),
            ("1.0000000001", None),
        ] {
            assert_eq!(numeric_date(text).map(Timestamp::as_second), want, "{text}");
        }
    }

    #[test]
    fn from_is_inclusive_until_exclusive_and_max_bounds_their_distance() {
        let at = |text: &str| Some(Moment::At(text.parse().unwrap()));
        let window = Window {
            from: at("2026-01-01T10:00:00Z"),
            until: at("2026-01-01T12:00:00Z"),
            max: Some(SignedDuration::from_hours(2)),
            weekly: vec![],
        };
        let test =
            |window: &Window, now: &str| window.test(now.parse().unwrap(), |_| Value::Missing).0;
        assert_eq!(test(&window, "2026-01-01T10:00:00Z"), Truth::True);
        assert_eq!(test(&window, "2026-01-01T09:59:59Z"), Truth::False);
        assert_eq!(test(&window, "2026-01-01T12:00:00Z"), Truth::False);
        let long = Window {
            max: Some(SignedDuration::from_hours(1)),
            ..window.clone()
        };
        assert_eq!(test(&long, "2026-01-01T10:00:00Z"), Truth::False);
        let claim = Window {
            from: None,
            until: Some(Moment::Fact(FactRef::Task)),
            max: None,
            weekly: vec![],
        };
        assert_eq!(test(&claim, "2026-01-01T10:00:00Z"), Truth::Indeterminate);
        let now = "2026-01-01T10:00:00Z".parse().unwrap();
        assert_eq!(
            claim.test(now, |_| Value::Number("1767261601")).0,
            Truth::True
        );
        assert_eq!(
            claim.test(now, |_| Value::Text("2026-01-01T10:00:00Z")).0,
            Truth::False
        );
        assert_eq!(
            claim.test(now, |_| Value::Text("tomorrow")).0,
            Truth::Indeterminate
        );
    }
}
