//! The commands of `README.md`, run as written, with the output that it shows.
//!
//! In a `console` block, lines that begin with `$ ` are commands and the others are their output; a
//! last line `…` matches any further lines, and `…` within a line matches any text. `sh` blocks are
//! run as a whole. `UPDATE=1` rewrites the output in the README.
//!
//! The section of the first test runs in an empty folder, with the ports that are free.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]

#[path = "readme/first_test.rs"]
mod first_test;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use sidetrack_lab::{Envoy, EnvoyBinary, EnvoyOptions, ModelStub};
use sidetrack_tests::artifact;
use tokio::process::Command;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(60);

/// The last line of output that is not shown whole.
const MORE: &str = "…";

/// What a fresh clone has and this folder does not: `make`, with the targets of the Makefile, and a
/// cluster.
const PROLOGUE: &str = r#"
set -euo pipefail
make() { for target in "$@"; do grep -q "^$target:" Makefile || { echo "no target $target"; return 2; }; done; }
kubectl() { [ "$1 $2" = "apply -f" ] && grep -q '^kind: VirtualService' "$3"; }
"#;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A part of the page.
#[derive(Debug, PartialEq)]
enum Part {
    /// Lines that are not commands, with the fences.
    Text(String),
    /// A block of shell commands.
    Script(String),
    /// A command and its output, from a `console` block.
    Command { command: String, output: Vec<String> },
}

fn parts(page: &str) -> Vec<Part> {
    let mut parts = vec![Part::Text(String::new())];
    let mut block = None;
    for line in page.lines() {
        let text = format!("{line}\n");
        match (block, line.strip_prefix("```"), parts.last_mut().unwrap()) {
            (None, Some(language), Part::Text(before)) => {
                before.push_str(&text);
                block = Some(language);
                match language {
                    "sh" => parts.push(Part::Script(String::new())),
                    "console" | "yaml" => {}
                    other => panic!("a block of an unknown language: {other}"),
                }
            }
            (Some(_), Some(_), _) => {
                block = None;
                parts.push(Part::Text(text));
            }
            (Some("console"), None, last) => match (line.strip_prefix("$ "), last) {
                (Some(command), _) => {
                    parts.push(Part::Command { command: command.to_owned(), output: Vec::new() });
                }
                (None, Part::Command { output, .. }) => output.push(line.to_owned()),
                (None, other) => panic!("output without a command: {line}, after {other:?}"),
            },
            (_, _, Part::Text(before) | Part::Script(before)) => before.push_str(&text),
            (_, _, _) => parts.push(Part::Text(text)),
        }
    }
    parts
}

/// The output as the README should show it: as many lines as it shows now, if it leaves some out.
fn shown(expected: &[String], output: &str) -> Vec<String> {
    let mut lines: Vec<String> = output.lines().map(str::to_owned).collect();
    if let [before @ .., last] = expected
        && last == MORE
        && !before.is_empty()
    {
        lines.truncate(before.len());
        lines.push(MORE.to_owned());
    }
    for (line, expected) in lines.iter_mut().zip(expected) {
        if let Some((before, after)) = expected.split_once(MORE)
            && line.starts_with(before)
            && line.ends_with(after)
        {
            line.clone_from(expected);
        }
    }
    lines
}

fn page(parts: &[Part]) -> String {
    let mut page = String::new();
    for part in parts {
        match part {
            Part::Text(text) | Part::Script(text) => page.push_str(text),
            Part::Command { command, output } => {
                writeln!(page, "$ {command}").unwrap();
                output.iter().for_each(|line| writeln!(page, "{line}").unwrap());
            }
        }
    }
    page
}

#[test]
fn a_page_survives_its_parts() {
    let text = "a\n```console\n$ x\n1\n…\n$ y\n```\nb\n```sh\nmake z\n```\n";
    assert_eq!(page(&parts(text)), text);
    assert_eq!(parts(text).len(), 6);
    let lines = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>();
    assert_eq!(shown(&lines(&["old", "…"]), "new\nrest"), lines(&["new", "…"]));
    assert_eq!(shown(&lines(&["old"]), "new\nrest"), lines(&["new", "rest"]));
    assert_eq!(shown(&lines(&["at …", "b"]), "at 5\nc"), lines(&["at …", "c"]));
    assert_eq!(shown(&lines(&["at …"]), "to 5"), lines(&["to 5"]));
}

