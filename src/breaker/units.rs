//! Evidence by unit, in tables of fixed size: who was seen lately, and who fails most.
//!
//! One unit must not open a breaker for all others. The tables are small because only few units can
//! matter: five that were seen lately turn the caps on, and if more than five units exceed their
//! cap at the same time, no single one is to blame.

use super::event::Kind;
use super::window::BUCKETS;

/// With fewer units than this in the window, no unit is capped.
pub(super) const FEW: usize = 5;

/// The origin of a request: a unit's bucket, or [`Unit::NONE`] for all requests without a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unit(pub(super) u32);

impl Unit {
    /// No unit has this bucket.
    pub(super) const NONE: Self = Self(u32::MAX);
    /// Marks a free place.
    pub(super) const FREE: Self = Self(u32::MAX - 1);
}

/// Up to five units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Units {
    units: [Option<Unit>; FEW],
}

impl Units {
    pub(super) const NONE: Self = Self { units: [None; FEW] };

    /// Adds a unit, unless it or five others are there.
    #[inline]
    pub(super) fn add(&mut self, unit: Unit) {
        for place in &mut self.units {
            match place {
                Some(other) if *other == unit => return,
                Some(_) => {}
                None => {
                    *place = Some(unit);
                    return;
                }
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Unit> {
        self.units.iter().copied().flatten()
    }
}

/// The units seen lately, each with the number of the window's bucket in which it was seen last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SeenUnits(pub(super) [(Unit, u32); FEW]);

impl SeenUnits {
    pub(super) const fn new() -> Self {
        Self([(Unit::FREE, 0); FEW])
    }

    /// Notes that a unit was seen in the bucket of this number, in place of the one that was not
    /// seen for longest.
    #[inline(never)]
    pub(super) fn note(&mut self, unit: Unit, number: u64) {
        let number = truncated(number);
        let age = |&(other, seen): &(Unit, u32)| match other {
            _ if other == unit => u64::MAX,
            Unit::FREE => u64::MAX - 1,
            _ => u64::from(number.wrapping_sub(seen)),
        };
        if let Some(place) = self.0.iter_mut().max_by_key(|place| age(place)) {
            *place = (unit, number);
        }
    }

    /// Whether the window that ends with this bucket has fewer than five units, with these.
    #[inline(never)]
    pub(super) fn are_few(&self, number: u64, more: &Units) -> bool {
        let number = truncated(number);
        let is_seen = |&(unit, seen): &(Unit, u32)| {
            unit != Unit::FREE && (number.wrapping_sub(seen) as usize) < BUCKETS
        };
        let seen = self.0.iter().filter(|place| is_seen(place));
        let is_new = |unit: &Unit| !self.0.iter().any(|place| is_seen(place) && place.0 == *unit);
        seen.count() + more.iter().filter(is_new).count() < FEW
    }
}

#[expect(clippy::cast_possible_truncation, reason = "compared by the difference only")]
const fn truncated(number: u64) -> u32 {
    number as u32
}

/// The requests of one unit that count against a variant since the last tick, by kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offense {
    pub(super) unit: Unit,
    pub(super) counts: [u32; Kind::ALL.len()],
}

impl Offense {
    const NONE: Self = Self { unit: Unit::FREE, counts: [0; Kind::ALL.len()] };

    fn total(&self) -> u32 {
        self.counts.into_iter().fold(0, u32::saturating_add)
    }
}

/// The units of one worker with the most offenses since the last tick.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offenses([Offense; 8]);

impl Offenses {
    pub(super) const NONE: Self = Self([Offense::NONE; 8]);

    /// Adds to a unit, in place of the one with the least.
    #[inline(never)]
    pub(super) fn add(&mut self, unit: Unit, kind: Kind) {
        let rank = |offense: &Offense| if offense.unit == unit { 0 } else { offense.total() + 1 };
        if let Some(place) = self.0.iter_mut().min_by_key(|offense| rank(offense)) {
            if place.unit != unit {
                *place = Offense { unit, ..Offense::NONE };
            }
            if let Some(count) = place.counts.get_mut(kind as usize) {
                *count = count.saturating_add(1);
            }
        }
    }
}

/// The requests of one unit that count against a variant, by kind and by bucket of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offender {
    pub(super) unit: Unit,
    pub(super) counts: [[u16; BUCKETS]; Kind::ALL.len()],
}

impl Offender {
    pub(super) const NONE: Self =
        Self { unit: Unit::FREE, counts: [[0; BUCKETS]; Kind::ALL.len()] };

    fn count(&self, kind: Kind) -> u32 {
        self.counts.get(kind as usize).map_or(0, sum)
    }

    fn total(&self) -> u32 {
        self.counts.iter().map(sum).sum()
    }
}

fn sum(buckets: &[u16; BUCKETS]) -> u32 {
    buckets.iter().map(|&count| u32::from(count)).sum()
}

/// The units with the most offenses in the window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offenders(pub(super) [Offender; FEW]);

impl Offenders {
    pub(super) const fn new() -> Self {
        Self([Offender::NONE; FEW])
    }

    /// Adds what one worker has counted to the bucket at this place.
    #[inline(never)]
    pub(super) fn add_all(&mut self, place: usize, offenses: &Offenses) {
        let offenses = offenses.0.iter().filter(|offense| offense.total() > 0);
        offenses.for_each(|offense| self.add(place, offense));
    }

    /// Adds to the bucket at this place. A unit replaces the one with the least if that has no
    /// more than it.
    fn add(&mut self, place: usize, offense: &Offense) {
        let is_same = |offender: &Offender| offender.unit == offense.unit;
        let rank = |offender: &Offender| if is_same(offender) { 0 } else { offender.total() + 1 };
        let Some(offender) = self.0.iter_mut().min_by_key(|offender| rank(offender)) else {
            return;
        };
        if !is_same(offender) {
            if offender.total() > offense.total() {
                return;
            }
            *offender = Offender { unit: offense.unit, ..Offender::NONE };
        }
        for (counts, new) in offender.counts.iter_mut().zip(offense.counts) {
            if let Some(count) = counts.get_mut(place) {
                *count = count.saturating_add(u16::try_from(new).unwrap_or(u16::MAX));
            }
        }
    }

    /// Clears the bucket at this place.
    pub(super) fn clear(&mut self, place: usize) {
        for offender in &mut self.0 {
            for counts in &mut offender.counts {
                if let Some(count) = counts.get_mut(place) {
                    *count = 0;
                }
            }
        }
    }

    /// How much of this kind the units have above `cap` each.
    #[inline(never)]
    pub(super) fn excess(&self, kind: Kind, cap: u32) -> u32 {
        let excess = |offender: &Offender| offender.count(kind).saturating_sub(cap);
        self.0.iter().map(excess).fold(0, u32::saturating_add)
    }
}
