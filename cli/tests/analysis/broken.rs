//! Broken data sets and sound ones, all made of one true story: each has the right verdict and says why.
//!
//! The story: half of the users get the candidate, which sells for a fifth more. To renew the table after a look:
//! `INSTA_UPDATE=always cargo test --test analysis broken`.

#[path = "broken/cases.rs"]
mod cases;
#[path = "broken/planted.rs"]
mod planted;
#[path = "broken/story.rs"]
mod story;

use crate::Folder;
use cases::Case;
use story::Story;

/// The decision in JSON, or `error` for input that is no data at all.
fn run(folder: &Folder, case: &Case) -> (i32, String, String, String) {
    let logs = folder.path().join("logs");
    let mut logs: Vec<String> = std::fs::read_dir(logs)
        .unwrap()
        .map(|file| file.unwrap().path().to_string_lossy().into_owned())
        .collect();
    logs.sort();
    let mut arguments = vec!["analyze", "run", "experiment.json", "--exposures"];
    arguments.extend(logs.iter().map(String::as_str));
    arguments.extend(["--outcomes", case.outcomes]);
    arguments.extend(["--guardrail", "error_rate:3pt", "--guardrail", "latency_p95:40%"]);
    arguments.extend(case.options);
    let (code, text, error) = folder.text(&arguments);
    // The first sentence and the first reason, unwrapped.
    let unwrapped = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (head, rest) = text.split_once("\n  - ").unwrap_or((&text, ""));
    let ends = ["\n  - ", "\nNext: "].into_iter().filter_map(|end| rest.find(end));
    let end = ends.min().unwrap_or(rest.len());
    let (headline, reason) = (unwrapped(head), unwrapped(&rest[..end]));
    if text.is_empty() {
        return (
            code,
            "error".to_owned(),
            error.lines().next().unwrap_or_default().to_owned(),
            error,
        );
    }
    arguments.push("--json");
    let json = folder.run(&arguments);
    let analysis: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let decision = analysis["decision"].as_str().unwrap().to_owned();
    (code, decision, format!("{headline}\n  {reason}"), text)
}

#[test]
fn every_data_set_has_the_right_verdict() {
    let story = Story::new();
    let cases = cases::all();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let found = std::sync::Mutex::new(vec![String::new(); cases.len()]);
    let wrong = std::sync::Mutex::new(Vec::new());
    let work = || loop {
        let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let Some(case) = cases.get(at) else { break };
        let folder = Folder::new();
        folder.write("experiment.json", story::EXPERIMENT);
        std::fs::create_dir(folder.path().join("logs")).unwrap();
        let mut story = story.clone();
        (case.change)(&mut story);
        story.write(&folder);
        let (code, decision, words, output) = run(&folder, case);
        let name = folder.path().to_string_lossy().into_owned();
        let words = words.replace(&name, "").replace('\n', "\n  ");
        if (decision.as_str(), code) != (case.decision, case.code()) {
            wrong.lock().unwrap().push(format!(
                "{}: {decision} ({code}) instead of {} ({})\n{output}",
                case.name,
                case.decision,
                case.code()
            ));
        }
        found.lock().unwrap()[at] = format!("{}: {decision}, exit {code}\n  {words}\n", case.name);
    };
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let sound = cases.iter().filter(|case| case.code() == 0).count();
    assert!(sound >= 10 && cases.len() - sound >= 30, "{sound} of {} are sound", cases.len());
    insta::assert_snapshot!("broken", found.into_inner().unwrap().join("\n"));
}
