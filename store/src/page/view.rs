//! What is in a page: the verdict in words and numbers, and what is in force. Texts only; the templates arrange them.

mod growth;
mod history;
mod live;
mod missing;
mod traffic;

use axum::http::StatusCode;
use minijinja::value::merge_maps;
use minijinja::{Value, context};
use sidetrack_analysis::words::{headline, what_would_change};

use super::VERSION;
use super::board::Subject;
use crate::catalog::Entry;
use crate::error::Error;
use crate::live::Live;
use crate::report::parts;
use crate::store::Store;
use crate::template;
use crate::verdict::NoVerdict;

/// A page with its status.
pub(super) fn render(store: &Store, subject: &Subject) -> (StatusCode, String) {
    let made = match subject {
        Subject::All => index(store),
        Subject::One(name) => experiment(store, name),
    };
    match made {
        Ok(html) => (StatusCode::OK, html),
        Err(Failure::Store(error)) => {
            let detail = error.to_string().replace("\n  hint: ", ". ");
            let html = problem("The store cannot be read", &detail, &[], events(subject));
            (StatusCode::SERVICE_UNAVAILABLE, html)
        }
        Err(Failure::Template(error)) => {
            let detail = format!("a template of this program has a mistake: {error:#}");
            let html = problem("The page cannot be shown", &detail, &[], events(subject));
            (StatusCode::INTERNAL_SERVER_ERROR, html)
        }
    }
}

/// The page of an experiment that no file has.
pub(super) fn unknown(name: &str, known: &[&str]) -> String {
    let name: String = name.chars().take(64).collect();
    let detail = format!("No experiment file of this store has an experiment {name:?}.");
    problem("Unknown experiment", &detail, known, "/events".to_owned())
}

/// The page if making it was interrupted.
pub(super) fn interrupted() -> (StatusCode, String) {
    let detail = "The request was interrupted. Reload the page.";
    let html = problem("The page cannot be shown", detail, &[], "/events".to_owned());
    (StatusCode::INTERNAL_SERVER_ERROR, html)
}

fn events(subject: &Subject) -> String {
    match subject {
        Subject::All => "/events".to_owned(),
        Subject::One(name) => format!("/experiments/{name}/events"),
    }
}

fn problem(title: &str, detail: &str, others: &[&str], events: String) -> String {
    let others: Vec<String> = others.iter().map(|&other| other.to_owned()).collect();
    let context = context! {
        title, detail, events, others, name => "", version => VERSION, decision => "", at => "",
    };
    // If not even this can be rendered, the text alone must do; it has no markup.
    template::render("problem.html", context).unwrap_or_else(|_| title.to_owned())
}

