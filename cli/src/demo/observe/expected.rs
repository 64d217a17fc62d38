//! The expected assignment: the core decides here, without a proxy, and live responses are compared with it.

use anyhow::{Context, ensure};
use sidetrack::decide::{Decision, Gate, Outcome, World, decide};
use sidetrack::plan::Plan;
use sidetrack::quantity::Bucket;
use sidetrack_lab::{Answer, Client, Request};

use crate::demo::input::{Source, Visit};
use crate::moment;

/// The user whose assignment the demo explains.
const USER: u64 = 4711;

/// The decision of the function that also decides in the proxy; `None` if no experiment matches the request.
pub(super) fn decide_locally(plan: &Plan, request: &Request) -> Option<Decision> {
    let mut headers: Vec<(&str, &[u8])> =
        vec![(":method", request.method.as_bytes()), (":path", request.path.as_bytes())];
    headers.extend(request.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())));
    let mut world = World { now: moment::now(), entropy: || 0, gate: &|_, _| Gate::Closed };
    match decide(plan, &headers, &mut world, &mut ()) {
        Outcome::Decided(decision) => Some(decision),
        Outcome::Unmatched | Outcome::Unread(..) | Outcome::Skipped(..) | Outcome::NeedsBody(_) => {
            None
        }
    }
}

/// One user's assignment: expected, and as the proxy reported it.
pub(crate) struct Expected {
    pub(crate) visit: Visit,
    pub(crate) request: Request,
    pub(crate) answer: Answer,
    pub(crate) decision: Decision,
    pub(crate) bucket: Bucket,
    /// The bucket in the response's debug header.
    pub(crate) reported_bucket: String,
}

impl Expected {
    /// Sends one user's request through the proxy.
    pub(crate) async fn fetch(plan: &Plan, client: &Client) -> anyhow::Result<Self> {
        let visit = Visit { user: USER, source: Source::Header };
        let request = visit.request().header(plan.settings.headers.debug.as_str(), "1");
        let answer = client.send(request.clone()).await?;
        let (status, text) = (answer.status, answer.text());
        ensure!(status == 200, "the first request failed with status {status}: {text}");
        Self::compare(plan, visit, request, answer)
    }

    pub(super) fn compare(
        plan: &Plan,
        visit: Visit,
        request: Request,
        answer: Answer,
    ) -> anyhow::Result<Self> {
        let decision =
            decide_locally(plan, &request).context("no experiment matches the demo's requests")?;
        let bucket = decision.bucket.context("the demo's experiment draws no bucket")?;
        let reported = answer.header_text(&plan.settings.headers.bucket);
        let reported_bucket = reported.unwrap_or_else(|| "missing".to_owned());
        Ok(Self { visit, request, answer, decision, bucket, reported_bucket })
    }

    /// Whether the proxy reported the expected bucket.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.reported_bucket == self.bucket.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::testbed::{Variation, experiments};

    #[test]
    fn every_source_of_the_user_id_leads_to_the_same_bucket() {
        let (_, plan) = experiments(Variation::default()).unwrap();
        for (index, source) in
            [Source::Header, Source::Cookie, Source::Query].into_iter().enumerate()
        {
            let request = Visit { user: USER, source }.request();
            let decision = decide_locally(&plan, &request).unwrap();
            assert_eq!(decision.unit_source, Some(index));
            assert_eq!(decision.bucket.map(Bucket::get), Some(21_263));
        }
    }
}
