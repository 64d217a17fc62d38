//! A parsed Seldon Core v2 Experiment: `mlops.seldon.io/v1alpha1`.
//!
//! Unlike in Kubernetes, an unknown key is a problem, because a misspelled `candidates` would be an
//! experiment without candidates. All problems are reported together.

use sidetrack::config::{Code, Node, Problem, Problems, did_you_mean};

const API: &str = "mlops.seldon.io/v1alpha1";
const MODEL: &str = "a model's name: 1 to 63 letters, digits, '.', '_', '-'";

/// The experiment, and the keys that an experiment file does not support.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) name: String,
    pub(super) candidates: Vec<(String, u32)>,
    pub(super) default: Option<String>,
    pub(super) mirror: Option<(String, u32)>,
    pub(super) pipelines: bool,
    /// Paths of keys that are left behind: labels, a namespace, the status.
    pub(super) left: Vec<String>,
}

/// Reads a manifest, or returns all its problems.
pub(super) fn read(node: &Node) -> Result<Manifest, Problems> {
    let mut reader = Reader::default();
    let manifest = reader.manifest(node);
    match manifest {
        Some(manifest) if reader.problems.0.is_empty() => Ok(manifest),
        _ => Err(reader.problems),
    }
}

#[derive(Default)]
struct Reader {
    problems: Problems,
}

type Entries<'a> = &'a [(String, Node)];

impl Reader {
    fn problem(
        &mut self,
        path: &str,
        code: Code,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.problems.0.push(Problem {
            path: path.to_owned(),
            code,
            message: message.into(),
            hint: hint.into(),
        });
    }

    fn manifest(&mut self, node: &Node) -> Option<Manifest> {
        let top = self.map("", node)?;
        if !self.is_experiment(top) {
            return None;
        }
        self.keys("", top, &["apiVersion", "kind", "metadata", "spec", "status"]);
        let mut left = Vec::new();
        let metadata = self.needed("", top, "metadata").and_then(|node| self.map("metadata", node));
        let name = metadata.and_then(|metadata| {
            left.extend(
                metadata
                    .iter()
                    .filter(|(key, _)| key != "name")
                    .map(|(key, _)| format!("metadata.{key}")),
            );
            self.name("metadata", metadata, "name")
        });
        left.extend(get(top, "status").map(|_| "status".to_owned()));
        let spec = self.needed("", top, "spec").and_then(|node| self.map("spec", node))?;
        self.keys("spec", spec, &["candidates", "default", "mirror", "resourceType"]);
        let candidates = self.candidates(spec);
        let mirror =
            get(spec, "mirror").and_then(|node| self.weighted("spec.mirror", node, "percent", 100));
        let default = get(spec, "default").and_then(|_| self.name("spec", spec, "default"));
        let pipelines = match get(spec, "resourceType") {
            None => false,
            Some(Node::Text(text)) if text == "model" => false,
            Some(Node::Text(text)) if text == "pipeline" => true,
            Some(other) => {
                let message = format!("found {}; allowed: model, pipeline", other.describe());
                self.problem("spec.resourceType", Code::NotOneOf, message, "");
                false
            }
        };
        let candidates = candidates?;
        let known = candidates.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
        for (index, name) in known.iter().enumerate() {
            if known.iter().take(index).any(|before| before == name) {
                let path = format!("spec.candidates[{index}].name");
                self.problem(
                    &path,
                    Code::DuplicateName,
                    format!("found \"{name}\" a second time"),
                    "Seldon also rejects an empty list",
                );
            }
        }
        if let Some((name, _)) = mirror.as_ref().filter(|(name, _)| known.contains(&name.as_str()))
        {
            let message =
                format!("found \"{name}\", which is a candidate; allowed: a model that is none");
            self.problem(
                "spec.mirror.name",
                Code::DuplicateName,
                message,
                "Seldon also rejects an empty list",
            );
        }
        if let Some(name) = default.as_ref().filter(|name| !known.contains(&name.as_str())) {
            let message =
                format!("found \"{name}\"; allowed: one of the candidates: {}", known.join(", "));
            self.problem("spec.default", Code::UnknownVariant, message, did_you_mean(name, &known));
        }
        if !candidates.is_empty() && candidates.iter().all(|(_, weight)| *weight == 0) {
            self.problem(
                "spec.candidates",
                Code::OutOfRange,
                "all weights are 0, but at least one must be above 0",
                "",
            );
        }
        Some(Manifest { name: name?, candidates, default, mirror, pipelines, left })
    }

