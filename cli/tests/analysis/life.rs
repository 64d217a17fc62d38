//! Logs of an experiment that lives: its file changes while users come back. Each request is decided by the core under
//! the file of its moment, and logged with the exposure that the filter writes.

use std::fmt::Write as _;

use sidetrack::decide::{Gate, Outcome, World, decide};
use sidetrack::exposure::{Exposures, trial};
use sidetrack::plan::{ExposureUnit, Plan};
use sidetrack::quantity::Timestamp;

use crate::crowd::Random;

pub(crate) const HOUR: u64 = 3_600_000;
pub(crate) const DAY: u64 = 24 * HOUR;

/// An experiment file: these candidates' settings, with the baseline `plain`.
pub(crate) fn file(salt: &str, fancy: &str, more: &str) -> String {
    format!(
        r#"{{"experiments": [{{"name": "forecast", "salt": "{salt}", "unit": [{{"header": "x-user-id"}}],
        "baseline": "plain", "variants": [{{"name": "plain"}}, {{"name": "fancy", {fancy}}}]{more}}}],
        "settings": {{"exposure_unit": "plain"}}}}"#
    )
}

/// The experiment at 40 % with this analysis plan.
pub(crate) fn planned(plan: &str) -> String {
    let more = if plan.is_empty() { String::new() } else { format!(", \"analysis\": {plan}") };
    file("s", "\"weight\": 40", &more)
}

/// The experiment at a fixed weight.
pub(crate) fn weight(salt: &str, weight: f64) -> String {
    file(salt, &format!(r#""weight": {weight}, "reserve": 50"#), "")
}

/// A file in force.
pub(crate) struct Force {
    plan: Plan,
    exposures: Exposures,
    /// As the log names it.
    pub(crate) trial: String,
}

impl Force {
    pub(crate) fn new(file: &str) -> Self {
        let plan = sidetrack::config::parse_json(file.as_bytes()).unwrap();
        let experiment = plan.experiments.first().unwrap();
        let (exposures, trial) = (Exposures::new(&plan, experiment), trial(experiment));
        Self { plan, exposures, trial }
    }
}

/// What was logged, and what became of it.
pub(crate) struct Life {
    random: Random,
    pub(crate) log: String,
    /// `request_id,correct`
    pub(crate) outcomes: String,
    /// `unit,time,revenue`: one row after each request.
    pub(crate) revenue: String,
    requests: u64,
}

impl Life {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            log: String::new(),
            outcomes: "request_id,correct\n".to_owned(),
            revenue: "unit,time,revenue\n".to_owned(),
            requests: 0,
        }
    }

    /// A request of a user, whose prediction is right with this probability by the variant.
    pub(crate) fn request(
        &mut self,
        force: &Force,
        user: u64,
        time: u64,
        right: impl Fn(&str) -> f64,
    ) {
        let unit = format!("user-{user}");
        let gate = |_, _| Gate::Closed;
        let mut world = World { now: Timestamp::new(time), entropy: || 0, gate: &gate };
        let outcome = decide(&force.plan, &vec![("x-user-id", unit.as_str())], &mut world, &mut ());
        let Outcome::Decided(decision) = outcome else { panic!("undecided") };
        let experiment = force.plan.experiments.first().unwrap();
        let shown = match force.plan.settings.exposure_unit {
            ExposureUnit::Plain => unit.clone(),
            ExposureUnit::Digest | ExposureUnit::None => {
                experiment.exposure.pseudonym(unit.as_bytes())
            }
        };
        let exposure = force.exposures.text(&decision, Some(shown.as_bytes()));
        let exposure = String::from_utf8(exposure).unwrap();
        let variant = &experiment.variants[decision.assigned].name;
        let phase = decision.phase.map_or_else(
            || "null".to_owned(),
            |phase| format!("\"{}\"", experiment.schedule.phases()[phase].name),
        );
        let clock = |time: u64| {
            let text = Timestamp::new(time - time % 1000).to_string();
            format!("{}.{:03}Z", text.trim_end_matches('Z'), time % 1000)
        };
        let id = format!("{user}-{}", self.requests);
        self.requests += 1;
        let duration = 20 + self.random.below(40);
        writeln!(
            self.log,
            r#"{{"time":"{}","request_id":"{id}","exposure":"{exposure}","experiment":"forecast","assigned":"{variant}","served":"{variant}","phase":{phase},"method":"POST","path":"/","status":200,"flags":"-","duration":{duration}}}"#,
            clock(time),
        )
        .unwrap();
        let right = self.random.chance(right(variant));
        writeln!(self.outcomes, "{id},{}", u8::from(right)).unwrap();
        let revenue = if right { 1.0 } else { 0.0 } + self.random.fraction() / 10.0;
        writeln!(self.revenue, "{unit},{},{revenue:.4}", clock(time + 500)).unwrap();
    }

    /// Requests of so many users, each at a random time of the span, under the file of that time.
    pub(crate) fn users(
        &mut self,
        users: std::ops::Range<u64>,
        span: std::ops::Range<u64>,
        force: impl Fn(u64) -> usize,
        files: &[Force],
        right: impl Fn(&str, u64) -> f64,
    ) {
        for user in users {
            let time = span.start + self.random.below(span.end - span.start);
            self.request(&files[force(time)], user, time, |variant| right(variant, time));
        }
    }
}