/// A log of two variants without a difference, and its outcomes.
fn write_data(folder: &Path) {
    let mut log = String::new();
    let mut outcomes = String::from("unit,correct\n");
    for user in 0..2000 {
        let variant = if user % 10 < 3 { "enhanced-predictor" } else { "baseline-predictor" };
        writeln!(
            log,
            "{{\"time\": \"2026-11-23T09:00:00.000Z\", \"unit\": \"u{user}\", \"experiment\": \"financial-ab-test\", \
             \"assigned\": \"{variant}\", \"served\": \"{variant}\", \"reason\": \"hash\", \"status\": 200, \
             \"duration\": 12}}"
        )
        .unwrap();
        writeln!(outcomes, "u{user},{}", u32::from(user % 7 > 0)).unwrap();
    }
    fs::write(folder.join("access.log"), log).unwrap();
    fs::write(folder.join("outcomes.csv"), outcomes).unwrap();
    fs::copy(root().join("envoy/experiment.yaml"), folder.join("experiment.yaml")).unwrap();
}

/// Runs commands in bash; the output is that of both streams, in order.
async fn run(folder: &Path, commands: &str) -> (bool, String) {
    let mut shell = Command::new("bash");
    shell.current_dir(folder).args(["-c", &format!("exec 2>&1\n{PROLOGUE}{commands}")]);
    shell.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(DEADLINE, shell.output()).await.expect("the commands end").unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Envoy with the quick start's configuration, as the demo starts it.
async fn envoy(folder: &Path, models: &[ModelStub; 2]) -> Envoy {
    let [baseline, enhanced] = models.each_ref().map(ModelStub::addr);
    let (ok, bootstrap) = run(
        folder,
        &format!(
            "dist/sidetrack render envoy envoy/experiment.yaml --wasm {} --listen 127.0.0.1:0 \
             --admin 127.0.0.1:0 --endpoint baseline-predictor={baseline} \
             --endpoint enhanced-predictor={enhanced} --access-log /dev/null",
            artifact::wasm().display()
        ),
    )
    .await;
    assert!(ok, "{bootstrap}");
    Envoy::start(EnvoyOptions::new(EnvoyBinary::find().unwrap(), bootstrap)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_works_and_prints_what_the_readme_shows() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    fs::create_dir(here.join("dist")).unwrap();
    let link = |from: &Path, to: &str| std::os::unix::fs::symlink(from, here.join(to)).unwrap();
    link(artifact::cli(), "dist/sidetrack");
    for name in ["Makefile", "envoy", "examples", "istio"] {
        link(&root().join(name), name);
    }
    write_data(here);
    let models =
        [ModelStub::start("baseline").await.unwrap(), ModelStub::start("enhanced").await.unwrap()];
    let envoy = envoy(here, &models).await;
    let port = envoy.listener_port("predictors").await.unwrap();

    let mut commands = 0;
    check_page(
        async |part| {
            commands += 1;
            match part {
                Part::Text(_) => {}
                Part::Script(script) => {
                    let (ok, output) = run(here, script).await;
                    assert!(ok, "{script}{output}");
                }
                Part::Command { command, output } => {
                    let run_as = command.replace("127.0.0.1:10000", &format!("127.0.0.1:{port}"));
                    let (_, printed) = run(here, &run_as).await;
                    *output = shown(output, &printed.replace('\r', ""));
                    assert!(!output.is_empty(), "no output: {command}");
                }
            }
        },
        false,
    )
    .await;
    assert!(commands > 9, "{commands} commands");
}

/// Runs the commands of the page, those of the first test or all others, and compares their output.
async fn check_page(mut run: impl AsyncFnMut(&mut Part), of_first_test: bool) {
    let path = root().join("README.md");
    let text = fs::read_to_string(&path).unwrap();
    let mut parts = parts(&text);
    let mut in_first_test = false;
    for part in &mut parts {
        if let Part::Text(text) = part {
            let mut headings = text.lines().filter(|line| line.starts_with("## "));
            if let Some(heading) = headings.next_back() {
                in_first_test = heading == first_test::HEADING;
            }
        } else if in_first_test == of_first_test {
            run(part).await;
        }
    }
    let expected = page(&parts);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, expected).unwrap();
    } else {
        assert!(
            text == expected,
            "README.md shows another output; UPDATE=1 rewrites it. The commands print:\n{expected}"
        );
    }
}
