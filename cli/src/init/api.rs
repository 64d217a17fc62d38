//! How clients call models: which requests belong to the experiment, and what differs for the candidate.

use clap::ValueEnum;

/// The interface of the models' servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Api {
    /// KServe V2, Triton, Seldon Core 2: /v2/models/NAME/infer
    V2,
    /// MLflow, SageMaker: /invocations
    Mlflow,
    /// TensorFlow Serving, KServe V1: /v1/models/NAME:predict
    V1,
    /// OpenAI-style servers such as vLLM: the model's name in the body
    Openai,
    /// Any other HTTP service
    Other,
}

impl Api {
    /// The choices as a terminal shows them.
    pub(super) const QUESTIONS: [&'static str; 5] = [
        "/v2/models/NAME/infer       KServe V2, Triton, Seldon Core 2",
        "/invocations                MLflow, SageMaker",
        "/v1/models/NAME:predict     TensorFlow Serving, KServe V1",
        "/v1/chat/completions, …     OpenAI-style servers such as vLLM",
        "another path",
    ];

    const ALL: [Self; 5] = [Self::V2, Self::Mlflow, Self::V1, Self::Openai, Self::Other];

    /// The choice at an index of [`Self::QUESTIONS`].
    pub(super) fn of(index: usize) -> Option<Self> {
        Self::ALL.get(index).copied()
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::Mlflow => "mlflow",
            Self::V1 => "v1",
            Self::Openai => "openai",
            Self::Other => "other",
        }
    }

    /// All names, as help writes them.
    pub(super) fn names() -> String {
        Self::ALL.map(Self::name).join("|")
    }

    /// Whether requests name a model.
    pub(super) const fn has_model(self) -> bool {
        matches!(self, Self::V2 | Self::V1 | Self::Openai)
    }

    /// For the comment of the file.
    pub(super) const fn description(self) -> &'static str {
        match self {
            Self::V2 => "the V2 inference protocol",
            Self::Mlflow => "MLflow's scoring protocol",
            Self::V1 => "the V1 inference protocol",
            Self::Openai => "OpenAI's API",
            Self::Other => "HTTP",
        }
    }

    /// A model's name that a request can contain.
    pub(super) fn check_model(self, text: &str) -> Result<String, String> {
        let is_part = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | '?' | '#' | ':' | '%');
        if text.is_empty() {
            return Err("the name is empty".to_owned());
        }
        if self != Self::Openai && !text.chars().all(is_part) {
            return Err(format!(
                "\"{}\" cannot be a part of a path; use the name as the server's path has it",
                text.escape_debug()
            ));
        }
        Ok(text.to_owned())
    }
}

/// The requests of the experiment.
pub(super) struct Calls {
    api: Api,
    model: String,
    /// The candidate's name, if it is another one.
    candidate: Option<String>,
    path: Option<String>,
}

impl Calls {
    pub(super) fn new(api: Api, model: &str, candidate: Option<&str>, path: Option<&str>) -> Self {
        let candidate = candidate.filter(|candidate| *candidate != model);
        Self {
            api,
            model: model.to_owned(),
            candidate: candidate.map(str::to_owned),
            path: path.map(str::to_owned),
        }
    }

    /// The lines below `match`.
    pub(super) fn matches(&self, scalar: impl Fn(&str) -> String) -> Vec<String> {
        let post = || "methods: [POST]".to_owned();
        let prefix = |path: &str| format!("path: {{prefix: {}}}", scalar(path));
        match self.api {
            Api::V2 | Api::V1 => vec![prefix(&self.path_of(&self.model)), post()],
            Api::Mlflow => vec!["path: {exact: /invocations}".to_owned(), post()],
            Api::Openai => vec![
                prefix("/v1/"),
                post(),
                format!("body: [{{pointer: /model, exact: {}}}]", scalar(&self.model)),
            ],
            Api::Other => match self.path.as_deref() {
                None | Some("/*") => Vec::new(),
                Some(path) => vec![match path.strip_suffix('*') {
                    Some(path) => prefix(path),
                    None => format!("path: {{exact: {}}}", scalar(path)),
                }],
            },
        }
    }

    /// The line of the candidate that rewrites its requests.
    pub(super) fn rewrite(&self, scalar: impl Fn(&str) -> String) -> Option<String> {
        let candidate = self.candidate.as_ref()?;
        Some(match self.api {
            Api::Openai => format!("body: {{/model: {}}}", scalar(candidate)),
            _ => format!(
                "path: {{replace_prefix: [{}, {}]}}",
                scalar(&self.path_of(&self.model)),
                scalar(&self.path_of(candidate))
            ),
        })
    }

    /// The paths of a model begin with this.
    fn path_of(&self, model: &str) -> String {
        match self.api {
            // The end keeps out models whose names begin with this one.
            Api::V1 => format!("/v1/models/{model}:"),
            _ => format!("/v2/models/{model}/"),
        }
    }
}
