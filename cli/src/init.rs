//! `sidetrack init`: a first experiment file, from answers on a terminal or from options.
//!
//! The file passes `check` before it is written. Without a terminal nothing is asked and nothing is guessed that decides
//! who gets which model: a missing answer is an error that names its option.

mod api;
mod ask;
mod goal;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args as Arguments;
use sidetrack::quantity::Ppm;

use crate::exit::ExitStatus;
use crate::fault::Fault;
use crate::load::Source;
use crate::out::Out;
use crate::unit::Unit;
use crate::{atomic, template, wrap};
use api::{Api, Calls};
use ask::Terminal;
use goal::Goal;

const TEMPLATES: [(&str, &str); 1] = [("init", include_str!("../templates/init.yaml"))];

/// Write a first experiment file
///
/// Asks about your models on a terminal, or takes options, and writes a file with comments that passes `check`. The
/// names of the variants are also those of their clusters: `sidetrack run` takes an address for each.
#[derive(Arguments)]
#[command(after_help = "Examples:\n  \
    sidetrack init\n  \
    sidetrack init --api v2 --model forecast --candidate-model forecast-v2 \\\n    \
    --unit header:x-user-id\n  \
    sidetrack init --api mlflow --unit body:/user_id --share 20 --out churn.yaml\n  \
    sidetrack init --api mlflow --unit header:x-user-id --metric accuracy \\\n    \
    --planned-units 20000 --step 5:1d --step 50:7d\n  \
    sidetrack init --api mlflow --unit header:x-user-id --shadow")]
pub(crate) struct Args {
    /// How clients call the models
    #[arg(long, value_enum)]
    api: Option<Api>,
    /// The model's name in requests; for v2, v1 and openai
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// The candidate's name at its server, if it is another one: requests are rewritten [default: that of --model]
    #[arg(long, value_name = "NAME")]
    candidate_model: Option<String>,
    /// The path of the requests, for --api other; a final "*" matches everything below [default: all paths]
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// A host of the requests; may be repeated [default: all hosts]
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// What identifies a user: header, cookie, query or body, such as header:x-user-id or body:/user_id; may be
    /// repeated, and the first one that a request has counts
    #[arg(long, value_name = "KIND:NAME")]
    unit: Vec<Unit>,
    /// The name of the variant that serves now
    #[arg(long, value_name = "NAME", default_value = "baseline")]
    baseline: String,
    /// The name of the new variant
    #[arg(long, value_name = "NAME", default_value = "candidate")]
    candidate: String,
    /// The share of the users that get the candidate, in percent [default: 10]
    #[arg(long, value_name = "PERCENT", conflicts_with = "step")]
    share: Option<Ppm>,
    /// Copy all requests to the candidate, which serves no users yet: the step before the first percent.
    /// `sidetrack analyze shadow` then compares the predictions of both
    #[arg(long, conflicts_with_all = ["share", "step", "candidate_model"])]
    shadow: bool,
    #[command(flatten)]
    goal: Goal,
    /// The experiment's name [default: the model's name and -ab-test]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The file to write; "-" writes to stdout
    #[arg(long, value_name = "FILE", default_value = "experiment.yaml")]
    out: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
}

impl Args {
    /// The share that the options say.
    fn given_share(&self) -> Option<Ppm> {
        if self.shadow { Some(Ppm::ZERO) } else { self.share.or_else(|| self.goal.first_share()) }
    }
}

