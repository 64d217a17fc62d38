//! The output of `sidetrack render argocd`: an overlay per phase, and a gate that accepts only
//! valid changes.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on may stop")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use sidetrack_tests::artifact;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn python(script: &str) -> Command {
    let python = root().join(".tools/py/bin/python");
    assert!(python.exists(), "{} is missing: run make setup", python.display());
    let mut command = Command::new(python);
    command.arg("-B").arg(root().join("tests/istio").join(script));
    command
}

fn said(run: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr))
}

/// The words of a text, one space between them.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn good(run: Output) -> String {
    assert!(run.status.success(), "{}", said(&run));
    String::from_utf8(run.stdout).unwrap()
}

/// Two candidates and a rollout.
fn experiment() -> Value {
    json!({"experiments": [{
        "name": "forecast",
        "salt": "one",
        "unit": [{"header": "x-user-id"}],
        "baseline": "stable",
        "variants": [{"name": "stable"}, {"name": "next", "reserve": 40}, {"name": "other"}],
        "rollout": {
            "start": "2026-01-05T09:00:00Z",
            "phases": [
                {"name": "canary", "for": "1h", "weights": {"next": 5}},
                {"name": "wide", "weights": {"next": 20.5, "other": 30}},
            ],
        },
    }]})
}

/// A folder with the experiment file and the tree `ab`.
struct Lab {
    folder: tempfile::TempDir,
}

