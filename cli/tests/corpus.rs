//! Experiment files, good and bad, and the pages that explain them.
//!
//! What is wrong with each bad file stands in `snapshots/`, word for word as people read it. To renew after a look:
//! `INSTA_UPDATE=always cargo test --test corpus`.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on may stop")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sidetrack::config::{self, Code, Node, Problems};
use sidetrack::plan::Plan;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(text: &str) -> Result<Node, Problems> {
    sidetrack_cli::yaml::parse(text).map_err(|error| config::syntax(&error))
}

fn load(path: &Path) -> Result<Plan, Problems> {
    let text = std::fs::read_to_string(path).unwrap();
    let node = match path.extension().unwrap().to_str().unwrap() {
        "json" => {
            // Whatever is no JSON at all is reported as the filter does.
            let plan = config::parse_json(text.as_bytes());
            serde_json::from_str(&text).or_else(|_| plan.map(|_| Node::Null))?
        }
        "yaml" => yaml(&text)?,
        other => panic!("{}: what is {other}?", path.display()),
    };
    sidetrack_analysis::plan::parse(&node).map(|(plan, _)| plan)
}

fn corpus(kind: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("tests/golden/config").join(kind)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

// ---- The corpus ------------------------------------------------------------------------------------------------

#[test]
fn every_bad_file_is_explained() {
    let files = corpus("bad");
    assert!(files.len() >= 25);
    let mut seen = BTreeSet::new();
    for file in &files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let Err(problems) = load(file) else { panic!("{name} is accepted") };
        seen.extend(problems.0.iter().map(|problem| problem.code.as_str()));
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("snapshots/problems");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name, problems.to_string()));
    }
    let all: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(seen, all, "a code that no file of the corpus has");
}

#[test]
fn every_good_file_is_accepted() {
    let files = corpus("good");
    assert!(files.len() >= 6);
    for file in files {
        if let Err(problems) = load(&file) {
            panic!("{}:\n{problems}", file.display());
        }
    }
}

#[test]
fn every_message_is_one_line_with_a_hint_of_one_line() {
    for file in corpus("bad") {
        for problem in load(&file).unwrap_err().0 {
            // A YAML parser quotes the line that it could not read.
            if problem.code != Code::Syntax {
                for text in [&problem.path, &problem.message, &problem.hint] {
                    assert!(!text.contains('\n'), "{}: {problem}", file.display());
                }
            }
            assert!(!problem.hint.is_empty(), "{}: {problem}", file.display());
        }
    }
}

#[test]
fn what_needs_its_surroundings_is_noticed() {
    let plan = load(&root().join("tests/golden/config/good/everything.yaml")).unwrap();
    let places: Vec<&str> = plan.notices.iter().map(|notice| notice.path.as_str()).collect();
    assert_eq!(places, ["experiments[0].unit[3].body"]);
}

// ---- The hash --------------------------------------------------------------------------------------------------

fn hash(json: &str) -> String {
    config::parse_json(json.as_bytes())
        .unwrap_or_else(|problems| panic!("{problems}"))
        .hash
        .to_string()
}

#[test]
fn the_hash_is_of_the_meaning_and_not_of_the_writing() {
    let one = r#"{"experiments":[{"name":"a","unit":[{"header":"x-user-id"}],"baseline":"s",
        "variants":[{"name":"s"},{"name":"c","weight":30}]}]}"#;
    assert_eq!(hash(one), hash(&one.replace("30", "30.0")), "a whole number as a double");
    assert_eq!(hash(one), hash(&one.replace("30", "3e1")), "with an exponent");
    assert_eq!(hash(one), hash(&one.replace(['\n', ' '], "")), "without white space");
    let reordered = r#"{"experiments":[{"variants":[{"name":"s"},{"weight":30,"name":"c"}],
        "baseline":"s","unit":[{"header":"x-user-id"}],"name":"a"}]}"#;
    assert_eq!(hash(one), hash(reordered), "keys in another order");
    let as_yaml = "experiments: [{name: a, unit: [{header: x-user-id}], baseline: s,\
        variants: [{name: s}, {name: c, weight: 30.0}]}]";
    assert_eq!(
        hash(one),
        config::parse(&yaml(as_yaml).unwrap()).unwrap().hash.to_string(),
        "as YAML"
    );
    assert_ne!(hash(one), hash(&one.replace("30", "31")));
    assert_ne!(hash(one), hash(&one.replace("\"a\"", "\"b\"")));
}

#[test]
fn the_smallest_file_is_the_same_as_yaml_and_as_json() {
    let of = |file: &str| load(&root().join("tests/golden/config/good").join(file)).unwrap().hash;
    assert_eq!(of("smallest.yaml"), of("smallest.json"));
}

// ---- The pages -------------------------------------------------------------------------------------------------

/// The experiment that a fragment of a page stands in.
const AROUND: &str = "{name: example, unit: [{header: x-user-id}], baseline: stable,\
    variants: [{name: stable}, {name: candidate, weight: 10}]}";

