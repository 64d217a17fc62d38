//! New weights in the text of a file, with all other text unchanged.
//!
//! Only the numbers after `weight:` change, and notes are added as comments.

use sidetrack::config::Node;
use sidetrack::plan::{Experiment, PerVariant, Plan, VariantId};
use sidetrack::quantity::{Ppm, Timestamp};
use sidetrack::rollout::Schedule;
use sidetrack_analysis::MARK;

use crate::edit::Draft;
use crate::fault::Fault;
use crate::load::Source;
use crate::words::variant;

/// How far a candidate can grow without moving units of other variants; `None` without a reserve.
pub(super) fn reserve(experiment: &Experiment, candidate: VariantId) -> Option<Ppm> {
    let Schedule::Fixed(weights) = &experiment.schedule else { return None };
    let span = experiment.layout.spans().iter().find(|span| span.variant == candidate)?;
    (span.width > weights[candidate]).then_some(span.width)
}

/// The file with these weights of the candidates.
pub(super) fn edited(
    source: &Source,
    plan: &Plan,
    experiment: &Experiment,
    weights: &PerVariant<Ppm>,
    now: Timestamp,
) -> anyhow::Result<String> {
    let name = &experiment.name;
    if source.is_json() {
        return Err(Fault(format!(
            "{name}: the file is JSON, which has no comments for the notes that later analyses need\n  hint: convert the file to YAML"
        ))
        .into());
    }
    let at = plan.experiments.iter().position(|other| other.name == *name).unwrap_or_default();
    let mut draft = Draft::new(source, &source.good()?)?;
    for index in experiment.candidates() {
        let path = format!("experiments[{at}].variants[{}]", index.index());
        draft.set(&path, "weight", &Node::Number(weights[index].to_string()), "name");
    }
    let edited = draft.finish()?;
    let mut lines: Vec<String> = edited.text.split_inclusive('\n').map(str::to_owned).collect();
    note(&mut lines, experiment, weights, now)?;
    Ok(lines.concat())
}

/// Adds the note of this step, and for the first step a note of the weights before.
fn note(
    lines: &mut Vec<String>,
    experiment: &Experiment,
    weights: &PerVariant<Ppm>,
    now: Timestamp,
) -> anyhow::Result<()> {
    let own = format!("{MARK} {} ", experiment.name);
    let note = |from: &str, weights: &PerVariant<Ppm>| {
        let parts: Vec<String> = experiment
            .candidates()
            .map(|id| format!("{}={}", variant(experiment, id), weights[id]))
            .collect();
        format!("{own}from {from} {}\n", parts.join(" "))
    };
    let last = lines.iter().rposition(|line| line.trim_start().starts_with(&own));
    let (at, mut notes) = match last {
        Some(last) => (last + 1, String::new()),
        None => {
            let Schedule::Fixed(before) = &experiment.schedule else { return Ok(()) };
            // After a comment that editors require at the top.
            let top =
                lines.iter().take_while(|line| line.starts_with("# yaml-language-server")).count();
            (top, note("the-start", before))
        }
    };
    if let Some(last) = last.and_then(|last| lines.get(last)) {
        let before = last
            .split_whitespace()
            .skip_while(|word| *word != "from")
            .nth(1)
            .and_then(Timestamp::parse);
        anyhow::ensure!(
            before.is_none_or(|before| before < now),
            Fault(format!(
                "--at is {now}, but must be later than the last step, {}",
                before.unwrap_or_default()
            ))
        );
    }
    notes += &note(&now.to_string(), weights);
    lines.insert(at, notes);
    Ok(())
}