impl Lab {
    fn new(experiment: &Value, options: &[&str]) -> Self {
        let lab = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(lab.path("experiment.json"), experiment.to_string()).unwrap();
        good(lab.render(options));
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn render(&self, options: &[&str]) -> Output {
        let arguments =
            ["render", "argocd", "experiment.json", "--out", "ab", "--host", "a.example.com"];
        Command::new(artifact::cli())
            .args(arguments)
            .args(options)
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }

    /// Copies the tree to `name`.
    fn copy(&self, name: &str) {
        good(
            Command::new("cp")
                .arg("-r")
                .arg(self.path("ab"))
                .arg(self.path(name))
                .output()
                .unwrap(),
        );
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.path(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no {from}:\n{text}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    fn build(&self, overlay: &str) -> PathBuf {
        let file = self.path(&format!("{overlay}.yaml"));
        let built = good(
            python("kustomize.py").arg(self.path("ab/overlays").join(overlay)).output().unwrap(),
        );
        fs::write(&file, built).unwrap();
        file
    }

    /// The gate, from `before` to `ab`.
    fn gate(&self, before: &str) -> Output {
        let command = artifact::cli().parent().unwrap();
        let path = format!("{}:{}", command.display(), std::env::var("PATH").unwrap());
        let python = root().join(".tools/py/bin/python");
        let kustomize = format!(
            "{} -B {}",
            python.display(),
            root().join("tests/istio/kustomize.py").display()
        );
        Command::new(self.path("ab/ci/gate.sh"))
            .arg(self.path(before))
            .arg(self.path("ab"))
            .env("PATH", path)
            .env("KUSTOMIZE", kustomize)
            .output()
            .unwrap()
    }
}

fn assignments(file: &Path, at: &str) -> String {
    let units = (0..2_000).map(|n| format!("user-{n}\n")).collect::<String>();
    let list = file.with_extension("units");
    fs::write(&list, units).unwrap();
    let mut command = Command::new(artifact::cli());
    command.arg("assign").arg(file).args(["--at", at]).stdin(fs::File::open(list).unwrap());
    good(command.output().unwrap())
}

#[test]
fn each_overlay_is_its_phase_and_off_is_the_baseline() {
    let lab = Lab::new(&experiment(), &[]);
    let now = "2027-01-01T00:00:00Z";
    for (overlay, at) in [("canary", "2026-01-05T09:30:00Z"), ("wide", "2026-01-05T10:30:00Z")] {
        let by_clock = assignments(&lab.path("experiment.json"), at);
        assert_eq!(assignments(&lab.build(overlay), now), by_clock, "{overlay}");
    }
    let off = assignments(&lab.build("off"), now);
    assert_eq!(off.lines().skip(1).filter(|line| !line.contains(",stable,")).count(), 0, "{off}");
}

/// The Application, by our own account of Argo CD. `make test-mesh` passes the rest to Istio.
#[test]
fn argo_cd_accepts_the_application() {
    let lab = Lab::new(&experiment(), &[]);
    let broken = [
        ("source:", "sources:", "'sources' was unexpected"),
        ("selfHeal: true", "selfHeal: maybe", "$.spec.syncPolicy.automated.selfHeal: "),
        ("/v1alpha1", "/v1", "$.apiVersion: "),
        ("path: ab", "path: /ab", "$.spec.source.path: "),
    ];
    let check = |file: &str| {
        let schema = root().join("tests/istio/application.schema.json");
        python("../golden/schema.py").arg(schema).arg(lab.path(file)).output().unwrap()
    };
    good(check("ab/application.yaml"));
    for (from, to, complaint) in broken {
        fs::copy(lab.path("ab/application.yaml"), lab.path("broken.yaml")).unwrap();
        lab.edit("broken.yaml", from, to);
        let run = check("broken.yaml");
        assert_eq!(run.status.code(), Some(1), "{}", said(&run));
        assert!(said(&run).contains(complaint), "{to}: {}", said(&run));
    }
}

#[test]
fn phases_of_the_command_line_replace_those_of_the_file() {
    let lab =
        Lab::new(&experiment(), &["--phase", "first=next:1,other:2", "--phase", "second=other:50"]);
    let mut names: Vec<_> = fs::read_dir(lab.path("ab/overlays"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["first", "off", "second"]);
    let checked =
        good(Command::new(artifact::cli()).arg("check").arg(lab.build("second")).output().unwrap());
    assert!(checked.contains("50 %"), "{checked}");

    let refused = |options: &[&str], words: &str| {
        let run = lab.render(options);
        assert!(!run.status.success());
        assert!(said(&run).contains(words), "{options:?} does not say {words}: {}", said(&run));
    };
    refused(&["--phase", "x=5"], "x=VARIANT:PERCENT");
    refused(&["--phase", "x=nobody:5"], "expected one of: next, other");
    refused(&["--phase", "x=next:70,other:50"], "spans of 120 percent together");
    refused(&["--phase", "../x=next:5"], "begin with a letter or digit");
    refused(&["--phase", "x/../y=next:5"], "x/../y");
    refused(&["--path", "a b"], "relative to the root of the repository");
    refused(&["--phase", "off=next:5"], "becomes the name of a folder");
    refused(&["--phase", "x=next:many"], "not a percentage from 0 to 100");
    refused(&["--phase", "x=next:nan"], "not a percentage from 0 to 100");
    refused(&["--phase", "x=next:1", "--phase", "x=next:2"], "x is given twice");
}

#[test]
fn the_gate_lets_good_changes_pass_and_tells_who_moves() {
    let lab = Lab::new(&experiment(), &[]);
    lab.copy("before");
    lab.edit("ab/application.yaml", "path: ab/overlays/off", "path: ab/overlays/canary");
    let told = good(lab.gate("before"));
    assert!(told.contains("deployed: overlays/off, now overlays/canary"), "{told}");
    assert!(words(&told).contains("stable → next 5 %"), "{told}");

    fs::remove_dir_all(lab.path("before")).unwrap();
    lab.copy("before");
    lab.edit("ab/overlays/canary/kustomization.yaml", "next: 5", "next: 7.5");
    let told = good(lab.gate("before"));
    assert!(words(&told).contains("stable → next 2.5 %"), "{told}");

    let told = good(lab.gate("nothing-there"));
    assert!(told.contains("nothing was deployed before"), "{told}");
}

#[test]
fn the_gate_stops_mistakes_and_swaps() {
    let change = |file: &str, from: &str, to: &str, words: &str| {
        let lab = Lab::new(&experiment(), &[]);
        lab.edit("ab/application.yaml", "path: ab/overlays/off", "path: ab/overlays/wide");
        lab.copy("before");
        lab.edit(file, from, to);
        let run = lab.gate("before");
        assert_eq!(run.status.code(), Some(1), "{file}, {to}: {}", said(&run));
        assert!(said(&run).contains(words), "{file}, {to} does not say {words}: {}", said(&run));
    };
    let wide = "ab/overlays/wide/kustomization.yaml";
    change(wide, "other: 30", "other: 300", "percentage from 0 to 100");
    // Also in an overlay that is not deployed.
    change("ab/overlays/canary/kustomization.yaml", "next: 5", "nxet: 5", "nxet");
    change(wide, "value: forecast", "value: another", "is 'forecast', not 'another'");
    // Everyone is drawn again, some from one candidate to the other.
    change("ab/base/istio.yaml", "salt: one", "salt: two", "swap: units of forecast move");
    change("ab/application.yaml", "overlays/wide", "wide", "path must end with /overlays/NAME");
}

#[test]
fn nothing_is_overwritten_unasked() {
    let lab = Lab::new(&experiment(), &[]);
    good(lab.render(&[]));
    lab.edit("ab/base/kustomization.yaml", "- istio.yaml", "- istio.yaml\n- mine.yaml");
    let run = lab.render(&["--phase", "new=next:1"]);
    assert_eq!(run.status.code(), Some(2), "{}", said(&run));
    assert!(
        said(&run).contains("base/kustomization.yaml") && said(&run).contains("--force"),
        "{}",
        said(&run)
    );
    assert!(!lab.path("ab/overlays/new").exists(), "all or nothing");
    good(lab.render(&["--phase", "new=next:1", "--force"]));
    assert!(lab.path("ab/overlays/new/kustomization.yaml").exists());
}

#[test]
fn without_a_folder_all_of_it_is_one_stream_of_yaml() {
    let file = root().join("istio/experiment.yaml");
    let run = Command::new(artifact::cli())
        .args(["render", "argocd", "--host", "a.example.com"])
        .arg(file)
        .output()
        .unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&good(run)).unwrap();
    let kinds: Vec<&str> =
        documents.iter().filter_map(|document| document.get("kind")?.as_str()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "Application").count(), 1, "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| **kind == "Kustomization").count(), 3, "{kinds:?}");
}

#[test]
fn the_example_is_what_the_command_in_its_readme_writes() {
    let readme = fs::read_to_string(root().join("deploy/argocd/README.md")).unwrap();
    let line = readme.lines().find(|line| line.starts_with("sidetrack render argocd")).unwrap();
    let mut arguments: Vec<&str> = line.split_whitespace().skip(1).collect();
    if std::env::var_os("UPDATE").is_some() {
        arguments.push("--force");
    }
    // It refuses to replace a file that differs, so it succeeds only when none does; but it would
    // write missing ones.
    let count = || walk(&root().join("deploy/argocd/ab"));
    let before = count();
    let run = Command::new(artifact::cli()).args(&arguments).current_dir(root()).output().unwrap();
    let listed = good(run).lines().count();
    assert_eq!(
        (before, count()),
        (listed, listed),
        "UPDATE=1 writes the example anew; remove files that are too many"
    );
}

fn walk(folder: &Path) -> usize {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| if path.is_dir() { walk(&path) } else { 1 })
        .sum()
}

/// A file as `mlflow follow` writes it.
const FOLLOWED: &str = "\
experiments:
- name: digits-ab-test
  salt: digits-ab-test/v1/v2
  baseline: digits-v1
  variants:
  - name: digits-v1
    request_headers: {x-model-version: \"1\"}
  - name: digits-v2
    weight: 5
    request_headers: {x-model-version: \"2\"}
  match: {path: {prefix: /invocations}}
  unit: [{header: x-user-id}]
  analysis: {metrics: [accuracy], steps: [{weight: 5, min_for: 1d}, {weight: 30}]}
";

/// The plugin of examples/pipeline/argocd, run as Argo CD runs it: with the variables of the application.
#[test]
fn the_plugin_renders_each_commit_of_the_follower() {
    let example = root().join("examples/pipeline/argocd");
    let yaml = |name: &str| -> Value {
        serde_saphyr::from_str(&fs::read_to_string(example.join(name)).unwrap()).unwrap()
    };
    let schema = root().join("tests/istio/application.schema.json");
    let application = example.join("application.yaml");
    good(python("../golden/schema.py").arg(schema).arg(&application).output().unwrap());
    let source = yaml("application.yaml")["spec"]["source"]["plugin"].clone();
    let plugin = yaml("plugin.yaml");
    assert_eq!(source["name"], plugin["metadata"]["name"]);
    let words: Vec<&str> = plugin["spec"]["generate"]["command"]
        .as_array()
        .unwrap()
        .iter()
        .map(|word| word.as_str().unwrap())
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let generated = |file: &str| {
        fs::write(folder.path().join("experiment.yaml"), file).unwrap();
        let command = artifact::cli().parent().unwrap();
        let path = format!("{}:{}", command.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(folder.path()).env("PATH", path);
        for variable in source["env"].as_array().unwrap() {
            let name = format!("ARGOCD_ENV_{}", variable["name"].as_str().unwrap());
            command.env(name, variable["value"].as_str().unwrap());
        }
        command.output().unwrap()
    };
    let begun = good(generated(FOLLOWED));
    let raised = good(generated(&FOLLOWED.replace("weight: 5\n", "weight: 30\n")));
    let changed: Vec<&str> = raised
        .lines()
        .filter(|line| {
            !line.trim_start().starts_with('#') && !begun.lines().any(|old| old == *line)
        })
        .map(str::trim)
        .collect();
    assert_eq!(changed, ["weight: 30"], "a raise changes the weight and nothing else");
    assert!(begun.contains("kind: WasmPlugin") && begun.contains("host: predictor.models.svc"));
    // A mistake deploys nothing.
    let wrong = generated(&FOLLOWED.replace("weight: 5\n", "weight: many\n"));
    assert!(!wrong.status.success() && wrong.stdout.is_empty(), "{}", said(&wrong));
}
