//! Calls of kubectl, with the flags that the user gave for the connection.

use std::process::{Command, Stdio};

use anyhow::{Context as _, anyhow};
use clap::Args;
use serde_json::Value;
use sidetrack_analysis::in_words;

use crate::words::visible;

const HEADING: &str = "Connection, as in kubectl";

/// kubectl's own flags for the connection, which are passed on.
#[derive(Args, Debug, Default)]
pub(crate) struct Connection {
    /// The context of the kubeconfig file
    #[arg(long, value_name = "NAME", global = true, help_heading = HEADING)]
    context: Option<String>,
    /// The kubeconfig file
    #[arg(long, value_name = "FILE", global = true, help_heading = HEADING)]
    kubeconfig: Option<String>,
    /// The cluster of the kubeconfig file
    #[arg(long, value_name = "NAME", global = true, help_heading = HEADING)]
    cluster: Option<String>,
    /// The user of the kubeconfig file
    #[arg(long, value_name = "NAME", global = true, help_heading = HEADING)]
    user: Option<String>,
    /// The user to impersonate
    #[arg(long = "as", value_name = "USER", global = true, help_heading = HEADING)]
    impersonate: Option<String>,
    /// The group to impersonate; may be repeated
    #[arg(long, value_name = "GROUP", global = true, help_heading = HEADING)]
    as_group: Vec<String>,
    /// The address of the API server
    #[arg(short, long, value_name = "URL", global = true, help_heading = HEADING)]
    server: Option<String>,
    /// The bearer token
    #[arg(long, global = true, help_heading = HEADING)]
    token: Option<String>,
    /// How long to wait for each answer, such as 5s
    #[arg(long, value_name = "TIME", global = true, help_heading = HEADING)]
    request_timeout: Option<String>,
    #[arg(long, global = true, hide = true)]
    as_uid: Option<String>,
    #[arg(long, global = true, hide = true)]
    certificate_authority: Option<String>,
    #[arg(long, global = true, hide = true)]
    client_certificate: Option<String>,
    #[arg(long, global = true, hide = true)]
    client_key: Option<String>,
    #[arg(long, global = true, hide = true)]
    tls_server_name: Option<String>,
    #[arg(long, global = true, hide = true)]
    insecure_skip_tls_verify: bool,
}

/// The namespaces of a question.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scope<'a> {
    All,
    /// That of kubectl's context.
    Current,
    Of(&'a str),
}

/// The objects of one type.
#[derive(Debug)]
pub(super) enum Listed {
    Items(Vec<Value>),
    /// The cluster does not have the type.
    Unknown,
    /// The user may not list them; kubectl's message.
    Forbidden(String),
}

impl Connection {
    /// A context of a kubeconfig file; without both, the current one.
    pub(crate) fn of(context: Option<&str>, kubeconfig: Option<&str>) -> Self {
        let (context, kubeconfig) = (context.map(str::to_owned), kubeconfig.map(str::to_owned));
        Self { context, kubeconfig, ..Self::default() }
    }

    /// Lists objects, optionally those with labels.
    pub(super) fn list(
        &self,
        resource: &str,
        scope: Scope<'_>,
        labels: Option<&str>,
    ) -> anyhow::Result<Listed> {
        let mut arguments = vec!["get", resource, "--output=json", "--show-managed-fields"];
        match scope {
            Scope::All => arguments.push("--all-namespaces"),
            Scope::Current => {}
            Scope::Of(namespace) => arguments.extend(["--namespace", namespace]),
        }
        arguments.extend(labels.into_iter().flat_map(|labels| ["--selector", labels]));
        match self.call(&arguments)? {
            Ok(text) => {
                let mut list: Value = serde_json::from_slice(&text)
                    .with_context(|| format!("`kubectl get {resource}` did not print JSON"))?;
                let items = list.get_mut("items").map(Value::take);
                match items {
                    Some(Value::Array(items)) => Ok(Listed::Items(items)),
                    _ => Err(anyhow!("`kubectl get {resource}` did not print a list")),
                }
            }
            Err(said) if said.contains("doesn't have a resource type") => Ok(Listed::Unknown),
            Err(said) if said.contains("(Forbidden)") => Ok(Listed::Forbidden(said)),
            Err(said) => Err(failed(&format!("get {resource}"), &said)),
        }
    }

    /// One object; `None` if it does not exist.
    pub(super) fn get(
        &self,
        resource: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> anyhow::Result<Option<Value>> {
        let mut arguments = vec!["get", resource, name, "--output=json", "--ignore-not-found"];
        arguments.extend(namespace.into_iter().flat_map(|namespace| ["--namespace", namespace]));
        match self.call(&arguments)? {
            Ok(text) if text.trim_ascii().is_empty() => Ok(None),
            Ok(text) => {
                Ok(Some(serde_json::from_slice(&text).with_context(|| {
                    format!("`kubectl get {resource} {name}` did not print JSON")
                })?))
            }
            Err(said) => Err(failed(&format!("get {resource} {name}"), &said)),
        }
    }

    /// What a call of kubectl writes to stdout, or to stderr when it fails.
    pub(super) fn call(&self, arguments: &[&str]) -> anyhow::Result<Result<Vec<u8>, String>> {
        let output = Command::new("kubectl")
            .args(self.flags())
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| {
                let why = in_words(&error);
                anyhow!(
                    "cannot run kubectl: {why}\n  hint: install kubectl, and put it on the PATH"
                )
            })?;
        if output.status.success() {
            return Ok(Ok(output.stdout));
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Ok(Err(said.lines().map(visible).collect::<Vec<_>>().join("\n").trim().to_owned()))
    }

    pub(super) fn flags(&self) -> Vec<String> {
        let values = [
            ("context", &self.context),
            ("kubeconfig", &self.kubeconfig),
            ("cluster", &self.cluster),
            ("user", &self.user),
            ("as", &self.impersonate),
            ("server", &self.server),
            ("token", &self.token),
            ("request-timeout", &self.request_timeout),
            ("as-uid", &self.as_uid),
            ("certificate-authority", &self.certificate_authority),
            ("client-certificate", &self.client_certificate),
            ("client-key", &self.client_key),
            ("tls-server-name", &self.tls_server_name),
        ];
        let given = |(name, value): (&str, &Option<String>)| {
            value.as_ref().map(|value| format!("--{name}={value}"))
        };
        let mut flags: Vec<String> = values.into_iter().filter_map(given).collect();
        flags.extend(self.as_group.iter().map(|group| format!("--as-group={group}")));
        if self.insecure_skip_tls_verify {
            flags.push("--insecure-skip-tls-verify".to_owned());
        }
        flags
    }
}

/// The error of a call that failed.
pub(super) fn failed(what: &str, said: &str) -> anyhow::Error {
    anyhow!("`kubectl {what}` failed: {said}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_passed_on() {
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            connection: Connection,
        }
        let given = [
            "--context=a",
            "--kubeconfig=b",
            "--cluster=c",
            "--user=d",
            "--as=e",
            "--server=f",
            "--token=g",
            "--request-timeout=5s",
            "--as-uid=h",
            "--certificate-authority=i",
            "--client-certificate=j",
            "--client-key=k",
            "--tls-server-name=l",
            "--as-group=m",
            "--as-group=n",
            "--insecure-skip-tls-verify",
        ];
        let cli: Cli =
            clap::Parser::try_parse_from(std::iter::once("kubectl").chain(given)).unwrap();
        assert_eq!(cli.connection.flags(), given);
    }
}
