//! `mlflow plan`: an experiment file from the registry.
//!
//! The file is text for people, with a word on where each value came from. The same registry gives the same file, to
//! the byte. Before anybody sees it, the core has checked it: what the registry holds is input like any other.

mod trial;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context as _;
use sidetrack::config;
use sidetrack::quantity::Ppm;

use super::client::{Client, Server};
use super::registry::Registry;
use crate::exit::ExitStatus;
use crate::fault::Fault;
use crate::load::count;
use crate::out::Out;
use crate::yaml;
use trial::{Choices, Trial};

/// Write an experiment file: the champion against the versions that are tagged as candidates
///
/// The baseline is the version with the alias champion; candidates are the versions whose tag ab_test_candidate is true.
/// Their tags ab_test.weight, ab_test.cluster and ab_test.experiment are honoured; an option for a single version wins over
/// its tag, a tag over a default.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  sidetrack mlflow plan --model digits --tracking-uri http://127.0.0.1:5000 \
                        --out experiment.yaml"
)]
pub(crate) struct Args {
    /// The registered model
    #[arg(long, value_name = "NAME")]
    model: String,
    #[command(flatten)]
    server: Server,
    /// Percent for a candidate without the tag ab_test.weight
    #[arg(long, value_name = "PERCENT")]
    weight: Option<Ppm>,
    /// Who is drawn, as header:, cookie:, query: or body: and a name; may be repeated [default: body:/user_id]
    #[arg(long, value_name = "SOURCE")]
    unit: Vec<Unit>,
    /// The Envoy cluster that serves a version; may be repeated. For all versions or for none
    #[arg(long, value_name = "VERSION=CLUSTER", value_parser = pair)]
    cluster: Vec<(String, String)>,
    /// Only requests whose path begins with this take part [default: all]
    #[arg(long, value_name = "PREFIX")]
    path: Option<String>,
    /// Write to this file, which must not exist [default: stdout]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// A unit source.
#[derive(Clone, Debug, serde::Serialize)]
struct Unit {
    kind: &'static str,
    name: String,
}

impl FromStr for Unit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (given, name) = text.split_once(':').unwrap_or((text, ""));
        let kind = ["header", "cookie", "query", "body"].into_iter().find(|kind| *kind == given);
        match kind.filter(|_| !name.is_empty()) {
            Some(kind) => Ok(Self { kind, name: name.to_owned() }),
            None => Err("allowed: header:NAME, cookie:NAME, query:NAME, body:/POINTER".to_owned()),
        }
    }
}

/// `KEY=VALUE`, neither of them empty.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => {
            Ok((key.to_owned(), value.to_owned()))
        }
        _ => Err("allowed: two words with a = between them".to_owned()),
    }
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let client = Client::new(&args.server)?;
    let registry = Registry::new(&client, &args.model);
    let choices = Choices {
        weight: args.weight,
        units: args.unit.clone(),
        clusters: &args.cluster,
        path: args.path.as_deref(),
    };
    let trial = Trial::new(
        &args.model,
        &client.base,
        registry.champion()?,
        registry.candidates()?,
        &choices,
    )?;
    let text = trial.text()?;
    let hash = checked(&text)?;
    let Some(path) = &args.out else {
        write!(out, "{text}")?;
        return Ok(ExitStatus::Success);
    };
    let news = write_new(path, &text)?;
    writeln!(out, "{} {}: {trial}\nhash {hash}", out.ink().good("✓"), path.display())?;
    writeln!(out, "{}", out.ink().dim(news))?;
    Ok(ExitStatus::Success)
}

/// The configuration's hash; or what the core has against values that the registry or an option gave.
fn checked(text: &str) -> anyhow::Result<String> {
    let node = yaml::parse(text)
        .map_err(anyhow::Error::msg)
        .context("the generated file is not valid YAML")?;
    match config::parse(&node) {
        Ok(plan) => Ok(plan.hash.to_string()),
        Err(problems) => {
            let mut told = format!("the file would have {}:", count(problems.0.len(), "problem"));
            for problem in &problems.0 {
                let path = crate::words::visible(&problem.path);
                let message = crate::words::visible(&problem.message);
                told.push_str(&format!("\n  {path}: {message} [{}]", problem.code));
            }
            Err(Fault(format!(
                "{told}\nhint: the values come from the registry's tags and the options"
            ))
            .into())
        }
    }
}

/// Writes a file that is not there yet; one that says the same already is left alone.
fn write_new(path: &Path, text: &str) -> anyhow::Result<&'static str> {
    if std::fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok("it stood there already, word for word");
    }
    let name = path.display();
    let mut file = match std::fs::File::create_new(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let text = format!(
                "{name} exists and says something else; nothing was written\n\
                 hint: write to another file, and compare the two with `sidetrack plan OLD NEW`"
            );
            return Err(Fault(text).into());
        }
        Err(error) => return Err(error).with_context(|| format!("cannot write {name}")),
    };
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {name}"))?;
    Ok("next: sidetrack render …, or hand it to the mesh")
}