enum Failure {
    Store(Error),
    Template(minijinja::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl From<minijinja::Error> for Failure {
    fn from(error: minijinja::Error) -> Self {
        Self::Template(error)
    }
}

/// The names of the variants in the order of the file, which is that of their colors.
fn names(entry: &Entry) -> Vec<String> {
    entry.experiment.variants.iter().map(|variant| variant.name.clone()).collect()
}

fn index(store: &Store) -> Result<String, Failure> {
    let catalog = store.catalog();
    let tests = catalog.all().map(|entry| summary(store, entry)).collect::<Result<Vec<_>, _>>()?;
    let count = match tests.len() {
        1 => "1 experiment in the files of this store.".to_owned(),
        many => format!("{many} experiments in the files of this store."),
    };
    Ok(template::render(
        "index.html",
        context! {
            title => "Experiments", name => "", version => VERSION, events => "/events",
            decision => "", at => "", count, tests,
        },
    )?)
}

fn summary(store: &Store, entry: &Entry) -> Result<Value, Failure> {
    let name = &entry.experiment.name;
    let (decision, headline) = match store.verdict(name) {
        Ok(verdict) => (verdict.analysis.decision.as_str(), headline(&verdict.analysis)),
        Err(NoVerdict::Failed(error)) => return Err(error.into()),
        Err(NoVerdict::NotYet(_) | NoVerdict::Unknown) => {
            ("none", missing::headline(store, &store.live(name)?).to_owned())
        }
    };
    let live = store.live(name)?;
    Ok(context! {
        name, decision, headline,
        notices => notices(store, entry, &live),
        requests => requests(live.requests),
        latest => live.latest.clone(),
        variants => live::variants(entry, &live),
    })
}

fn requests(count: i64) -> String {
    match count {
        0 => "No requests yet".to_owned(),
        1 => "1 request".to_owned(),
        many => format!("{many} requests"),
    }
}

fn experiment(store: &Store, name: &str) -> Result<String, Failure> {
    let catalog = store.catalog();
    let Some(entry) = catalog.get(name) else {
        return Ok(unknown(name, &catalog.names().collect::<Vec<_>>()));
    };
    let verdict = match store.verdict(name) {
        Ok(verdict) => Ok(verdict),
        Err(NoVerdict::Failed(error)) => return Err(error.into()),
        Err(NoVerdict::NotYet(detail)) => Err(detail),
        Err(NoVerdict::Unknown) => Err(String::new()),
    };
    let live = store.live(name)?;
    let transitions = store.transitions(name)?;
    let names = names(entry);
    let mut all_notices = notices(store, entry, &live);
    all_notices.extend(history::stopped(entry, &live, &transitions));
    let analysis = verdict.as_ref().ok().map(|verdict| &verdict.analysis);
    let page = context! {
        title => format!("{name}: experiment"),
        name,
        version => VERSION,
        events => format!("/experiments/{name}/events"),
        at => live.latest.clone(),
        facts => facts(entry, &live),
        notices => all_notices,
        toc => toc(analysis.is_some()),
        live => context! {
            variants => live::variants(entry, &live),
            breakers => live::breakers(entry, &live),
            source => live::source(&live),
            trips => history::trips(&transitions),
            plots => traffic::plots(store, name, &live, &names)?,
        },
        growth => growth::growth(entry, &live, analysis, &transitions),
        log => history::log(&transitions),
        log_more => history::more(&transitions),
    };
    let page = match &verdict {
        Ok(verdict) => context! {
            missing => false,
            changes => what_would_change(&verdict.analysis),
            ..merge_maps([page, parts(&verdict.analysis, &verdict.series)?])
        },
        Err(detail) => context! {
            decision => "none",
            headline => missing::headline(store, &live),
            missing => missing::missing(store, entry, &live, detail),
            ..page
        },
    };
    Ok(template::render("experiment.html", page)?)
}

fn facts(entry: &Entry, live: &Live) -> Vec<(&'static str, Value)> {
    let safe = |text: &str| Value::from_safe_string(template::moment(text));
    let trial = live.trial.as_deref().unwrap_or(&entry.trial);
    let config = live.config.as_deref().or_else(|| entry.config_hash.get(..8));
    let mut facts = vec![
        ("trial", Value::from(trial)),
        ("configuration", Value::from(config.unwrap_or("unknown"))),
        ("requests", Value::from(live.requests)),
    ];
    facts.extend(live.latest.as_deref().map(|time| ("latest request", safe(time))));
    facts
}

/// What a reader must know beside the verdict.
fn notices(store: &Store, entry: &Entry, live: &Live) -> Vec<String> {
    let mut notices = Vec::new();
    if let Some(problem) = store.problem() {
        notices.push(format!("The store cannot write: {}", problem.replace("\n  hint: ", ". ")));
    }
    let experiment = &entry.experiment;
    if !experiment.enabled {
        let baseline = &experiment.variants[experiment.baseline].name;
        notices.push(format!("The experiment is disabled: all requests get {baseline}."));
    }
    match &live.trial {
        Some(trial) if *trial != entry.trial => notices.push(format!(
            "The latest requests are of the trial {trial}, and the file has another salt (trial {}). \
             The verdict is about the trial of the file.",
            entry.trial
        )),
        _ => {
            let file = entry.config_hash.get(..8).unwrap_or_default();
            let other = live.config.as_ref().filter(|config| *config != file);
            notices.extend(other.map(|config| {
                format!(
                    "The latest requests were assigned by the configuration {config}, and the file \
                     is {file}: the proxies do not have the file yet."
                )
            }));
        }
    }
    let replaced: Vec<String> =
        live.replaced.iter().map(|(metric, count)| format!("{count} of {metric}")).collect();
    if !replaced.is_empty() {
        notices.push(format!("Values that replaced earlier ones: {}.", replaced.join(", ")));
    }
    notices
}

fn toc(has_verdict: bool) -> Vec<(&'static str, &'static str)> {
    let all = [
        ("verdict", "Verdict", false),
        ("traffic", "Traffic", false),
        ("breaker", "Breaker", false),
        ("weights", "Weights", false),
        ("effect", "Effect", true),
        ("metrics", "Metrics", true),
        ("data", "Data", true),
        ("log", "Log", false),
        ("methods", "Methods", true),
    ];
    let shown = all.into_iter().filter(|(_, _, needs)| has_verdict || !needs);
    shown.map(|(id, label, _)| (id, label)).collect()
}
