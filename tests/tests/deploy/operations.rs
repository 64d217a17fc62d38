//! The commands of `docs/operations.md`: every block that is not marked `cluster` runs, in the
//! order of the page, in one shell.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may stop")]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use sidetrack_lab::{EnvoyBinary, ModelStub};
use sidetrack_tests::{artifact, prometheus};
use tokio::process::Command;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(180);

/// Before the first command: errors end the run, and what was started in the background ends with
/// it. `make` has been done.
const PROLOGUE: &str = r#"
set -euo pipefail
trap 'for job in $(jobs -p); do kill "$job" 2>/dev/null || true; done; wait' EXIT
make() { [ "$*" = "wasm cli" ] && [ -x dist/sidetrack ] && [ -f dist/sidetrack.wasm ]; }
"#;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn page() -> String {
    fs::read_to_string(root().join("docs/operations.md")).unwrap()
}

/// The blocks of shell commands, with what their first line says beside `sh`.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut blocks: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match line.trim_start().strip_prefix("```") {
            Some(_) if inside => inside = false,
            Some(language) => {
                inside = true;
                blocks.push((language.to_owned(), String::new()));
            }
            None if inside => {
                let text = &mut blocks.last_mut().unwrap().1;
                text.push_str(line);
                text.push('\n');
            }
            None => {}
        }
    }
    blocks
}

#[test]
fn every_block_is_run_or_says_why_not() {
    let page = page();
    let blocks = blocks(&page);
    assert!(blocks.len() > 12);
    for (language, text) in blocks {
        assert!(["sh", "sh cluster"].contains(&language.as_str()), "```{language}: {text}");
        assert_eq!(language == "sh cluster", text.contains("kubectl"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_of_the_handbook_works() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    fs::create_dir(here.join("dist")).unwrap();
    let link = |from: &Path, to: &str| std::os::unix::fs::symlink(from, here.join(to)).unwrap();
    link(artifact::cli(), "dist/sidetrack");
    link(artifact::wasm(), "dist/sidetrack.wasm");
    for folder in ["envoy", "deploy", "istio"] {
        link(&root().join(folder), folder);
    }
    fs::create_dir(here.join("bin")).unwrap();
    link(&EnvoyBinary::find().unwrap(), "bin/envoy");
    for name in ["prometheus", "promtool"] {
        link(&prometheus::program(name).unwrap(), &format!("bin/{name}"));
    }

    let stubs =
        [ModelStub::start("baseline").await.unwrap(), ModelStub::start("enhanced").await.unwrap()];
    let mut script = PROLOGUE.to_owned();
    for (number, (language, text)) in blocks(&page()).iter().enumerate() {
        if language == "sh" {
            script.push_str(&format!("echo '--- block {number}'\n{text}"));
        }
    }
    // Free ports for those of the page. Envoy and Prometheus take theirs soon after.
    let free = || TcpListener::bind("127.0.0.1:0").unwrap();
    let held = [free(), free(), free()];
    let ports = held.each_ref().map(|listener| listener.local_addr().unwrap().port());
    drop(held);
    let models = stubs.each_ref().map(|stub| stub.addr().port());
    for (written, port) in [
        (":9001", models[0]),
        (":9002", models[1]),
        (":10000", ports[0]),
        (":9901", ports[1]),
        (":9090", ports[2]),
    ] {
        script = script.replace(written, &format!(":{port}"));
    }
    let [listen, admin, _] = ports;
    script = script.replace(
        "--watch live/filter.yaml \\\n",
        &format!(
            "--watch live/filter.yaml --listen 127.0.0.1:{listen} --admin 127.0.0.1:{admin} \\\n"
        ),
    );
    script = script.replace(
        "live/prometheus.yaml\nprometheus ",
        &format!(
            "live/prometheus.yaml\nsed -i s/:9901/:{admin}/ live/prometheus.yaml\nprometheus "
        ),
    );
    assert!(
        script.matches("--listen").count() == 1 && script.matches("sed -i").count() == 1,
        "{script}"
    );

    let path = std::env::var("PATH").unwrap();
    let mut shell = Command::new("bash");
    shell
        .current_dir(here)
        .env("PATH", format!("{}:{path}", here.join("bin").display()))
        .args(["-c", &script]);
    shell.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(DEADLINE, shell.output()).await.expect("the commands end").unwrap();
    let log = |name: &str| fs::read_to_string(here.join("live").join(name)).unwrap_or_default();
    assert!(
        output.status.success(),
        "--- stdout\n{}\n--- stderr\n{}\n--- Envoy\n{}\n--- Prometheus\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        log("envoy.log"),
        log("prometheus.log"),
    );
}
