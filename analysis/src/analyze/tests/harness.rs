//! Analyses of texts, each of which is also made from the table of its summary, and once more without memory for units.

use super::*;

/// How far each pass over the log got.
pub(super) type Progress = Vec<(Pass, u64)>;

/// The analysis of a file, a log and outcomes, or the reason for its failure.
pub(super) fn analyzed(
    file: &str,
    log: &[u8],
    outcomes: Option<&str>,
    settings: &Settings,
) -> Result<(Analysis, Progress), String> {
    let segments: Vec<&str> = settings.segments.iter().map(|it| it.name.as_str()).collect();
    let wanted = Wanted { segments: &segments, ..Wanted::default() };
    analyzed_with(file, log, outcomes, wanted, settings)
}

/// The same, with what is wanted of the outcomes.
pub(super) fn analyzed_with(
    file: &str,
    log: &[u8],
    outcomes: Option<&str>,
    wanted: Wanted<'_>,
    settings: &Settings,
) -> Result<(Analysis, Progress), String> {
    let written = |content: &[u8]| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        file
    };
    let log = written(log);
    let plan = sidetrack::config::parse_json(file.as_bytes()).unwrap();
    let experiment = plan.experiments.into_iter().next().unwrap();
    let read =
        |text: &str| Outcomes::read_with(written(text.as_bytes()).path(), &experiment, wanted);
    let outcomes = outcomes.map(read).transpose().map_err(|error| error.to_string())?;
    let input = Input {
        experiment: &experiment,
        strata: &Strata::new(&experiment, "").unwrap(),
        config_hash: "",
        logs: &Logs::new(&[log.path().to_owned()]).unwrap(),
        outcomes: outcomes.as_ref(),
    };
    let passes = std::sync::Mutex::new(Progress::new());
    let progress = |pass, lines| {
        let mut passes = passes.lock().unwrap();
        passes.retain(|(other, _)| *other != pass);
        passes.push((pass, lines));
    };
    let found = analyze(input, settings, &progress).map_err(|error| error.to_string())?;
    let passes = passes.into_inner().unwrap();
    table::from_a_table(input, settings, &found);
    for (memory, threads) in [(0, 1), (1 << 20, 3)] {
        let spill = Some(Spill::new(memory, "", tempfile::tempfile));
        let threads = NonZero::new(threads).unwrap();
        let spilled = Settings { spill, threads, ..settings.clone() };
        let spilled = analyze(input, &spilled, &|_, _| ()).unwrap();
        let text = |found: &(Analysis, Series)| {
            [serde_json::to_string(&found.0).unwrap(), format!("{:?}", found.1)]
        };
        assert_eq!(text(&spilled), text(&found), "with {memory} bytes for units");
    }
    Ok((found.0, passes))
}
