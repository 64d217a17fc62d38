//! What shows where and when an effect is, and decides nothing: segments, days, and the outlook.

use super::Judging;
use super::reading::Read;
use crate::answer::{DailyResult, MetricResult, Outlook, Role, SegmentResult};
use crate::check::Check;
use crate::daily::{self, daily};
use crate::judge::{Look, Names};
use crate::outlook::outlook;
use crate::segments;

/// What decides nothing.
pub(super) struct Shown {
    pub(super) segments: Vec<SegmentResult>,
    pub(super) daily: Vec<DailyResult>,
    pub(super) outlook: Outlook,
    /// Warnings about them.
    pub(super) checks: Vec<Check>,
}

impl Judging<'_> {
    /// `totals` are the results of all units, in the order of the metrics; `units` count towards the planned ones.
    pub(super) fn shown(
        &self,
        main: &Read,
        totals: &[MetricResult],
        look: Look,
        names: &Names<'_>,
        units: u64,
    ) -> Shown {
        let data = self.data(main);
        // Planned looks are of primary metrics, and what decides nothing may be looked at as often as anybody likes.
        let often = look.of(Role::Exploratory);
        let asked = &self.settings.segments;
        let segments = segments::segments(&segments::Grounds {
            data: &data,
            asked,
            chosen: &main.chosen,
            metrics: &main.metrics,
            totals,
            look: often,
            names,
            phases: &main.timeline.phases,
        });
        let daily = daily(&data, &main.metrics, often, names);
        let mut checks = segments::checks(&segments);
        checks.extend(segments::missing(asked, &segments, main.units));
        checks.extend(daily::check(&daily, totals, self.settings.level.get()));
        let planned = (units, self.settings.planned_units);
        let outlook = if main.units {
            outlook(&data, &main.metrics, look, names, planned)
        } else {
            Outlook::default()
        };
        Shown { segments, daily, outlook, checks }
    }
}
