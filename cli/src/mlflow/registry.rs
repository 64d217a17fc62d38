//! The model registry: versions, their tags and aliases.
//!
//! Three pitfalls of MLflow's API: a search without results returns `{}`; aliases are only in responses
//! to `get` and `alias`, not to a search; and tags hold text, where Python's `True` is `"True"`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, refused};
use super::{CANDIDATE, CHAMPION};
use crate::fault::Fault;
use crate::words::visible;

/// The number of versions in a page of search results.
const PAGE: &str = "1000";

/// One registered model.
pub(crate) struct Registry<'c> {
    client: &'c Client,
    pub(crate) model: &'c str,
}

/// A version of the model.
#[derive(Debug, Deserialize)]
pub(crate) struct Version {
    /// A number, as text.
    pub(crate) version: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Debug, Deserialize)]
struct Tag {
    key: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct One {
    model_version: Version,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    model_versions: Vec<Version>,
    #[serde(default)]
    next_page_token: String,
}

impl Version {
    pub(crate) fn tag(&self, key: &str) -> Option<&str> {
        self.tags.iter().find(|tag| tag.key == key).map(|tag| tag.value.as_str())
    }

    /// Whether it is tagged as a candidate.
    pub(crate) fn is_candidate(&self) -> bool {
        self.tag(CANDIDATE).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// Whether its files are available.
    pub(crate) fn is_ready(&self) -> bool {
        self.status == "READY"
    }

    /// Rejects a version whose files are not available.
    pub(crate) fn ready(&self, model: &str) -> anyhow::Result<()> {
        if self.is_ready() {
            return Ok(());
        }
        let (model, version, status) =
            (visible(model), visible(&self.version), visible(&self.status));
        let text = format!(
            "{model} version {version}: the status is {status}, but must be READY\n  \
             hint: wait until the version is ready, or remove its alias or its tag {CANDIDATE}"
        );
        Err(Fault(text).into())
    }
}

impl<'c> Registry<'c> {
    pub(crate) const fn new(client: &'c Client, model: &'c str) -> Self {
        Self { client, model }
    }

    /// The server's address.
    pub(crate) fn server(&self) -> &str {
        &self.client.base
    }

    /// The version that serves.
    ///
    /// # Errors
    ///
    /// A [`Fault`] if no version has the alias.
    pub(crate) fn champion(&self) -> anyhow::Result<Version> {
        let (model, base) = (visible(self.model), &self.client.base);
        self.aliased(CHAMPION)?.ok_or_else(|| {
            let text = format!(
                "{model}: no version has the alias {CHAMPION} at {base}\n  \
                 hint: set the alias on the version that serves; in Python, MlflowClient().set_registered_model_alias(\"{model}\", \"{CHAMPION}\", VERSION)"
            );
            Fault(text).into()
        })
    }

    /// The version with this alias, if any has it.
    pub(crate) fn aliased(&self, alias: &str) -> anyhow::Result<Option<Version>> {
        let found =
            self.client.get("registered-models/alias", &[("name", self.model), ("alias", alias)]);
        match found {
            Ok(One { model_version }) => Ok(Some(model_version)),
            // A missing alias is an invalid parameter to MLflow.
            Err(error) if refused(&error, &["INVALID_PARAMETER_VALUE"]) => Ok(None),
            Err(error) if refused(&error, &["RESOURCE_DOES_NOT_EXIST"]) => {
                let (model, base) = (visible(self.model), &self.client.base);
                let text = format!(
                    "{model}: unknown registered model at {base}\n  \
                     hint: names are case-sensitive; the server's Models page lists them"
                );
                Err(Fault(text).into())
            }
            Err(error) => Err(error),
        }
    }

    /// A version by its number, if there is one.
    pub(crate) fn version(&self, version: &str) -> anyhow::Result<Option<Version>> {
        match self.client.get("model-versions/get", &[("name", self.model), ("version", version)]) {
            Ok(One { model_version }) => Ok(Some(model_version)),
            Err(error) if refused(&error, &["RESOURCE_DOES_NOT_EXIST"]) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The versions that are tagged as candidates, oldest first.
    pub(crate) fn candidates(&self) -> anyhow::Result<Vec<Version>> {
        // A filter cannot contain a name with both kinds of quotes; the server rejects it.
        let quote = if self.model.contains('\'') { '"' } else { '\'' };
        let filter =
            format!("name = {quote}{}{quote} AND tags.{CANDIDATE} ILIKE 'true'", self.model);
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let mut query = vec![("filter", filter.as_str()), ("max_results", PAGE)];
            if !token.is_empty() {
                query.push(("page_token", &token));
            }
            let page: Page = self.client.get("model-versions/search", &query)?;
            // Our own look as well: a server may take ILIKE for LIKE.
            found.extend(page.model_versions.into_iter().filter(Version::is_candidate));
            if page.next_page_token.is_empty() {
                break;
            }
            token = page.next_page_token;
        }
        found.sort_by_key(|version| version.version.parse::<u64>().unwrap_or(u64::MAX));
        Ok(found)
    }

    pub(crate) fn set_alias(&self, alias: &str, version: &str) -> anyhow::Result<()> {
        let body = json!({"name": self.model, "alias": alias, "version": version});
        self.client.post::<Value>("registered-models/alias", &body).map(|_| ())
    }

    pub(crate) fn set_tag(&self, version: &str, key: &str, value: &str) -> anyhow::Result<()> {
        let body = json!({"name": self.model, "version": version, "key": key, "value": value});
        self.client.post::<Value>("model-versions/set-tag", &body).map(|_| ())
    }

    /// Removes a tag; a missing tag is not an error.
    pub(crate) fn delete_tag(&self, version: &str, key: &str) -> anyhow::Result<()> {
        self.client.delete(
            "model-versions/delete-tag",
            &json!({"name": self.model, "version": version, "key": key}),
        )
    }
}
