//! Reads an experiment file: YAML or JSON, from a path or from stdin, into the core's tree and plan.
//!
//! [`crate::yaml`] has the rules for YAML. A manifest that installs the filter in Istio counts as the experiment file
//! that it carries.

use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sidetrack::config::{self, Node, Problem, Problems};
use sidetrack::plan::{Experiment, Plan};
use sidetrack_analysis::in_words;
use sidetrack_analysis::plan::AnalysisPlan;

use crate::fault::Fault;
use crate::lines::{Lines, Place};
use crate::manifest;
use crate::words::visible;
use crate::yaml;

/// The largest file that is read, in bytes.
const LARGEST: u64 = 4 << 20;

/// A valid file.
pub(crate) struct Loaded {
    /// The contents.
    pub(crate) node: Node,
    /// The meaning.
    pub(crate) plan: Plan,
    /// The analysis plans, by experiment.
    pub(crate) analyses: Vec<Option<AnalysisPlan>>,
}

/// The text of a file, with its name.
pub(crate) struct Source {
    /// The path as it was given, or `stdin`.
    pub(crate) name: String,
    text: Vec<u8>,
    json: bool,
    /// The tree, if it did not come as a text.
    tree: Option<Node>,
}

/// Reads and checks a file, for commands that need a valid one.
///
/// # Errors
///
/// A [`Fault`] with every problem, or why the file cannot be read.
pub(crate) fn load(path: &Path) -> anyhow::Result<Loaded> {
    Source::read(path)?.good()
}

impl Source {
    /// Reads a file; `-` is stdin.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let mut text = Vec::new();
        let stdin = path == Path::new("-");
        let name = if stdin { "stdin".to_owned() } else { visible(&path.to_string_lossy()) };
        let read = if stdin {
            std::io::stdin().lock().take(LARGEST + 1).read_to_end(&mut text)
        } else {
            std::fs::File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut text))
        };
        read.map_err(|error| in_words(&error)).with_context(|| format!("cannot read {name}"))?;
        anyhow::ensure!(
            u64::try_from(text.len()).is_ok_and(|size| size <= LARGEST),
            "cannot read {name}: it is larger than {} MiB, so it is not an experiment file",
            LARGEST >> 20
        );
        let json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        Ok(Self { name, text, json, tree: None })
    }

    /// A text that this command wrote.
    pub(crate) fn of_text(name: String, text: String) -> Self {
        Self { name, text: text.into_bytes(), json: false, tree: None }
    }

    /// What an object of a cluster carries. It has no lines.
    pub(crate) fn of_tree(name: String, tree: Node) -> Self {
        Self { name, text: Vec::new(), json: false, tree: Some(tree) }
    }

    /// Like [`load`], for a file that has been read.
    pub(crate) fn good(&self) -> anyhow::Result<Loaded> {
        self.parse().map_err(|problems| Fault(self.describe(&problems)).into())
    }

    /// The file as it was read.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.text
    }

    /// Whether it is JSON, which has no comments.
    pub(crate) fn is_json(&self) -> bool {
        self.json || self.text.trim_ascii_start().starts_with(b"{")
    }

    /// A source with this text in place of the file's.
    pub(crate) fn with(&self, text: String) -> Self {
        self.of_bytes(text.into_bytes())
    }

    /// The same, for a text that may not be UTF-8.
    pub(crate) fn of_bytes(&self, text: Vec<u8>) -> Self {
        Self { name: self.name.clone(), text, json: self.json, tree: None }
    }

    /// The parsed file, or all its problems.
    pub(crate) fn parse(&self) -> Result<Loaded, Problems> {
        let node = self.experiments().map_err(|error| config::syntax(&error))?;
        let (plan, analyses) = sidetrack_analysis::plan::parse(&node)?;
        Ok(Loaded { node, plan, analyses })
    }

    /// The experiments' tree: the file's own, or that inside a manifest.
    fn experiments(&self) -> Result<Node, String> {
        if let Some(tree) = &self.tree {
            return Ok(tree.clone());
        }
        let in_manifest = if self.json { None } else { manifest::experiments(self.utf8()?) };
        in_manifest.unwrap_or_else(|| self.node())
    }

    /// The file's tree, or why it has none.
    pub(crate) fn node(&self) -> Result<Node, String> {
        let text = self.utf8()?;
        // JSON is valid YAML, but a JSON parser reads it more strictly and has better errors.
        if self.json || text.trim_start().starts_with('{') {
            match serde_json::from_str(text) {
                Err(error) if self.json => return Err(config::json_problem(&error)),
                Err(_) => {}
                Ok(node) => return Ok(node),
            }
        }
        yaml::parse(text)
    }

    fn utf8(&self) -> Result<&str, String> {
        let text = self.text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.text);
        std::str::from_utf8(text).map_err(|error| {
            let before = text.get(..error.valid_up_to()).unwrap_or_default();
            let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
            format!("line {line} is not UTF-8 text")
        })
    }

    /// The problems in the order of the text, each with its position.
    pub(crate) fn placed<'a>(&self, problems: &'a Problems) -> Vec<(Option<Place>, &'a Problem)> {
        let lines = self.utf8().map(Lines::of).unwrap_or_default();
        let mut placed: Vec<_> =
            problems.0.iter().map(|problem| (lines.place(problem), problem)).collect();
        placed.sort_by_key(|(place, _)| *place);
        placed
    }

    /// All problems as text.
    pub(crate) fn describe(&self, problems: &Problems) -> String {
        let mut text = format!("{} has {}:", self.name, count(problems.0.len(), "problem"));
        for (place, Problem { path, code, message, hint }) in self.placed(problems) {
            let place = place.map(|place| place.to_string()).unwrap_or_default();
            let path = if path.is_empty() { "the file".to_owned() } else { visible(path) };
            let hint = if hint.is_empty() { String::new() } else { format!("\n    hint: {hint}") };
            write!(text, "\n  {path}{place}\n    {} [{code}]{hint}", visible(message)).ok();
        }
        text
    }
}

/// The experiment of this name, or the only one.
///
/// # Errors
///
/// A [`Fault`] for an unknown name or a file without experiments; an error when `--experiment` is missing.
pub(crate) fn chosen<'p>(plan: &'p Plan, name: Option<&str>) -> anyhow::Result<&'p Experiment> {
    let names: Vec<&str> =
        plan.experiments.iter().map(|experiment| experiment.name.as_str()).collect();
    let names = names.join(", ");
    match (name, plan.experiments.as_slice()) {
        (_, []) => Err(Fault("the file has no experiments".to_owned()).into()),
        (None, [only]) => Ok(only),
        (None, _) => {
            anyhow::bail!("the file has several experiments; choose one with --experiment: {names}")
        }
        (Some(name), experiments) => {
            let found = experiments.iter().find(|experiment| experiment.name == name);
            let unknown = || {
                let name = visible(name);
                Fault(format!(
                    "--experiment: unknown experiment \"{name}\"; expected one of: {names}"
                ))
            };
            Ok(found.ok_or_else(unknown)?)
        }
    }
}

/// `1 problem`, `2 problems`.
pub(crate) fn count(number: impl TryInto<u64>, what: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// The FILE argument that most commands take.
#[derive(clap::Args)]
pub(crate) struct File {
    /// The experiment file, YAML or JSON; "-" reads stdin
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}
