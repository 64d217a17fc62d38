//! One change of the registry. Taking it twice is taking it once.

use std::fmt;

use crate::mlflow::CHAMPION;
use crate::mlflow::registry::Registry;
use crate::words::visible;

pub(in crate::mlflow) enum Step {
    Alias { alias: &'static str, version: String },
    Tag { version: String, key: &'static str, value: String },
    Untag { version: String, key: &'static str },
}

impl Step {
    pub(in crate::mlflow) fn alias(alias: &'static str, version: &str) -> Self {
        Self::Alias { alias, version: version.to_owned() }
    }

    pub(in crate::mlflow) fn tag(version: &str, key: &'static str, value: &str) -> Self {
        Self::Tag { version: version.to_owned(), key, value: value.to_owned() }
    }

    pub(in crate::mlflow) fn untag(version: &str, key: &'static str) -> Self {
        Self::Untag { version: version.to_owned(), key }
    }

    pub(in crate::mlflow) fn moves_champion(&self) -> bool {
        matches!(self, Self::Alias { alias, .. } if *alias == CHAMPION)
    }

    pub(in crate::mlflow) fn take(&self, registry: &Registry<'_>) -> anyhow::Result<()> {
        match self {
            Self::Alias { alias, version } => registry.set_alias(alias, version),
            Self::Tag { version, key, value } => registry.set_tag(version, key, value),
            Self::Untag { version, key } => registry.delete_tag(version, key),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alias { alias, version } => write!(f, "alias {alias} to version {version}"),
            Self::Tag { version, key, value } => {
                write!(f, "tag of version {version}: {key} = {}", visible(value))
            }
            Self::Untag { version, key } => write!(f, "tag of version {version}: without {key}"),
        }
    }
}
