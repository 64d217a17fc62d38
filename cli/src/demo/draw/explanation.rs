//! One user's assignment: the bucket, the variant that holds it, and the live response.

use sidetrack::rollout::InForce;

use crate::bars;
use crate::demo::observe::Snapshot;
use crate::moment;
use crate::out::Ink;
use crate::words::variant;

pub(super) fn lines(snapshot: &Snapshot<'_>, ink: Ink) -> Vec<String> {
    let (experiment, expected) = (snapshot.experiment, snapshot.expected);
    let InForce::Weights(weights, _) = experiment.schedule.at(moment::now()) else {
        return Vec::new();
    };
    let (user, bucket) = (expected.visit.user, expected.bucket);
    let served = variant(experiment, expected.decision.served);
    let span = experiment.layout.span_of(bucket).map(|(span, _)| span);
    let holder = match span.filter(|span| span.variant == expected.decision.assigned) {
        Some(span) => {
            let share = snapshot.targets.get(span.variant.index()).copied().unwrap_or_default();
            let last = span.start.saturating_add(share.get()).saturating_sub(1);
            format!("{served} holds {} to {last}", span.start)
        }
        None => "no candidate holds it".to_owned(),
    };
    let mut lines = vec![
        ink.bold(format!("Why does user {user} get {served}?")).to_string(),
        format!("Salt and user ID hash to bucket {bucket}; {holder}."),
    ];
    lines.extend(bars::ruler(experiment, weights, bucket, ink));
    let header = &snapshot.plan.settings.headers.bucket;
    let model = expected.answer.header_text("x-model").unwrap_or_default();
    let reported = &expected.reported_bucket;
    lines.push(if expected.is_confirmed() {
        format!("{} Envoy agrees: {header}: {reported}, served by model {model}", ink.good("✓"))
    } else {
        format!("{} Envoy disagrees: {header} is {reported}, not {bucket}", ink.bad("✗"))
    });
    lines
}
