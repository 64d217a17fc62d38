//! The begin of a test: the oldest tagged version against the champion, as a committed file.

use crate::fault::Fault;
use crate::git::Repository;
use crate::load::Source;
use crate::mlflow::names;
use crate::mlflow::plan::checked;
use crate::mlflow::registry::{Registry, Version};
use crate::template::quote;
use crate::words::visible;

use super::report::{Act, Report};
use super::{Args, round::BY};

/// Begins the next test, if a version is tagged. `was` is the file so far.
pub(super) fn begin(
    args: &Args,
    repository: &Repository,
    registry: &Registry<'_>,
    champion: Version,
    was: Option<&[u8]>,
) -> anyhow::Result<Report> {
    let mut candidates = registry.candidates()?;
    candidates.retain(|candidate| candidate.version != champion.version);
    let (ready, pending): (Vec<_>, Vec<_>) = candidates.into_iter().partition(Version::is_ready);
    let Some(candidate) = ready.into_iter().next() else {
        let waits = pending.iter().map(|it| format!("version {} is not READY yet", it.version));
        return Ok(Report::new(&args.model, Act::Idle, waits.collect()));
    };
    let (baseline, version) = (champion.version.clone(), candidate.version.clone());
    let trial = args.choices.trial(registry, champion, vec![candidate])?;
    let first = trial.salt().to_owned();
    let mut salt = first.clone();
    let mut number = 1_u32;
    // A test of the same versions is a new trial when it is repeated.
    while repository.ever_had(&quote(&salt))? {
        number = number.saturating_add(1);
        salt = format!("{first}/{number}");
    }
    let text = trial.salted(salt).text()?;
    checked(&text)?;
    let source = Source::of_text("the generated file".to_owned(), text.clone());
    let loaded = source.good()?;
    let steps = loaded.analyses.first().and_then(Option::as_ref).map(|plan| plan.steps.as_slice());
    let Some(step) = steps.and_then(<[_]>::first) else {
        let text = "the template has no analysis.steps, through which a candidate is raised\n  \
                    hint: use --template FILE with a key such as analysis: {metrics: [accuracy], steps: [{weight: 5, \
                    min_for: 1d}, {weight: 30, min_for: 7d}]}";
        return Err(Fault(text.to_owned()).into());
    };
    let weight = crate::advance::percents(step.weight);
    let reason = format!("version {version} has the tag {}", crate::mlflow::CANDIDATE);
    let mut report =
        Report::new(&args.model, Act::Begin, vec![reason.clone()]).of(&baseline, &version);
    report.to = Some(weight);
    if args.dry_run {
        return Ok(report);
    }
    let name = loaded.plan.experiments.iter().next().map(|it| visible(&it.name));
    let message = format!(
        "{}: test {} against {}\n\n- {reason}\n- it begins at {weight} %\n",
        name.unwrap_or_default(),
        names::variant(&args.model, &version),
        names::variant(&args.model, &baseline),
    );
    report.commit = Some(repository.commit(was, &text, &message, BY)?);
    if args.push {
        repository.push()?;
    }
    Ok(report)
}
