use super::*;
use crate::row::Marks;

const SHAPE: Shape = Shape { strata: 1, arms: 2, baseline: 0 };

fn row(time: u64, arm: u8, outcome: Option<u32>, marks: Marks) -> Row {
    let unit = (arm == 1).then_some(7);
    Row {
        unit,
        position: 1,
        time,
        duration: 3,
        print: None,
        outcome,
        group: 0,
        stratum: 0,
        arm,
        marks,
    }
}

fn outcomes(rows: usize) -> Outcomes {
    let plan = sidetrack::config::parse_json(
        br#"{"experiments": [{"name": "e", "unit": [{"header": "u"}], "baseline": "b",
            "variants": [{"name": "b"}, {"name": "c", "weight": 50}]}]}"#,
    );
    let experiment = plan.unwrap().experiments.into_iter().next().unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let lines: String = (0..rows).map(|row| format!("r{row},1\n")).collect();
    std::io::Write::write_all(&mut file, format!("request_id,score\n{lines}").as_bytes()).unwrap();
    Outcomes::read(file.path(), &experiment).unwrap()
}

#[test]
fn batches_add_up() {
    let (aborted, breaker) =
        (Marks { aborted: true, ..Marks::default() }, Marks { breaker: true, ..Marks::default() });
    let mut all = Tally::new(SHAPE);
    let mut one = Tally::new(SHAPE);
    one.row(&row(MINUTE + 1, 0, None, Marks::default()));
    one.line(None);
    one.row(&row(MINUTE + 2, 1, None, aborted));
    one.line(None);
    one.excluded(Excluded::Override);
    one.excluded(Excluded::OtherWeights);
    one.malformed(Place { file: 0, line: 1 }, Whose::Unknown, "x".to_owned());
    all.take(&mut one);
    assert_eq!((one.lines, one.used, one.span), (0, 0, None), "the batch is empty afterwards");
    one.row(&row(MINUTE, 1, None, breaker));
    one.line(None);
    one.row(&row(2 * MINUTE - 1, 1, None, aborted));
    one.line(None);
    one.row(&row(2 * MINUTE, 0, None, Marks::default()));
    one.line(None);
    one.excluded(Excluded::OtherWeights);
    all.take(&mut one);
    assert_eq!((all.lines, all.used, all.malformed, all.named), (9, 5, 1, 3));
    assert_eq!((all.left_out(Excluded::Override), all.left_out(Excluded::OtherWeights)), (1, 2));
    assert_eq!((all.left_out(Excluded::Breaker), all.aborted()), (0, 2));
    assert_eq!(all.span, Some((MINUTE, 2 * MINUTE)));
    let minutes: Vec<_> = all.minutes.iter().map(|(minute, counts)| (*minute, counts)).collect();
    let [(1, first), (2, second)] = minutes[..] else { panic!("{minutes:?}") };
    let counts = |minute: &Minute| (minute.requests, minute.aborted, minute.breaker);
    assert_eq!(first.iter().map(counts).collect::<Vec<_>>(), [(1, 0, 0), (3, 2, 1)]);
    assert_eq!(second.iter().map(counts).collect::<Vec<_>>(), [(1, 0, 0), (0, 0, 0)]);
}

#[test]
fn the_first_malformed_lines_are_examples() {
    let mut all = Tally::new(SHAPE);
    for batch in 0..3 {
        let mut one = Tally::new(SHAPE);
        for line in 0..3 {
            one.malformed(Place { file: batch, line }, Whose::Unknown, format!("{batch} {line}"));
        }
        all.take(&mut one);
    }
    let examples: Vec<&str> = all.examples.iter().map(|(_, problem)| problem.as_str()).collect();
    assert_eq!(examples, ["0 0", "0 1", "0 2", "1 0", "1 1"]);
    assert_eq!(all.malformed, 9);
    let mut one = Tally::new(SHAPE);
    (0..9).for_each(|line| one.malformed(Place { file: 0, line }, Whose::Unknown, String::new()));
    assert_eq!((one.examples.len(), one.malformed), (EXAMPLES, 9));
}

#[test]
fn rows_of_the_outcomes_are_counted_by_their_requests() {
    let mut all = Tally::new(SHAPE).with_outcomes(&outcomes(4));
    for _ in 0..2 {
        let mut one = Tally::new(SHAPE);
        for outcome in [Some(0), None, Some(2)] {
            one.row(&row(0, 0, outcome, Marks::default()));
            one.line(None);
        }
        all.take(&mut one);
    }
    let mut one = Tally::new(SHAPE);
    (0..300).for_each(|_| one.row(&row(0, 0, Some(3), Marks::default())));
    one.row(&row(0, 0, Some(1), Marks::default()));
    one.line(None);
    all.take(&mut one);
    assert_eq!([1, 2, 3, 255].map(|count| all.met(count)), [4, 3, 1, 1]);
}
