//! Trusted identity: the unit comes from a verified token, and only testers override.
//!
//! The proxy verifies the token and writes a claim into the header that the experiments read. The
//! guard removes a client's own copy of this header, so a request without a token has no unit and
//! gets what `missing_unit` says.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use sidetrack::plan::{Debug, Plan};
use sidetrack::unit::UnitSource;

use super::{Options, Topology};

/// Tokens whose claim is the unit.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    pub(crate) issuer: String,
    pub(crate) keys: Keys,
    pub(crate) claim: String,
    /// At least one of them must be in the token; empty: any.
    pub(crate) audiences: Vec<String>,
    /// Whether requests without a token are rejected.
    pub(crate) required: bool,
}

/// The keys that verify tokens.
#[derive(Clone, Debug)]
pub(crate) enum Keys {
    /// Where the issuer's OpenID configuration says.
    Discovered,
    /// At this URL.
    At(String),
    /// This JSON Web Key Set.
    Inline(String),
}

/// The clients that may override assignments and ask for explanations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Testers {
    /// A claim and its value, in the client's token.
    pub(crate) claims: Vec<(String, String)>,
    /// Identities of mutual TLS, such as `cluster.local/ns/qa/sa/tester`.
    pub(crate) principals: Vec<String>,
}

impl Testers {
    fn is_empty(&self) -> bool {
        self.claims.is_empty() && self.principals.is_empty()
    }
}

/// Refuses options that cannot work together.
pub(super) fn possible(plan: &Plan, options: &Options) -> anyhow::Result<()> {
    let sidecar = options.topology == Topology::Sidecar;
    if options.tokens.is_some() {
        ensure!(
            !sidecar,
            "--jwt-issuer does not work with --topology sidecar\n  hint: a sidecar verifies the tokens of requests to \
             its pod, but the filter runs on requests from it; use a gateway or a waypoint"
        );
        ensure!(
            options.guard,
            "--jwt-issuer does not work with --no-guard\n  hint: without the guard, a client without a token could \
             send any identity"
        );
        unit_header(plan)?;
    }
    if !options.testers.is_empty() {
        ensure!(
            !sidecar,
            "--override-claim and --override-principal do not work with --topology sidecar\n  hint: a sidecar \
             authorizes requests to its pod, but the filter runs on requests from it; use overrides.token_sha256"
        );
        ensure!(
            options.testers.claims.is_empty() || options.tokens.is_some(),
            "--override-claim requires --jwt-issuer\n  hint: only a verified token has claims"
        );
        ensure!(
            !testers_headers(plan).is_empty(),
            "--override-claim and --override-principal have nothing to protect: the file has neither `overrides.header` \
             nor `settings.debug`\n  hint: remove the option"
        );
    }
    Ok(())
}

/// The header that the token sets: the one from which all experiments take their units first.
pub(in crate::render) fn unit_header(plan: &Plan) -> anyhow::Result<&str> {
    let mut headers = plan.experiments.iter().map(|experiment| match experiment.units.first() {
        Some(UnitSource::Header(name)) => Some(name.as_str()),
        _ => None,
    });
    let first = headers.next().flatten().context(
        "--jwt-issuer needs a header as the first source of the unit, which the token's claim then sets\n  \
         hint: unit: [{header: x-user-id}]",
    )?;
    ensure!(
        headers.all(|header| header == Some(first)),
        "--jwt-issuer needs the same header as the first source of the unit in all experiments\n  \
         hint: use {first} in all of them"
    );
    Ok(first)
}

/// The headers that only testers may send.
fn testers_headers(plan: &Plan) -> Vec<&str> {
    let names = &plan.settings.headers;
    let overrides =
        plan.experiments.iter().filter_map(|experiment| experiment.overrides.header.as_deref());
    let debug = (plan.settings.debug != Debug::Denied).then_some(names.debug.as_str());
    let mut headers: Vec<&str> = overrides.chain(debug).collect();
    headers.sort_unstable();
    headers.dedup();
    headers
}

/// The values for the template; `null` without the options.
pub(super) fn values(plan: &Plan, options: &Options) -> anyhow::Result<Value> {
    let tokens = match &options.tokens {
        None => Value::Null,
        Some(tokens) => {
            let (uri, inline) = match &tokens.keys {
                Keys::Discovered => (None, None),
                Keys::At(uri) => (Some(uri), None),
                Keys::Inline(keys) => (None, Some(keys)),
            };
            json!({
                "issuer": tokens.issuer, "jwks_uri": uri, "jwks": inline, "claim": tokens.claim,
                "audiences": tokens.audiences, "required": tokens.required, "header": unit_header(plan)?,
            })
        }
    };
    let testers = if options.testers.is_empty() {
        Value::Null
    } else {
        json!({
            "headers": testers_headers(plan),
            "claims": claims(&options.testers.claims),
            "principals": options.testers.principals,
        })
    };
    Ok(json!({"tokens": tokens, "testers": testers}))
}

/// Claims with all of their values.
fn claims(pairs: &[(String, String)]) -> Vec<Value> {
    let mut names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let values = |name: &str| -> Vec<&str> {
        pairs.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect()
    };
    names.into_iter().map(|name| json!({"name": name, "values": values(name)})).collect()
}

/// What to check before the manifests are applied.
pub(super) fn checks(plan: &Plan, options: &Options) -> Vec<String> {
    let mut checks = Vec::new();
    let Some(tokens) = &options.tokens else { return checks };
    if let Ok(header) = unit_header(plan) {
        checks.push(format!(
            "No client needs to send {header} itself: the guard removes it from all requests of these proxies."
        ));
    }
    checks.push(format!(
        "No other RequestAuthentication of these proxies has the issuer {}.",
        tokens.issuer
    ));
    match &tokens.keys {
        Keys::At(uri) => checks.push(format!("istiod reaches {uri}.")),
        Keys::Discovered => checks.push(format!(
            "istiod reaches {}/.well-known/openid-configuration.",
            tokens.issuer.trim_end_matches('/')
        )),
        Keys::Inline(_) => {}
    }
    if plan.experiments.iter().any(|experiment| experiment.units.len() > 1) {
        checks.push(
            "The unit has more sources than the token. A client without a token can choose its unit by them."
                .to_owned(),
        );
    }
    checks
}