/// A whole file as it is; a fragment with its keys in the place of those of [`AROUND`], `settings` beside it.
fn whole(example: Node) -> Node {
    let Node::Map(given) = example else { return example };
    if given.iter().any(|(key, _)| key == "experiments") {
        return Node::Map(given);
    }
    let (settings, mut experiment): (Vec<_>, Vec<_>) =
        given.into_iter().partition(|(key, _)| key == "settings");
    let Ok(Node::Map(around)) = yaml(AROUND) else { panic!("AROUND is no map") };
    for (key, value) in around {
        if !experiment.iter().any(|(given, _)| *given == key) {
            experiment.push((key, value));
        }
    }
    let experiments = Node::List(vec![Node::Map(experiment)]);
    Node::Map(settings.into_iter().chain([("experiments".to_owned(), experiments)]).collect())
}

fn parse_example(example: &str) -> Result<Plan, Problems> {
    sidetrack_analysis::plan::parse(&whole(yaml(example)?)).map(|(plan, _)| plan)
}

/// The YAML blocks of a page.
fn examples(page: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block: Option<String> = None;
    for line in page.lines() {
        match &mut block {
            None if line.starts_with("```yaml") => block = Some(String::new()),
            None => {}
            Some(_) if line.starts_with("```") => blocks.extend(block.take()),
            Some(text) => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    assert!(block.is_none(), "a block of YAML without an end");
    blocks
}

#[test]
fn every_code_has_a_heading_whose_first_example_has_it_and_whose_second_is_mended() {
    let page = read("docs/problems.md");
    let sections: Vec<(&str, &str)> =
        page.split("\n## ").skip(1).map(|section| section.split_once('\n').unwrap()).collect();
    let headings: Vec<&str> = sections.iter().map(|(heading, _)| *heading).collect();
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(
        headings, codes,
        "docs/problems.md has a heading per code, in the order of the codes"
    );
    for (heading, text) in sections {
        let examples = examples(text);
        let Some((bad, mended)) = examples.split_first() else {
            panic!("{heading} has no example")
        };
        let Err(problems) = parse_example(bad) else {
            panic!("{heading}: the example is accepted:\n{bad}")
        };
        let codes: BTreeSet<&str> =
            problems.0.iter().map(|problem| problem.code.as_str()).collect();
        assert_eq!(codes, BTreeSet::from([heading]), "{heading}:\n{bad}\n{problems}");
        assert!(!mended.is_empty(), "{heading} shows no mended example");
        for example in mended {
            if let Err(problems) = parse_example(example) {
                panic!("{heading}:\n{example}\n{problems}");
            }
        }
    }
}

#[test]
fn every_example_of_the_reference_is_accepted() {
    let page = read("docs/configuration.md");
    let examples = examples(&page);
    assert!(examples.len() >= 10, "only {} examples", examples.len());
    for example in examples {
        if let Err(problems) = parse_example(&example) {
            panic!("docs/configuration.md:\n{example}\n{problems}");
        }
    }
}

/// Every key that a schema names, at any depth.
fn keys(schema: &Value, out: &mut BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                out.extend(properties.keys().cloned());
            }
            object.values().for_each(|value| keys(value, out));
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, out)),
        _ => {}
    }
}

#[test]
fn the_reference_names_every_key_of_the_schema() {
    let page = read("docs/configuration.md");
    let mut names = BTreeSet::new();
    keys(&config::json_schema(), &mut names);
    let missing: Vec<&String> =
        names.iter().filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/configuration.md says nothing about {missing:?}");
}

#[test]
fn the_json_schema_is_the_one_of_the_code() {
    const FILE: &str = "docs/schema/experiment.schema.json";
    let schema = serde_json::to_string_pretty(&config::json_schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(root().join("docs/schema")).unwrap();
        std::fs::write(root().join(FILE), &schema).unwrap();
    }
    assert!(read(FILE) == schema, "{FILE} is old: UPDATE=1 cargo test --test corpus");
}

/// Runs the JSON Schema over files: whether they fit, and what it said.
fn fit_the_schema(files: &[PathBuf]) -> (bool, String) {
    let python = root().join(".tools/py/bin/python");
    assert!(python.exists(), "{} is missing: run make setup", python.display());
    let run = Command::new(python)
        .arg("-B")
        .arg(root().join("tests/golden/schema.py"))
        .arg(root().join("docs/schema/experiment.schema.json"))
        .args(files)
        .output()
        .unwrap();
    (run.status.success(), String::from_utf8_lossy(&run.stderr).into_owned())
}

#[test]
fn the_json_schema_accepts_every_good_file_and_sees_what_one_value_shows() {
    let (fit, said) = fit_the_schema(&corpus("good"));
    assert!(fit, "{said}");
    let bad = root().join("tests/golden/config/bad");
    for name in [
        "unknown-keys.yaml",
        "wrong-types.yaml",
        "names.yaml",
        "percentages.json",
        "conflicts.yaml",
    ] {
        let (fit, said) = fit_the_schema(&[bad.join(name)]);
        assert!(!fit && said.starts_with(name), "{name}: {said}");
    }
}
