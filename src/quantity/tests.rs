use super::*;

#[test]
fn the_smallest_and_the_largest_draw_have_a_bucket() {
    assert_eq!(Bucket::from_draw(0).get(), 0);
    assert_eq!(Bucket::from_draw(u64::MAX).get(), 999_999);
    assert_eq!(Bucket::from_draw(1 << 63).get(), 500_000);
    assert_eq!(Bucket::from_draw((1 << 63) - 1).get(), 499_999);
    assert_eq!(Bucket::from_draw((1 << 32) - 1).get(), 0);
    assert_eq!(Bucket::new(999_999), Some(Bucket::from_draw(u64::MAX)));
    assert_eq!(Bucket::new(Bucket::COUNT), None);
}

#[test]
fn percent_parse_as_they_print() {
    for ppm in [0, 1, 5, 10_000, 123_456, 300_000, 999_999, 1_000_000].map(Ppm) {
        assert_eq!(ppm.to_string().parse(), Ok(ppm));
    }
    assert_eq!("30.0".parse(), Ok(Ppm(300_000)));
    for bad in [
        "",
        ".",
        "30.",
        ".5",
        "-1",
        "+1",
        "1e1",
        "30 %",
        "100.0001",
        "1000000000000",
        "0.5x",
        "1.-5",
    ] {
        assert_eq!(bad.parse::<Ppm>(), Err(NotPercent::OutOfRange), "{bad}");
    }
    assert_eq!("12.34567".parse::<Ppm>(), Err(NotPercent::TooPrecise));
}

#[test]
fn times_add_up_without_overflow() {
    assert_eq!(Timestamp(5) + Millis(3), Timestamp(8));
    assert_eq!(Timestamp(5) + Millis(u64::MAX), Timestamp(u64::MAX));
    assert_eq!(Timestamp(5) - Millis(8), Timestamp(0));
    assert_eq!(Timestamp(5).since(Timestamp(8)), Millis::ZERO);
    assert_eq!([Millis(1), Millis(2)].into_iter().sum::<Millis>(), Millis(3));
    assert_eq!((Millis(1500).seconds(), Millis(1500).thousandths(900)), (1, Millis(1350)));
    assert_eq!(Millis(2).times(u64::MAX), Millis(u64::MAX));
}

#[test]
fn spans_add_up_and_refuse_what_they_cannot_read() {
    assert_eq!(Millis::parse("1h30m"), Some(Millis(5_400_000)));
    assert_eq!(Millis::parse("200ms"), Some(Millis(200)));
    let overflows = ["99999999999999999999s", "18446744073709551615d"];
    for bad in ["", "30", "s", "-1s", "1.5s", "1w", "30 s"].iter().chain(&overflows) {
        assert_eq!(Millis::parse(bad), None, "{bad}");
    }
}

#[test]
fn quantities_print_as_the_file_writes_them() {
    assert_eq!(Ppm(300_000).to_string(), "30");
    assert_eq!(Ppm(123_456).to_string(), "12.3456");
    assert_eq!(Ppm(5).to_string(), "0.0005");
    assert_eq!(Millis(5_400_000).to_string(), "1h30m");
    assert_eq!(Millis(200).to_string(), "200ms");
}

#[test]
fn times_are_rfc_3339_and_nothing_else() {
    assert_eq!(Timestamp::parse("1970-01-01T00:00:01Z"), Some(Timestamp(1000)));
    assert_eq!(
        Timestamp::parse("2026-11-23T10:00:00+01:00"),
        Timestamp::parse("2026-11-23T09:00:00Z")
    );
    for good in ["2026-11-23t09:00:00z", "2026-11-23T09:00:00.000Z", "2026-11-23T08:00:00-01:00"] {
        assert_eq!(Timestamp::parse(good), Timestamp::parse("2026-11-23T09:00:00Z"), "{good}");
    }
    for bad in [
        "",
        "noon",
        "1700000000",
        "2026-11-23",
        "2026-11-23 09:00:00Z",
        "2026-11-23T09:00:00",
        "2026-11-23T09:00Z",
        "2026-11-23T09:00+01:00",
        "2026-11-23T09:00:00+01",
        "2026-11-23T09:00:00.Z",
        "2026-11-23T09:00:00Z[UTC]",
        "2026-11-23T09:00:00+01:00[Europe/Berlin]",
        "2026-13-23T09:00:00Z",
        "1969-12-31T23:59:59Z",
    ] {
        assert_eq!(Timestamp::parse(bad), None, "{bad}");
    }
    assert_eq!(
        Timestamp::parse("2026-11-23T09:00:00Z").unwrap().to_string(),
        "2026-11-23T09:00:00Z"
    );
}

proptest::proptest! {
    #[test]
    fn times_agree_with_a_date_library(millis in 0..253_402_300_799_999_i64) {
        let theirs = jiff::Timestamp::from_millisecond(millis).unwrap();
        let ours = Timestamp(u64::try_from(millis).unwrap());
        proptest::prop_assert_eq!(Timestamp::parse(&theirs.to_string()), Some(ours));
        proptest::prop_assert_eq!(ours.to_string().parse::<jiff::Timestamp>().unwrap(), theirs);
    }

    #[test]
    fn what_is_no_date_for_a_date_library_is_none_here(
        year in 1970..2400, month in 0..14, day in 0..33, hour in 0..25, offset in -23..24
    ) {
        let text = format!("{year}-{month:02}-{day:02}T{hour:02}:30:15{offset:+03}:30");
        let theirs = text.parse::<jiff::Timestamp>().ok().and_then(|t| u64::try_from(t.as_millisecond()).ok());
        proptest::prop_assert_eq!(Timestamp::parse(&text), theirs.map(Timestamp), "{}", text);
    }
}
