//! Lines of the experiment that cannot be read: those that name it, and the experiment's share of those that break off
//! before its name.

use std::collections::BTreeMap;

use crate::row::Place;
use crate::source::Start;

/// How many beginnings are kept apart.
const MOST: usize = 100;

/// A line, and what is wrong with it.
pub(crate) type Example = (Place, String);

/// Lines that cannot be read, and readable ones to compare them with.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    /// Lines that name the experiment.
    named: u64,
    first: Option<Example>,
    /// Other lines by their beginnings, with the first one.
    torn: BTreeMap<Start, (u64, Example)>,
    /// Readable lines by their beginnings: those of the experiment, and all.
    readable: BTreeMap<Start, (u64, u64)>,
}

impl Damage {
    /// So many lines of the experiment, and the first of them.
    pub(crate) fn of(lines: u64, first: Option<Example>) -> Self {
        Self { named: lines, first, ..Self::default() }
    }

    pub(super) fn readable(&mut self, start: Start, is_ours: bool) {
        self.add_readable(start, (u64::from(is_ours), 1));
    }

    fn add_readable(&mut self, start: Start, (ours, all): (u64, u64)) {
        if self.readable.len() < MOST || self.readable.contains_key(&start) {
            let known = self.readable.entry(start).or_default();
            *known = (known.0 + ours, known.1 + all);
        }
    }

    pub(super) fn named(&mut self, place: Place, problem: &str) {
        self.named += 1;
        self.first.get_or_insert_with(|| (place, problem.to_owned()));
    }

    pub(super) fn torn(&mut self, start: Start, place: Place, problem: &str) {
        if self.torn.len() < MOST || self.torn.contains_key(&start) {
            self.torn.entry(start).or_insert_with(|| (0, (place, problem.to_owned()))).0 += 1;
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.named += other.named;
        self.first = self.first.take().or(other.first);
        for (start, (lines, example)) in other.torn {
            if self.torn.len() < MOST || self.torn.contains_key(&start) {
                self.torn.entry(start).or_insert((0, example)).0 += lines;
            }
        }
        other.readable.into_iter().for_each(|(start, lines)| self.add_readable(start, lines));
    }

    /// Of the lines that break off, those that belong to the experiment as far as one can know, and the first of them.
    fn torn_of_experiment(&self) -> (u64, Option<&Example>) {
        let float = sidetrack_stats::float;
        let (mut sum, mut first) = (0.0, None);
        for (torn, (lines, example)) in &self.torn {
            let alike = self.readable.iter().filter(|(start, _)| start.may_be(*torn));
            let (ours, all) = alike.fold((0, 0), |(a, b), (_, lines)| (a + lines.0, b + lines.1));
            if ours > 0 {
                sum += float(*lines) * float(ours) / float(all);
                first = first.or(Some(example));
            }
        }
        (whole(sum), first)
    }

    /// How many lines of the experiment cannot be read.
    pub(crate) fn lines(&self) -> u64 {
        self.named + self.torn_of_experiment().0
    }

    /// The first of them.
    pub(crate) fn first(&self) -> Option<&Example> {
        self.first.as_ref().or_else(|| self.torn_of_experiment().1)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a number of lines"
)]
fn whole(lines: f64) -> u64 {
    lines.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(line: &str) -> Start {
        Start::of(line.as_bytes()).unwrap()
    }

    const PLACE: Place = Place { file: 0, line: 7 };

    #[test]
    fn lines_that_break_off_count_by_the_share_of_those_that_begin_alike() {
        let mut damage = Damage::default();
        let (own, other) = (start("{\"time\":1"), start("{\"level\":1"));
        for number in 0..100 {
            damage.readable(own, number < 25);
            damage.readable(other, false);
        }
        for _ in 0..20 {
            damage.torn(start("{\"ti"), PLACE, "breaks off");
            damage.torn(other, PLACE, "of another program");
        }
        assert_eq!(damage.lines(), 5);
        assert_eq!(damage.first(), Some(&(PLACE, "breaks off".to_owned())));
        damage.named(Place { line: 9, ..PLACE }, "bad");
        assert_eq!(damage.lines(), 6);
        assert_eq!(damage.first().unwrap().1, "bad");
        let mut all = Damage::default();
        all.merge(damage);
        let mut more = Damage::default();
        more.torn(own, PLACE, "breaks off");
        (0..100).for_each(|_| more.readable(own, true));
        all.merge(more);
        // 21 of them, and 125 of 200 that begin alike are the experiment's.
        assert_eq!(all.lines(), 14);
    }

    #[test]
    fn without_readable_lines_nothing_is_known() {
        let mut damage = Damage::default();
        damage.torn(start("{\"time\":1"), PLACE, "breaks off");
        assert_eq!((damage.lines(), damage.first()), (0, None));
    }

    #[test]
    fn beginnings_without_end_take_no_memory() {
        let mut damage = Damage::default();
        for number in 0..1000 {
            damage.torn(start(&format!("{{\"k{number}\":1")), PLACE, "");
            damage.readable(start(&format!("{{\"k{number}\":1")), true);
        }
        assert_eq!((damage.torn.len(), damage.readable.len()), (MOST, MOST));
    }
}