    /// Rejects another kind of manifest by its name, without further checks.
    fn is_experiment(&mut self, top: Entries<'_>) -> bool {
        let text = |key| match get(top, key) {
            Some(Node::Text(text)) => Some(text.as_str()),
            _ => None,
        };
        let (api, kind) = (text("apiVersion").unwrap_or("none"), text("kind").unwrap_or("none"));
        if (api, kind) == (API, "Experiment") {
            return true;
        }
        let hint = match kind {
            "SeldonDeployment" => {
                "a SeldonDeployment belongs to Seldon Core v1, which is not supported"
            }
            "List" => "use a single experiment: kubectl get experiment NAME -o yaml",
            "none" if get(top, "experiments").is_some() => "this is already an experiment file",
            _ => "",
        };
        let message = format!(
            "found apiVersion {api}, kind {kind}; allowed: apiVersion {API}, kind Experiment"
        );
        self.problem(if api == API { "kind" } else { "apiVersion" }, Code::NotOneOf, message, hint);
        false
    }

    fn candidates(&mut self, spec: Entries<'_>) -> Option<Vec<(String, u32)>> {
        let node = self.needed("spec", spec, "candidates")?;
        let Node::List(items) = node else {
            let message =
                format!("found {}; allowed: a list of models with weights", node.describe());
            self.problem("spec.candidates", Code::WrongType, message, "");
            return None;
        };
        if items.is_empty() {
            self.problem(
                "spec.candidates",
                Code::Empty,
                "found an empty list",
                "Seldon also rejects an empty list",
            );
        }
        let read = items.iter().enumerate();
        let read = read.map(|(i, item)| {
            self.weighted(&format!("spec.candidates[{i}]"), item, "weight", u32::MAX)
        });
        // Read all items first, to find all problems.
        read.collect::<Vec<_>>().into_iter().collect()
    }

    /// A model and a number: a candidate with its weight, or the mirror with its percentage.
    fn weighted(&mut self, at: &str, node: &Node, key: &str, most: u32) -> Option<(String, u32)> {
        let entries = self.map(at, node)?;
        self.keys(at, entries, &["name", key]);
        let name = self.name(at, entries, "name");
        let number = self.needed(at, entries, key).and_then(|node| {
            let number = match node {
                Node::Number(text) => text.parse().ok().filter(|number| *number <= most),
                _ => None,
            };
            if number.is_none() {
                let message =
                    format!("found {}; allowed: a whole number from 0 to {most}", node.describe());
                self.problem(&join(at, key), Code::OutOfRange, message, "");
            }
            number
        });
        Some((name?, number?))
    }

    fn name(&mut self, at: &str, entries: Entries<'_>, key: &str) -> Option<String> {
        let node = self.needed(at, entries, key)?;
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        match node {
            Node::Text(text) if (1..=63).contains(&text.len()) && text.chars().all(good) => {
                Some(text.clone())
            }
            _ => {
                let hint = if matches!(node, Node::Text(_)) {
                    "names are part of headers and metrics, so their length is limited"
                } else {
                    "put it in quotes"
                };
                let message = format!("found {}; allowed: {MODEL}", node.describe());
                self.problem(&join(at, key), Code::BadName, message, hint);
                None
            }
        }
    }

    fn map<'a>(&mut self, at: &str, node: &'a Node) -> Option<Entries<'a>> {
        if let Node::Map(entries) = node {
            return Some(entries);
        }
        self.problem(
            at,
            Code::WrongType,
            format!("found {}; allowed: a group of keys", node.describe()),
            "",
        );
        None
    }

    fn needed<'a>(&mut self, at: &str, entries: Entries<'a>, key: &str) -> Option<&'a Node> {
        let found = get(entries, key);
        if found.is_none() {
            self.problem(at, Code::MissingKey, format!("the key \"{key}\" is missing"), "");
        }
        found
    }

    fn keys(&mut self, at: &str, entries: Entries<'_>, known: &[&str]) {
        for (index, (key, _)) in entries.iter().enumerate() {
            let path = join(at, key);
            if !known.contains(&key.as_str()) {
                let message = format!("found an unknown key; allowed: {}", known.join(", "));
                self.problem(&path, Code::UnknownKey, message, did_you_mean(key, known));
            } else if entries.iter().take(index).any(|(before, _)| before == key) {
                self.problem(
                    &path,
                    Code::DuplicateKey,
                    "found a second time",
                    "remove one of them",
                );
            }
        }
    }
}

fn get<'a>(entries: Entries<'a>, key: &str) -> Option<&'a Node> {
    entries.iter().find(|(name, _)| name == key).map(|(_, node)| node)
}

fn join(at: &str, key: &str) -> String {
    if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") }
}
