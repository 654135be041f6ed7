//! Windows, weekly hours and moments as tables.

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
    let test = |window: &Window, now: &str| window.test(now.parse().unwrap(), |_| Value::Missing).0;
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