/// What the file depends on.
struct Answers {
    api: Api,
    calls: Calls,
    units: Vec<Unit>,
    share: Ppm,
    name: String,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let to_stdout = args.out == Path::new("-");
    let name = args.out.display().to_string();
    anyhow::ensure!(
        to_stdout || args.force || !args.out.exists(),
        Fault(format!(
            "{name} exists; nothing was written\n  hint: choose another file with --out, or replace it with --force"
        ))
    );
    let can_ask = io::stdin().is_terminal() && io::stdout().is_terminal() && !to_stdout;
    let answers = if can_ask { ask_all(args, out)? } else { from_options(args)? };
    let text = rendered(args, &answers)?;
    let source = Source::of_text(name.clone(), text.clone());
    let loaded = source.good().context("these answers do not give a valid file")?;
    if to_stdout {
        write!(out, "{text}")?;
        return Ok(ExitStatus::Success);
    }
    if args.force {
        atomic::write(&args.out, text.as_bytes())
            .with_context(|| format!("cannot write {name}"))?;
    } else {
        // The file may have been created while the questions were answered.
        let mut file = std::fs::File::create_new(&args.out)
            .map_err(|error| sidetrack_analysis::in_words(&error))
            .map_err(anyhow::Error::msg)
            .with_context(|| format!("cannot write {name}"))?;
        file.write_all(text.as_bytes()).with_context(|| format!("cannot write {name}"))?;
    }
    let ink = out.ink();
    writeln!(out, "{} {name} is written, hash {}", ink.good("✓"), loaded.plan.hash.short())?;
    for notice in &loaded.plan.notices {
        writeln!(
            out,
            "{}",
            wrap::note("  ", &format!("{}: {}", notice.path, notice.message), ink)
        )?;
    }
    writeln!(out, "\nNext, with the addresses of your models:\n")?;
    writeln!(
        out,
        "  sidetrack run {name} --endpoint {}=HOST:PORT --endpoint {}=HOST:PORT",
        args.baseline, args.candidate
    )?;
    if args.shadow {
        let Args { candidate, .. } = args;
        writeln!(
            out,
            "\nLet both models report each prediction with its x-request-id, to POST /v1/predictions of the\n\
             address that `run` prints. Then compare them, and give the candidate its first users:\n\n  \
             sidetrack analyze shadow {name} --store http://127.0.0.1:8088\n  \
             sidetrack set {name} {candidate}=1"
        )?;
    }
    Ok(ExitStatus::Success)
}

/// The answers of the options alone.
fn from_options(args: &Args) -> anyhow::Result<Answers> {
    let mut missing = Vec::new();
    if args.api.is_none() {
        missing.push(format!("--api {} (how clients call the models)", Api::names()));
    }
    if args.api.is_some_and(Api::has_model) && args.model.is_none() {
        missing.push("--model NAME (the model's name in requests)".to_owned());
    }
    if args.unit.is_empty() {
        missing
            .push("--unit KIND:NAME (what identifies a user, such as header:x-user-id)".to_owned());
    }
    let (Some(api), true) = (args.api, missing.is_empty()) else {
        anyhow::bail!(
            "stdin is not a terminal, and these options are missing:\n  {}",
            missing.join("\n  ")
        );
    };
    let calls = calls(
        args,
        api,
        args.model.as_deref(),
        args.candidate_model.as_deref(),
        args.path.as_deref(),
    )?;
    let share = args.given_share().map_or_else(default_share, Ok)?;
    let name = args.name.clone().unwrap_or_else(|| default_name(args.model.as_deref()));
    Ok(Answers { api, calls, units: args.unit.clone(), share, name })
}

