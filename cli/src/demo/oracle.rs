//! What the core says about a request, here and without a proxy: what the live answers are held against.

use anyhow::{Context, ensure};
use sidetrack::decide::{Decision, Gate, Outcome, World, decide};
use sidetrack::plan::Plan;
use sidetrack::quantity::Bucket;
use sidetrack::rollout::InForce;
use sidetrack_lab::{Answer, Request};

use super::crowd::{Source, Visit};
use super::stage::Stage;
use crate::bars;
use crate::moment;
use crate::out::Ink;
use crate::words::{buckets, grouped, variant};

/// Whose assignment the demo explains.
const USER: u64 = 4711;

/// The decision of the very function that decides in the proxy; `None` when no experiment takes the request.
pub(super) fn foretell(plan: &Plan, request: &Request) -> Option<Decision> {
    let mut headers: Vec<(&str, &[u8])> =
        vec![(":method", request.method.as_bytes()), (":path", request.path.as_bytes())];
    headers.extend(request.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())));
    let mut world = World { now: moment::now(), entropy: || 0, gate: &|_, _| Gate::Closed };
    match decide(plan, &headers, &mut world, &mut ()) {
        Outcome::Decided(decision) => Some(decision),
        Outcome::Unmatched | Outcome::Skipped(_) | Outcome::NeedsBody(_) => None,
    }
}

/// One user's assignment: foretold, and as it was live.
pub(super) struct Explained {
    pub(super) visit: Visit,
    pub(super) request: Request,
    pub(super) answer: Answer,
    decision: Decision,
    bucket: Bucket,
    told: String,
}

impl Explained {
    /// Asks the core and the proxy about one user.
    pub(super) async fn ask(stage: &Stage) -> anyhow::Result<Self> {
        let visit = Visit { user: USER, source: Source::Header };
        let names = &stage.plan.settings.headers;
        let request = visit.request().header(names.debug.as_str(), "1");
        let decision =
            foretell(&stage.plan, &request).context("no experiment takes the demo's requests")?;
        let bucket = decision.bucket.context("the demo's experiment draws nothing")?;
        let answer = stage.client.send(request.clone()).await?;
        ensure!(
            answer.status == 200,
            "the first request failed: {} {}",
            answer.status,
            answer.text()
        );
        let told = answer.header_text(&names.bucket).unwrap_or_else(|| "missing".to_owned());
        Ok(Self { visit, request, answer, decision, bucket, told })
    }

    /// Whether the proxy named the bucket that the core draws here.
    pub(super) fn is_confirmed(&self) -> bool {
        self.told == self.bucket.to_string()
    }

    /// The question, the answer, and where the bucket lies.
    pub(super) fn lines(&self, stage: &Stage, ink: Ink) -> Vec<String> {
        let experiment = stage.experiment();
        let InForce::Weights(weights, _) = experiment.schedule.at(moment::now()) else {
            return Vec::new();
        };
        let served = variant(experiment, self.decision.served);
        let span = experiment.layout.span_of(self.bucket).map(|(span, _)| span);
        let whose = match span.filter(|span| span.variant == self.decision.assigned) {
            Some(span) => {
                let share = experiment.shares_of(weights)[span.variant];
                format!("; {served} holds {}.", buckets(span.start, share.get()))
            }
            None => ", which no candidate holds.".to_owned(),
        };
        let mut lines = vec![
            ink.bold(format!("Why does user {USER} get {served}?")).to_string(),
            format!("Salt and user hash to bucket {}{whose}", grouped(self.bucket.get())),
        ];
        lines.extend(bars::ruler(experiment, weights, self.bucket, ink));
        let header = &stage.plan.settings.headers.bucket;
        let model = self.answer.header_text("x-model").unwrap_or_default();
        lines.push(if self.is_confirmed() {
            let live = format!("{header}: {}, answered by forecast {model}", self.told);
            format!("{} The live answer agrees: {live}", ink.good("✓"))
        } else {
            let live = format!("{header} is {}, not {}", self.told, self.bucket);
            format!("{} The live answer does not agree: {live}", ink.bad("✗"))
        });
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::stage::{Set, experiments};

    #[test]
    fn the_experiment_reads_a_user_from_wherever_the_request_carries_it() {
        let (_, plan) = experiments(Set::default()).unwrap();
        for (index, source) in
            [Source::Header, Source::Cookie, Source::Query].into_iter().enumerate()
        {
            let decision = foretell(&plan, &Visit { user: USER, source }.request()).unwrap();
            assert_eq!(decision.unit_source, Some(index));
            assert_eq!(decision.bucket.map(Bucket::get), Some(21_263));
        }
    }
}
