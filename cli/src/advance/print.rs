//! A decision in words.

use std::io::Write;

use super::Answer;
use crate::out::Out;
use crate::words::visible;
use crate::wrap;

/// Writes a decision for people.
pub(super) fn text(answer: &Answer, out: &mut Out) -> anyhow::Result<()> {
    let ink = out.ink();
    let Answer { file, experiment, candidate, from, to, .. } = answer;
    let what = headline(answer);
    let what = match answer.code {
        0 => ink.good(what),
        3 | 1 => ink.bad(what),
        _ => ink.note(what),
    };
    writeln!(out, "{what}  {experiment}: {candidate}, {}", place(answer))?;
    for reason in &answer.reasons {
        writeln!(out, "{}", wrap::wrapped("  - ", &visible(reason)))?;
    }
    if let Some(about) = &answer.about {
        writeln!(
            out,
            "{}",
            wrap::wrapped("  ", &format!("Expected about {about}, at this rate."))
        )?;
    }
    if let Some(next) = &answer.next {
        writeln!(out, "  To promote it: {next}")?;
    }
    match (&answer.commit, answer.applied) {
        (Some(commit), _) => {
            let short = commit.get(..10).unwrap_or(commit);
            writeln!(out, "{} {file} is committed as {short}: {from} % → {to} %", ink.good("✓"))?;
        }
        (None, Some(_)) if from == to => writeln!(out, "{} {file} is written", ink.good("✓"))?,
        (None, Some(_)) => {
            writeln!(out, "{} {file} is written: {from} % → {to} %", ink.good("✓"))?;
        }
        (None, None) if answer.dry_run && answer.code != 4 && answer.code != 1 => {
            let text =
                "this is a dry run, nothing was written; without --dry-run, the file changes";
            writeln!(out, "{}", wrap::note("", text, ink))?;
        }
        (None, None) => {}
    }
    Ok(())
}

/// What happens, in a few words.
fn headline(answer: &Answer) -> String {
    match answer.action {
        "raise" => format!("Raise to {} %", answer.to),
        "roll_back" => "Roll back".to_owned(),
        "promote" => "Promote".to_owned(),
        _ if !answer.valid => "Hold: the data cannot be trusted".to_owned(),
        _ => "Hold".to_owned(),
    }
}

/// Where the candidate is: `5 %, step 1 of 3`.
fn place(answer: &Answer) -> String {
    let step = answer.step.map(|step| format!(", step {step} of {}", answer.steps));
    format!("{} %{}", answer.from, step.unwrap_or_default())
}

/// `2026-11-23T09:00:00Z  Hold  forecast: fancy, 5 %, step 1 of 3: the step has 10 units, but needs 2000`.
pub(super) fn line(answer: &Answer) -> String {
    let Answer { at, experiment, candidate, .. } = answer;
    let reasons = visible(&answer.reasons.join("; "));
    let about = answer.about.as_ref().map(|about| format!(" (about {about})")).unwrap_or_default();
    let (what, place) = (headline(answer), place(answer));
    let dry = if answer.dry_run { " (dry run)" } else { "" };
    format!("{at}  {what}{dry}  {experiment}: {candidate}, {place}: {reasons}{about}")
}
