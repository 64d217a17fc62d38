//! Units that do not fit into memory. That results are the same is checked of every analysis of these tests, by the harness.

use std::path::Path;

use super::*;

fn spilled(memory: u64, folder: &Path) -> Result<Analysis, String> {
    let log: String = (0..400).map(|unit| line(unit, unit, &ok(100))).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), log).unwrap();
    let plan = sidetrack::config::parse_json(FILE.as_bytes()).unwrap();
    let experiment = plan.experiments.into_iter().next().unwrap();
    let input = Input {
        experiment: &experiment,
        strata: &Strata::new(&experiment, "").unwrap(),
        config_hash: "",
        logs: &Logs::new(&[file.path().to_owned()]).unwrap(),
        outcomes: None,
    };
    let make = {
        let folder = folder.to_owned();
        move || tempfile::tempfile_in(&folder)
    };
    let spill = Some(Spill::new(memory, folder.display().to_string(), make));
    let threads = NonZero::new(2).unwrap();
    let found = analyze(input, &Settings { spill, threads, ..settings() }, &|_, _| ());
    found.map(|found| found.0).map_err(|error| {
        let source = std::error::Error::source(&error).unwrap();
        format!("{error}: {source}")
    })
}

#[test]
fn a_folder_for_temporary_files_must_be_usable_once_it_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let error = spilled(1, &missing).unwrap_err();
    let wanted = format!(
        "the units do not fit into --memory, and temporary files in {} cannot be used: the folder \
         does not exist",
        missing.display()
    );
    assert_eq!(error, wanted);
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = spilled(1, &file).unwrap_err();
    assert!(error.ends_with("cannot be used: a part of its path is not a directory"), "{error}");
    // Units that fit into memory need no folder.
    let found = spilled(1 << 30, &missing).unwrap();
    assert_eq!(found.variants.iter().map(|variant| variant.units).sum::<u64>(), 400);
}
