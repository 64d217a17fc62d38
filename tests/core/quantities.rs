//! Quantities at the bounds of their ranges and notations.

use sidetrack::quantity::{Bucket, Millis, NotPercent, Ppm, Timestamp};

const DAY: u64 = 86_400_000;

fn time(text: &str) -> Option<u64> {
    Timestamp::parse(text).map(Timestamp::get)
}

#[test]
fn the_calendar_has_its_leap_days() {
    // Days since 1970, as Python's datetime counts them.
    for (date, days) in [
        ("1970-01-01", 0),
        ("1972-02-29", 789),
        ("1999-12-31", 10_956),
        ("2000-02-29", 11_016),
        ("2000-03-01", 11_017),
        ("2026-11-23", 20_780),
        ("2100-02-28", 47_540),
        ("2100-03-01", 47_541),
        ("2400-02-29", 157_113),
        ("2400-03-01", 157_114),
        ("9999-12-31", 2_932_896),
    ] {
        let text = format!("{date}T00:00:00Z");
        assert_eq!(time(&text), Some(days * DAY), "{date}");
        assert_eq!(Timestamp::new(days * DAY).to_string(), text);
    }
    for date in [
        "1971-02-29",
        "2100-02-29",
        "2200-02-29",
        "2026-02-29",
        "2024-02-30",
        "2026-04-31",
        "2026-06-31",
        "2026-09-31",
        "2026-11-31",
        "2026-01-32",
        "2026-12-32",
        "2026-00-10",
        "2026-13-10",
        "2026-05-00",
    ] {
        assert_eq!(time(&format!("{date}T00:00:00Z")), None, "{date}");
    }
    // Every day has the next number, and prints as it is read.
    let mut month = String::new();
    let mut months = 0;
    for days in 0..157_115 {
        let text = Timestamp::new(days * DAY).to_string();
        assert_eq!(time(&text), Some(days * DAY), "{text}");
        if text[..7] != month {
            month = text[..7].to_owned();
            months += 1;
            assert_eq!(&text[7..10], "-01", "a month begins with its first day");
        }
    }
    assert_eq!(months, 430 * 12 + 3);
}

#[test]
fn a_time_of_day_has_bounds() {
    let day = 20_780 * DAY;
    for (text, milliseconds) in [
        ("00:00:00Z", Some(0)),
        ("23:59:59Z", Some(86_399_000)),
        ("23:59:59.999Z", Some(86_399_999)),
        ("12:34:56.7Z", Some(45_296_700)),
        ("12:34:56.0289Z", Some(45_296_028)),
        // A leap second.
        ("23:59:60Z", Some(86_400_000)),
        ("24:00:00Z", None),
        ("23:60:00Z", None),
        ("23:59:61Z", None),
        ("1:02:03Z", None),
        ("01:02:03.x Z", None),
        ("06:00:00+05:30", Some(1_800_000)),
        ("01:00:00+23:59", Some(3_600_000 - 86_340_000)),
        ("01:00:00-23:59", Some(3_600_000 + 86_340_000)),
        ("01:00:00+24:00", None),
        ("01:00:00+01:60", None),
        ("01:00:00+1:00", None),
        ("01:00:00 01:00", None),
        ("01:00:00*01:00", None),
    ] {
        let wanted =
            milliseconds.map(|milliseconds: i64| day.checked_add_signed(milliseconds).unwrap());
        assert_eq!(time(&format!("2026-11-23T{text}")), wanted, "{text}");
    }
    assert_eq!(time("2026-11-23x00:00:00Z"), None);
    assert_eq!(time("1970-01-01T00:00:00+00:01"), None, "before 1970");
    for (milliseconds, text) in [
        (day + 45_296_007, "2026-11-23T12:34:56.007Z"),
        (day + 86_399_120, "2026-11-23T23:59:59.120Z"),
        (day + 3_600_000, "2026-11-23T01:00:00Z"),
    ] {
        assert_eq!(Timestamp::new(milliseconds).to_string(), text);
        assert_eq!(time(text), Some(milliseconds));
    }
}

#[test]
fn lengths_of_time_are_sums_of_units() {
    for (text, milliseconds) in [
        ("1ms", 1),
        ("1s", 1000),
        ("1m", 60_000),
        ("1h", 3_600_000),
        ("1d", DAY),
        ("0s", 0),
        ("1d2h3m4s5ms", 93_784_005),
        ("90s", 90_000),
        ("1s1s", 2000),
    ] {
        assert_eq!(Millis::parse(text), Some(Millis::new(milliseconds)), "{text}");
    }
    for (milliseconds, text) in [
        (0, "0s"),
        (1, "1ms"),
        (999, "999ms"),
        (1000, "1s"),
        (59_999, "59s999ms"),
        (60_000, "1m"),
        (3_599_000, "59m59s"),
        (3_600_000, "1h"),
        (DAY - 1000, "23h59m59s"),
        (DAY, "1d"),
        (93_784_005, "1d2h3m4s5ms"),
    ] {
        assert_eq!(Millis::new(milliseconds).to_string(), text);
    }
    let most = Millis::new(u64::MAX);
    assert_eq!(Millis::new(3) + Millis::new(4), Millis::new(7));
    assert_eq!(most + Millis::new(1), most);
    assert_eq!(Millis::new(9).since(Millis::new(4)), Millis::new(5));
    assert_eq!(Millis::new(4).since(Millis::new(9)), Millis::ZERO);
    assert_eq!(Millis::new(7).times(3), Millis::new(21));
    assert_eq!(Millis::new(1999).thousandths(500), Millis::new(999));
    assert_eq!([1999, 2000].map(|milliseconds| Millis::new(milliseconds).seconds()), [1, 2]);
    let (early, late) = (Timestamp::new(100), Timestamp::new(350));
    assert_eq!((late.since(early), early.since(late)), (Millis::new(250), Millis::ZERO));
    assert_eq!((early + Millis::new(250), late - Millis::new(250)), (late, early));
}

#[test]
fn shares_are_whole_parts_of_a_million() {
    assert_eq!(Ppm::new(1_000_000), Some(Ppm::ALL));
    assert_eq!(Ppm::new(1_000_001), None);
    for (text, ppm) in [
        ("0", 0),
        ("100", 1_000_000),
        ("100.0000", 1_000_000),
        ("0.0001", 1),
        ("0.1", 1000),
        ("12.5", 125_000),
        ("007", 70_000),
        ("99.9999", 999_999),
    ] {
        assert_eq!(text.parse(), Ok(Ppm::new(ppm).unwrap()), "{text}");
    }
    assert_eq!("101".parse::<Ppm>(), Err(NotPercent::OutOfRange));
    assert_eq!("0.00010".parse::<Ppm>(), Err(NotPercent::TooPrecise));
    assert_eq!("x.00010".parse::<Ppm>(), Err(NotPercent::OutOfRange));
    assert_eq!(NotPercent::OutOfRange.to_string(), "not a percentage from 0 to 100");
    assert_eq!(NotPercent::TooPrecise.to_string(), "more than four decimals");
    for (ppm, text, fraction) in
        [(0, "0", 0.0), (1000, "0.1", 0.001), (250_000, "25", 0.25), (1_000_000, "100", 1.0)]
    {
        let share = Ppm::new(ppm).unwrap();
        assert_eq!((share.get(), share.to_string().as_str()), (ppm, text));
        assert!((share.fraction() - fraction).abs() < 1e-15, "{text}");
    }
    assert_eq!(Bucket::new(21_263).unwrap().to_string(), "21263");
    assert_eq!((Bucket::new(0).unwrap().get(), Bucket::new(1_000_000)), (0, None));
}
