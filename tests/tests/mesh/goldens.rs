//! `tests/golden/istio/newest/` is what the command renders and what istiod makes of it.
//!
//! `make golden-istio` writes it again; review the diff.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Mutex;
use std::{fs, thread};

use sidetrack_tests::artifact;
use sidetrack_tests::istio::{Command, Release, commands};

/// The program of `tests/mesh/istiod/`.
pub(crate) fn istiod() -> std::process::Command {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/mesh/bin/sidetrack-istiod");
    assert!(program.exists(), "{} is missing: run scripts/setup.sh mesh", program.display());
    let mut command = std::process::Command::new(program);
    // istiod's switches; those of the caller must not change its answers.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PILOT_") {
            command.env_remove(name);
        }
    }
    command
}

#[test]
fn goldens_are_current() {
    let golden = Release::Newest.folder();
    let cases = Release::Newest.cases().unwrap();
    assert!(cases.len() > 15, "{cases:?}");
    if std::env::var_os("UPDATE").is_some() {
        for case in &cases {
            for file in files(&golden.join(case)).filter(|file| is_json(file)) {
                fs::remove_file(file).unwrap();
            }
        }
        run(&cases, &golden);
        return;
    }
    let copy = tempfile::Builder::new().prefix("sidetrack-golden-").tempdir().unwrap();
    for case in &cases {
        fs::create_dir(copy.path().join(case)).unwrap();
        for file in files(&golden.join(case)).filter(|file| !is_json(file)) {
            fs::copy(&file, copy.path().join(case).join(file.file_name().unwrap())).unwrap();
        }
    }
    run(&cases, copy.path());
    let mut stale = Vec::new();
    for case in &cases {
        let names = |folder: &Path| {
            let mut names: Vec<_> =
                files(&folder.join(case)).filter_map(|f| Some(f.file_name()?.to_owned())).collect();
            names.sort();
            names
        };
        assert_eq!(names(&golden), names(copy.path()), "{case}");
        for name in names(&golden) {
            let [old, new] = [golden.as_path(), copy.path()]
                .map(|folder| fs::read_to_string(folder.join(case).join(&name)).unwrap());
            let difference = old.lines().zip(new.lines()).find(|(old, new)| old != new);
            if old != new {
                stale.push(format!("{case}/{}: {difference:?}", name.display()));
            }
        }
    }
    assert!(stale.is_empty(), "make golden-istio writes these again:\n{}", stale.join("\n"));
}

fn files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_file())
}

fn is_json(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "json")
}

/// Runs the commands of all cases in a folder, two cases at a time. The inputs of all come first.
fn run(cases: &[String], folder: &Path) {
    for command in commands(Release::Newest, "given").unwrap() {
        execute(&command, folder);
    }
    let waiting = Mutex::new(cases.iter().filter(|case| *case != "given"));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(case) = waiting.lock().unwrap().next() else { return };
                    for command in commands(Release::Newest, case).unwrap() {
                        execute(&command, folder);
                    }
                }
            });
        }
    });
}

fn execute(command: &Command, folder: &Path) {
    let mut process = match command.program.as_str() {
        "sidetrack" => std::process::Command::new(artifact::cli()),
        "sidetrack-istiod" => istiod(),
        other => panic!("unknown program {other}"),
    };
    let run: Output = process.args(&command.arguments).current_dir(folder).output().unwrap();
    // `check` exits with 1 if it refuses an object. The verdict is in its output.
    let refused = command.arguments[0] == "check" && run.status.code() == Some(1);
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() || refused, "{command:?}\n{errors}");
    if let Some(output) = &command.output {
        fs::write(folder.join(output), run.stdout).unwrap();
    }
}
