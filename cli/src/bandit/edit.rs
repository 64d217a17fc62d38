//! New weights in the text of a file, with all other text unchanged.
//!
//! Only the numbers after `weight:` change, and notes are added. The result is parsed and compared with
//! the intended weights, so a file that cannot be edited in place (anchors, merged keys) is an error.

use sidetrack::plan::{Experiment, PerVariant, Plan, VariantId};
use sidetrack::quantity::{Ppm, Timestamp};
use sidetrack::rollout::Schedule;
use sidetrack_analysis::MARK;

use crate::fault::Fault;
use crate::lines::Lines;
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
    let text = std::str::from_utf8(source.bytes())?.to_owned();
    let places = Lines::of(&text);
    let at = plan.experiments.iter().position(|other| other.name == *name).unwrap_or_default();
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let mut edits = Vec::new();
    for index in experiment.candidates() {
        let path = format!("experiments[{at}].variants[{}].weight", index.index());
        let place = places
            .key(&path)
            .ok_or_else(|| Fault(format!("{path}: the file does not set this weight directly, so it cannot be changed\n  hint: write each weight as a number")))?;
        edits.push((place.line, place.column, weights[index], path));
    }
    // From right to left, so earlier columns remain valid.
    edits.sort_by_key(|(line, column, ..)| std::cmp::Reverse((*line, *column)));
    for (line, column, weight, path) in edits {
        let line = usize::try_from(line - 1).ok().and_then(|line| lines.get_mut(line));
        let changed = line.and_then(|line| {
            *line = replaced(line, usize::try_from(column - 1).ok()?, weight)?;
            Some(())
        });
        changed.ok_or_else(|| {
            Fault(format!(
                "{path}: the number is not on the line of its key, so it cannot be changed\n  hint: write `weight: NUMBER` on one line"
            ))
        })?;
    }
    note(&mut lines, experiment, weights, now)?;
    let edited: String = lines.concat();
    verify(source, edited, plan, name, weights)
}

/// The line with another number behind the key that begins at this character.
fn replaced(line: &str, column: usize, weight: Ppm) -> Option<String> {
    let (start, _) = line.char_indices().nth(column)?;
    let colon = start + line.get(start..)?.find(':')? + 1;
    let rest = line.get(colon..)?;
    let value = colon + rest.find(|c: char| !c.is_whitespace())?;
    let rest = line.get(value..)?;
    let end = value
        + rest
            .find(|c: char| c.is_whitespace() || matches!(c, ',' | '}' | '#'))
            .unwrap_or(rest.len());
    line.get(value..end)?.parse::<f64>().ok()?;
    Some(format!("{}{weight}{}", line.get(..value)?, line.get(end..)?))
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

/// Parses the new text and compares it with the old plan and the new weights.
fn verify(
    source: &Source,
    edited: String,
    old: &Plan,
    name: &str,
    weights: &PerVariant<Ppm>,
) -> anyhow::Result<String> {
    let new = source.with(edited.clone()).good()?.plan;
    let same = old.experiments.len() == new.experiments.len()
        && old.experiments.iter().zip(&new.experiments).all(|(old, new)| {
            let kept = old.name == new.name
                && old.salt == new.salt
                && old.variants.len() == new.variants.len();
            let wanted = match (&old.schedule, &new.schedule) {
                (Schedule::Fixed(_), Schedule::Fixed(new_weights)) if old.name == name => {
                    old.candidates().all(|index| new_weights[index] == weights[index])
                }
                (old, new) => old == new,
            };
            kept && wanted
        });
    anyhow::ensure!(
        same,
        Fault(format!(
            "{name}: the weights cannot be changed in place, probably because of an anchor or a merged key\n  hint: write each weight as a number"
        ))
    );
    Ok(edited)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_number_changes() {
        let weight = Ppm::new(123_400).unwrap();
        let change = |line: &str| replaced(line, line.find("weight").unwrap(), weight);
        assert_eq!(
            change("    weight: 30   # percent\n").unwrap(),
            "    weight: 12.34   # percent\n"
        );
        let line = "- {name: ä, weight: 30, reserve: 50}";
        let column = line.chars().position(|c| c == 'w').unwrap();
        assert_eq!(
            replaced(line, column, weight).unwrap(),
            "- {name: ä, weight: 12.34, reserve: 50}"
        );
        assert_eq!(replaced("weight: *other", 0, weight), None);
        assert_eq!(replaced("weight:", 0, weight), None);
    }
}
