//! The chart in `deploy/helm/`: what the command in its README writes. `tests/tests/mesh/helm.rs` runs it.

use std::path::Path;
use std::process::Command;

use sidetrack_tests::artifact;

#[test]
fn the_chart_is_what_the_command_in_the_readme_writes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let readme = std::fs::read_to_string(root.join("deploy/helm/README.md")).unwrap();
    let command = readme.lines().find(|line| line.starts_with("sidetrack render helm ")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let chart = root.join("deploy/helm/sidetrack");
    let update = std::env::var_os("UPDATE").is_some();
    let out = if update { chart.clone() } else { folder.path().join("chart") };
    let mut words: Vec<&str> = command.split_whitespace().skip(1).collect();
    let place = words.iter().position(|word| *word == "deploy/helm/sidetrack").unwrap();
    words[place] = out.to_str().unwrap();
    words.push("--force");
    let run = Command::new(artifact::cli()).args(&words).current_dir(root).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let files = String::from_utf8(run.stdout).unwrap();
    assert_eq!(files.lines().count(), 8, "{files}");
    for written in files.lines().map(Path::new) {
        let kept = chart.join(written.strip_prefix(&out).unwrap());
        let (kept_text, text) =
            (std::fs::read_to_string(&kept).unwrap(), std::fs::read_to_string(written).unwrap());
        assert!(kept_text == text, "{}: UPDATE=1 writes it anew\n{text}", kept.display());
    }
}