/// The answers of the options, and of the user for all others.
fn ask_all(args: &Args, out: &mut Out) -> anyhow::Result<Answers> {
    let mut terminal = Terminal::new(out);
    terminal.say("Press Enter to take the answer in brackets.")?;
    let api = match args.api {
        Some(api) => api,
        None => terminal.choose("How do clients call the models?", &Api::QUESTIONS, Api::of)?,
    };
    let mut model = args.model.clone();
    let mut candidate_model = args.candidate_model.clone();
    if api.has_model() {
        if model.is_none() {
            let question = "The model's name in requests";
            model = Some(terminal.ask(question, None, |text| api.check_model(text))?);
        }
        if candidate_model.is_none() && !args.shadow {
            let question = "The candidate's name at its own server";
            candidate_model =
                Some(terminal.ask(question, model.as_deref(), |text| api.check_model(text))?);
        }
    }
    let mut path = args.path.clone();
    if api == Api::Other && path.is_none() {
        path = Some(terminal.ask("The path of the requests; /* for all", Some("/*"), |text| {
            if text.starts_with('/') {
                Ok(text.to_owned())
            } else {
                Err("a path begins with /".to_owned())
            }
        })?);
    }
    let units = if args.unit.is_empty() {
        let question =
            "What identifies a user? header:NAME, cookie:NAME, query:NAME or body:/POINTER";
        vec![terminal.ask(question, Some("header:x-user-id"), str::parse::<Unit>)?]
    } else {
        args.unit.clone()
    };
    let share = match args.given_share() {
        Some(share) => share,
        None => terminal.ask(
            "The share of the users that get the candidate, in percent",
            Some("10"),
            |text| {
                let number = text.trim_end_matches('%').trim();
                number.parse::<Ppm>().map_err(|error| format!("this is {error}"))
            },
        )?,
    };
    let name = match &args.name {
        Some(name) => name.clone(),
        None => {
            let default = default_name(model.as_deref());
            terminal.ask("The experiment's name", Some(&default), check_name)?
        }
    };
    terminal.say("")?;
    let calls = calls(args, api, model.as_deref(), candidate_model.as_deref(), path.as_deref())?;
    Ok(Answers { api, calls, units, share, name })
}

fn calls(
    args: &Args,
    api: Api,
    model: Option<&str>,
    candidate_model: Option<&str>,
    path: Option<&str>,
) -> anyhow::Result<Calls> {
    let options =
        [("--model", args.model.is_some()), ("--candidate-model", args.candidate_model.is_some())];
    for (option, is_given) in options {
        anyhow::ensure!(
            !is_given || api.has_model(),
            "{option} is for --api v2, v1 and openai, whose requests name a model; with --api {}, both models get the \
             same requests",
            api.name()
        );
    }
    anyhow::ensure!(
        args.path.is_none() || api == Api::Other,
        "--path is for --api other; --api {} has paths of its own",
        api.name()
    );
    for (option, name) in [("--model", model), ("--candidate-model", candidate_model)] {
        if let Some(name) = name {
            api.check_model(name).map_err(|error| anyhow::anyhow!("{option}: {error}"))?;
        }
    }
    Ok(Calls::new(api, model.unwrap_or_default(), candidate_model, path))
}

fn default_share() -> anyhow::Result<Ppm> {
    Ppm::new(100_000).context("ten percent")
}

/// The model's name in the characters of an experiment's name.
fn default_name(model: Option<&str>) -> String {
    let Some(model) = model else { return "ab-test".to_owned() };
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let name: String =
        model.chars().map(|c| if is_allowed(c) { c } else { '-' }).take(50).collect();
    format!("{}-ab-test", name.trim_matches(['.', '_', '-']))
}

fn check_name(text: &str) -> Result<String, String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if text.chars().all(is_allowed) && text.len() <= 63 {
        Ok(text.to_owned())
    } else {
        Err("a name has letters, digits, '.', '_' and '-', at most 63".to_owned())
    }
}

fn rendered(args: &Args, answers: &Answers) -> anyhow::Result<String> {
    let scalar = |text: &str| crate::yaml::scalar(text);
    let Answers { api, calls, units, share, name } = answers;
    let units: Vec<_> = units
        .iter()
        .map(|unit| serde_json::json!({"kind": unit.kind, "name": scalar(&unit.name)}))
        .collect();
    let hosts: Vec<String> = args.host.iter().map(|host| scalar(host)).collect();
    let context = serde_json::json!({
        "name": scalar(name),
        "salt": scalar(&format!("{name}-1")),
        "api": api.description(),
        "hosts": hosts,
        "matches": calls.matches(scalar),
        "units": units,
        "baseline": scalar(&args.baseline),
        "candidate": scalar(&args.candidate),
        "share": share.to_string(),
        "shadow": args.shadow,
        "rewrite": calls.rewrite(scalar),
        "metrics": args.goal.metrics(scalar),
        "guardrails": args.goal.guardrails(scalar),
        "planned_units": args.goal.planned_units,
        "steps": args.goal.steps(),
    });
    template::render(&TEMPLATES, "init", &context)
}
