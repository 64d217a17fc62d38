//! Which object `--apply kube` changes, and in which cluster.

use std::fmt;

use anyhow::{Context as _, bail, ensure};
use clap::Args;

use crate::kube::api;
use crate::kube::connection::Connection;
use crate::manifest::KINDS;
use crate::words::visible;

/// The object in the cluster.
#[derive(Args)]
pub(crate) struct ClusterOptions {
    /// The namespace of the object [default in a pod: its own]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// The object: NAME of a WasmPlugin, or trafficextension/NAME
    #[arg(long, value_name = "[KIND/]NAME")]
    name: Option<String>,
    /// Take over the experiments from another field manager
    #[arg(long)]
    pub(super) force_conflicts: bool,
    /// The context of the kubeconfig file, as in kubectl [default in a pod: its service account]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The kubeconfig file, as in kubectl
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<String>,
}

/// A kind whose experiments are fields. In others they are part of a list or a text, in which no manager can own a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    WasmPlugin,
    TrafficExtension,
}

/// The object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) kind: Kind,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl ClusterOptions {
    /// Whether any option is given.
    pub(in crate::advance) fn is_given(&self) -> bool {
        self.force_conflicts
            || [&self.namespace, &self.name, &self.context, &self.kubeconfig]
                .iter()
                .any(|option| option.is_some())
    }

    pub(super) fn connection(&self) -> Connection {
        Connection::of(self.context.as_deref(), self.kubeconfig.as_deref())
    }

    pub(super) fn target(&self, connection: &Connection) -> anyhow::Result<Target> {
        let name = self.name.as_deref();
        let name = name.context("--apply kube requires --name, the name of the WasmPlugin")?;
        let (kind, name) = match name.split_once('/') {
            Some((kind, name)) => (Kind::parse(kind)?, name),
            None => (Kind::WasmPlugin, name),
        };
        let namespace = self.namespace.clone().or_else(|| api::own_namespace(connection));
        let namespace =
            namespace.context("--apply kube requires --namespace, the namespace of the object")?;
        for (option, text) in [("--name", name), ("--namespace", namespace.as_str())] {
            // They become part of a URL.
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            ensure!(
                !text.is_empty() && text.bytes().all(|byte| plain(byte) || b"-.".contains(&byte)),
                "{option}: \"{}\" is not a name in Kubernetes",
                visible(text)
            );
        }
        Ok(Target { kind, namespace, name: name.to_owned() })
    }
}

impl Kind {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let is = |kind: &str| text.eq_ignore_ascii_case(kind);
        let known = KINDS.iter().find(|known| {
            is(known.name)
                || known.resource.split('.').next().is_some_and(is)
                || text == known.resource
        });
        match known.map(|known| known.name) {
            Some("WasmPlugin") => Ok(Self::WasmPlugin),
            Some("TrafficExtension") => Ok(Self::TrafficExtension),
            Some(other) => bail!(
                "--apply kube cannot change one weight of an {other}: its experiments are part of a list, which has one \
                 owner\n  hint: use --apply git with the experiment file, and render the {other} from it"
            ),
            None => bail!(
                "--name: unknown kind \"{}\"; expected wasmplugin or trafficextension",
                visible(text)
            ),
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::WasmPlugin => "WasmPlugin",
            Self::TrafficExtension => "TrafficExtension",
        }
    }

    const fn resource(self) -> &'static str {
        match self {
            Self::WasmPlugin => "wasmplugins",
            Self::TrafficExtension => "trafficextensions",
        }
    }
}

impl Target {
    /// The path of the object in the API.
    pub(super) fn path(&self) -> String {
        let Self { kind, namespace, name } = self;
        let resource = kind.resource();
        format!("/apis/extensions.istio.io/v1alpha1/namespaces/{namespace}/{resource}/{name}")
    }

    /// The name of the lease.
    pub(super) fn lease(&self) -> String {
        format!("{}-{}", super::MANAGER, self.name)
    }
}

/// `WasmPlugin models/ab`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.name(), self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str) -> anyhow::Result<Target> {
        let (namespace, name) = (Some("models".to_owned()), Some(name.to_owned()));
        let (force_conflicts, context, kubeconfig) = (false, None, Some("none".to_owned()));
        let options = ClusterOptions { namespace, name, force_conflicts, context, kubeconfig };
        options.target(&options.connection())
    }

    #[test]
    fn kinds_whose_experiments_are_fields_are_targets() {
        let path = |name: &str| target(name).unwrap().path();
        let of = "/apis/extensions.istio.io/v1alpha1/namespaces/models";
        assert_eq!(path("ab"), format!("{of}/wasmplugins/ab"));
        assert_eq!(path("WasmPlugin/ab"), format!("{of}/wasmplugins/ab"));
        assert_eq!(path("trafficextensions/ab"), format!("{of}/trafficextensions/ab"));
        for (name, words) in [
            ("envoyfilter/ab", "an EnvoyFilter: its experiments are part of a list"),
            ("envoyextensionpolicy/ab", "an EnvoyExtensionPolicy: its"),
            ("secret/ab", "unknown kind"),
            ("../ab", "unknown kind"),
            ("a?b", "not a name"),
            ("", "not a name"),
        ] {
            let error = target(name).unwrap_err().to_string();
            assert!(error.contains(words), "{name}: {error}");
        }
    }
}
