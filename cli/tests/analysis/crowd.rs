//! Logs of a crowd whose truth is known: seeded, and assigned by the core that decides in the proxy.

use std::fmt::Write as _;

use sidetrack::plan::Experiment;
use sidetrack::quantity::Timestamp;
use sidetrack::rollout::InForce;

/// 2026-11-23T09:00:00Z.
pub(crate) const START: u64 = 1_795_424_400_000;

/// SplitMix64 (Steele, Lea & Flood 2014): small, and the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to just below 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.fraction() < probability
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        (self.fraction() * limit as f64) as u64
    }
}

/// What is true of a variant.
#[derive(Clone, Copy)]
pub(crate) struct Truth {
    pub(crate) error: f64,
    /// Milliseconds: a base, and as much again spread exponentially.
    pub(crate) latency: f64,
    pub(crate) accuracy: f64,
    pub(crate) revenue: f64,
}

pub(crate) const BASELINE: Truth =
    Truth { error: 0.01, latency: 40.0, accuracy: 0.876, revenue: 2.0 };

/// A crowd and its time.
pub(crate) struct Crowd {
    pub(crate) seed: u64,
    pub(crate) users: u64,
    /// Milliseconds that the requests are spread over.
    pub(crate) span: u64,
    /// Requests per user on average; heavy users make many more.
    pub(crate) requests: f64,
    /// The truth of each variant, by its index.
    pub(crate) truths: Vec<Truth>,
    /// By how much every truth grows over the span: a trend that both variants share.
    pub(crate) drift: f64,
}

impl Crowd {
    pub(crate) fn new(users: u64, truths: Vec<Truth>) -> Self {
        Self { seed: 7, users, span: 6 * 3_600_000, requests: 5.0, truths, drift: 0.0 }
    }
}

/// A log and what became of its requests.
#[derive(Default)]
pub(crate) struct Written {
    pub(crate) log: String,
    /// `request_id,prediction,label,revenue`
    pub(crate) outcomes: String,
    /// `unit,converted,basket`
    pub(crate) by_unit: String,
    pub(crate) lines: u64,
}

/// The experiment of a file in JSON.
pub(crate) fn experiment(file: &str) -> Experiment {
    sidetrack::config::parse_json(file.as_bytes()).unwrap().experiments.into_iter().next().unwrap()
}

impl Crowd {
    /// Writes everything. `digest`: name units by their digests.
    pub(crate) fn write(&self, experiment: &Experiment, digest: bool) -> Written {
        let mut random = Random(self.seed);
        let mut out = Written {
            outcomes: "request_id,prediction,label,revenue\n".to_owned(),
            by_unit: "unit,converted,basket\n".to_owned(),
            ..Written::default()
        };
        for user in 0..self.users {
            let unit = format!("user-{}-{user}", self.seed);
            let name =
                if digest { experiment.exposure.pseudonym(unit.as_bytes()) } else { unit.clone() };
            // Users differ: some make many requests, and some meet more errors than others.
            let many = if random.chance(0.05) { 8.0 } else { 0.6 };
            let count = 1 + random.below((2.0 * self.requests * many) as u64 + 1);
            let luck = 0.5 + random.fraction();
            let mut first = None;
            for request in 0..count {
                let at = random.below(self.span);
                let drift = 1.0 + self.drift * at as f64 / self.span as f64;
                let arm = self.line(
                    experiment,
                    &unit,
                    &name,
                    (user, request),
                    START + at,
                    luck * drift,
                    &mut random,
                    &mut out,
                );
                first = first.filter(|(time, _)| *time < at).or(Some((at, arm)));
            }
            let truth = first.and_then(|(_, arm)| self.truths.get(arm)).unwrap();
            let converted = random.chance(truth.revenue / 20.0);
            writeln!(
                out.by_unit,
                "{unit},{},{:.2}",
                u8::from(converted),
                truth.revenue * (0.5 + random.fraction())
            )
            .unwrap();
        }
        out
    }

    #[expect(clippy::too_many_arguments, reason = "a line has many sides")]
    fn line(
        &self,
        experiment: &Experiment,
        unit: &str,
        name: &str,
        id: (u64, u64),
        time: u64,
        factor: f64,
        random: &mut Random,
        out: &mut Written,
    ) -> usize {
        let bucket = experiment.arm.bucket(unit.as_bytes());
        let InForce::Weights(weights, phase) = experiment.schedule.at(Timestamp::new(time)) else {
            panic!("not started")
        };
        let arm = experiment.layout.candidate(bucket, weights).unwrap_or(experiment.baseline);
        let phase = phase.map_or_else(
            || "null".to_owned(),
            |phase| format!("\"{}\"", experiment.schedule.phases()[phase].name),
        );
        let truth = self.truths[arm.index()];
        let failed = random.chance(truth.error * factor);
        let duration = truth.latency * (1.0 - (1.0 - random.fraction()).ln() * factor);
        let variant = &experiment.variants[arm].name;
        let milliseconds = time % 1000;
        let clock = Timestamp::new(time - milliseconds).to_string();
        let clock = clock.trim_end_matches('Z');
        let request = format!("{:08x}-{:04x}-4000-8000-{:012x}", id.0, id.1, self.seed);
        writeln!(
            out.log,
            r#"{{"time":"{clock}.{milliseconds:03}Z","request_id":"{request}","unit":"{name}","experiment":"{}","assigned":"{variant}","served":"{variant}","reason":"hash","bucket":"{bucket}","phase":{phase},"method":"POST","path":"/v2/models/forecast/infer","status":{},"flags":"-","duration":{},"attempts":1,"rescued":null,"cluster":"{variant}"}}"#,
            experiment.name,
            if failed { 503 } else { 200 },
            duration as u64,
        )
        .unwrap();
        out.lines += 1;
        if !failed {
            let right = random.chance(truth.accuracy);
            let label = random.below(3);
            let prediction = if right { label } else { label + 1 };
            let revenue = truth.revenue * (0.5 + random.fraction());
            writeln!(out.outcomes, "{request},{prediction},{label},{revenue:.3}").unwrap();
        }
        arm.index()
    }
}
