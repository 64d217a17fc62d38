//! `import kserve`: an experiment file from InferenceServices of KServe.
//!
//! KServe draws each request separately: by `spec.canary` in Standard mode, by `canaryTrafficPercent`
//! in Knative mode, by the weights of a group of LLMInferenceServices. The file draws by unit. Two
//! InferenceServices without a split make an experiment too: the first one is the baseline. KServe's
//! own routes belong to its controller, so the notes name the command that writes routes beside them.

mod service;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{bail, ensure};

use super::text::{checked, scalar, unit};
use crate::exit::ExitStatus;
use crate::fault::Fault;
use crate::load::Source;
use crate::out::{Ink, Out};
use crate::words::visible;
use crate::{wrap, yaml};
use service::{Mode, Protocol, Service, services};

/// Write an experiment file for InferenceServices of KServe
///
/// One InferenceService with spec.canary (Standard mode) or canaryTrafficPercent (Knative mode), or
/// several services, the first of which is the baseline. Everything that an experiment file cannot
/// express is reported on stderr.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  kubectl -n models get inferenceservice iris -o yaml \\\n    \
    | sidetrack import kserve - > experiment.yaml\n  \
    kubectl -n models get inferenceservice iris iris-v2 -o yaml \\\n    \
    | sidetrack import kserve - --weight iris-v2=10 --unit cookie:session_id")]
pub(crate) struct Args {
    /// The manifests, YAML or JSON; "-" reads stdin
    file: PathBuf,
    #[command(flatten)]
    options: Options,
}

/// The values that the manifests lack.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// The name of the experiment [default: the baseline's service]
    #[arg(long)]
    name: Option<String>,
    /// The service or canary that receives all traffic that is not assigned to a candidate [default:
    /// the stable predictor, or the first service]
    #[arg(long, value_name = "NAME")]
    baseline: Option<String>,
    /// The weight of a candidate in percent; may be repeated [default: KServe's, else 0]
    #[arg(long, value_name = "NAME=PERCENT", value_parser = weight)]
    weight: Vec<(String, String)>,
    /// The deployment mode [default: what the manifests say, else standard]
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// The protocol of the predictors [default: what the manifests say, else v1]
    #[arg(long, value_enum)]
    protocol: Option<Protocol>,
    /// The source of the unit: header, cookie or query; may be repeated, and the first one that is
    /// present counts [default: header:x-user-id]
    #[arg(long, value_name = "KIND:NAME", value_parser = unit)]
    unit: Vec<(String, String)>,
    /// The salt of the draw [default: the experiment's name]
    #[arg(long)]
    salt: Option<String>,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let source = Source::read(&args.file)?;
    let text = String::from_utf8_lossy(source.bytes());
    let documents = yaml::read_all(&text)
        .map_err(|error| Fault(format!("{} is not a manifest: {error}", source.name)))?;
    let services = services(documents)?;
    let (text, notes) = translate(&services, &args.options)?;
    let ink = Ink::stderr();
    for note in notes {
        writeln!(std::io::stderr().lock(), "{}", wrap::note("", &visible(&note), ink))?;
    }
    out.write_all(text.as_bytes())?;
    Ok(ExitStatus::Success)
}

/// A variant of the experiment.
#[derive(Debug)]
struct Variant {
    name: String,
    cluster: String,
    /// Percent, by KServe or an option.
    weight: Option<String>,
    /// The name of its model in paths.
    model: String,
}

/// What the services are.
#[derive(Debug)]
struct Found {
    variants: Vec<Variant>,
    baseline: usize,
    mode: Mode,
    /// Where KServe says how it splits requests.
    split: Option<&'static str>,
    is_llm: bool,
}

/// The experiment file, and notes about it.
fn translate(services: &[Service], options: &Options) -> anyhow::Result<(String, Vec<String>)> {
    let found = found(services, options)?;
    let Found { variants, baseline, mode, .. } = &found;
    let Some(first) = services.first() else { bail!("there is no service") };
    let Some(stable) = variants.get(*baseline) else { bail!("there is no baseline") };
    let mut notes = Vec::new();
    let name = options.name.as_deref().unwrap_or(&first.name);
    let mut text = format!(
        "# From KServe: {}.\nexperiments:\n  - name: {}\n",
        services.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(", "),
        scalar(name)
    );
    if let Some(salt) = &options.salt {
        writeln!(text, "    salt: {}", scalar(salt))?;
    }
    text += &conditions(services, stable, &found, options, &mut notes)?;
    text += "    # KServe draws anew for each request. Here a unit is sticky.\n    unit:\n";
    let units = if options.unit.is_empty() {
        notes.push(
            "unit: KServe has no unit; the file uses the header x-user-id. Use --unit for another one".to_owned(),
        );
        vec![("header".to_owned(), "x-user-id".to_owned())]
    } else {
        options.unit.clone()
    };
    for (kind, name) in units {
        writeln!(text, "      - {kind}: {}", scalar(&name))?;
    }
    writeln!(text, "    baseline: {}\n    variants:", scalar(&stable.name))?;
    for (index, variant) in variants.iter().enumerate() {
        writeln!(text, "      - name: {}", scalar(&variant.name))?;
        writeln!(text, "        cluster: {}", scalar(&variant.cluster))?;
        if index != *baseline {
            let weight = variant.weight.clone().unwrap_or_else(|| {
                notes.push(format!(
                    "weight: {} has no weight, so it has 0. Use --weight, or change it in the file",
                    variant.name
                ));
                "0".to_owned()
            });
            writeln!(text, "        weight: {weight}")?;
        }
        if variant.model != stable.model && !found.is_llm {
            let version = version(services, options);
            writeln!(
                text,
                "        path: {{replace_prefix: [/{version}/models/{}, /{version}/models/{}]}}",
                stable.model, variant.model
            )?;
        }
    }
    if let Some(split) = found.split {
        notes.push(format!(
            "{split}: KServe still splits requests without the filter's headers by its own weights. Set them to 0 in \
             KServe, so that such requests get the baseline"
        ));
    }
    notes.push(
        "breaker: KServe has no breaker; the file uses the default breaker, which removes a failing candidate"
            .to_owned(),
    );
    notes.push(format!("routes: {}", command(*mode, found.is_llm, first)));
    checked(&text)?;
    Ok((text, notes))
}

/// The command that writes the routes.
fn command(mode: Mode, is_llm: bool, service: &Service) -> String {
    let namespace = service.namespace.as_deref().unwrap_or("NAMESPACE");
    let base = "sidetrack render gateway-api FILE --gateway NAMESPACE/NAME";
    match (is_llm, mode) {
        (true, _) => format!(
            "{base} --backend-kind inferencepool --beside ROUTE, with the group's HTTPRoute in ROUTE"
        ),
        (false, Mode::Standard) => format!("{base} --namespace {namespace} --port 80"),
        (false, Mode::Knative) => format!(
            "{base} --namespace {namespace} --port 80 --rewrite-host --through knative-local-gateway.istio-system:80"
        ),
    }
}

fn found(services: &[Service], options: &Options) -> anyhow::Result<Found> {
    let Some(first) = services.first() else { bail!("there is no service") };
    let is_llm = first.is_llm;
    ensure!(
        services.iter().all(|it| it.is_llm == is_llm),
        Fault("the file mixes InferenceServices and LLMInferenceServices, which have different backends".to_owned())
    );
    let mode = options.mode.or_else(|| services.iter().find_map(|it| it.mode));
    let mode = mode.unwrap_or(Mode::Standard);
    let (mut variants, split) = if is_llm {
        (llms(services)?, Some("spec.router.route.weight"))
    } else if let [only] = services {
        one(only, mode)?
    } else {
        (several(services), None)
    };
    for (index, variant) in variants.iter().enumerate() {
        ensure!(
            !variants.iter().take(index).any(|before| before.name == variant.name),
            Fault(format!("the name {} stands twice", variant.name))
        );
    }
    let known = variants.iter().map(|it| it.name.clone()).collect::<Vec<_>>().join(", ");
    let baseline = match &options.baseline {
        None => 0,
        Some(name) => match variants.iter().position(|it| it.name == *name) {
            Some(index) => index,
            None => bail!("--baseline: unknown name \"{name}\"; expected one of: {known}"),
        },
    };
    for (name, weight) in &options.weight {
        match variants.iter_mut().find(|it| it.name == *name) {
            Some(variant) => variant.weight = Some(weight.clone()),
            None => bail!("--weight: unknown name \"{name}\"; expected one of: {known}"),
        }
    }
    Ok(Found { variants, baseline, mode, split, is_llm })
}

/// A service that KServe splits itself.
fn one(service: &Service, mode: Mode) -> anyhow::Result<(Vec<Variant>, Option<&'static str>)> {
    let Service { name, .. } = service;
    ensure!(
        !service.has_transformer,
        Fault(format!(
            "{name} has a transformer, which calls the predictor by itself, so no route can choose between predictors\n  \
             hint: make two InferenceServices, each with its transformer, and import both"
        ))
    );
    let variant = |variant: &str, cluster: String, weight: Option<u64>| Variant {
        name: variant.to_owned(),
        cluster,
        weight: weight.map(|it| it.to_string()),
        model: name.clone(),
    };
    if !service.canaries.is_empty() {
        ensure!(
            mode == Mode::Standard,
            Fault(format!(
                "spec.canary of {name} works in Standard mode only, but the mode is Knative"
            ))
        );
        let stable = service.predictor.as_deref();
        let cluster = |of: &str| format!("{name}-{of}-predictor");
        let mut variants = vec![variant(
            stable.unwrap_or("stable"),
            stable.map_or_else(|| format!("{name}-predictor"), cluster),
            None,
        )];
        let canaries = service.canaries.iter();
        variants.extend(canaries.map(|(of, percent)| variant(of, cluster(of), Some(*percent))));
        return Ok((variants, Some("spec.canary")));
    }
    let Some(percent) = service.percent else {
        bail!(Fault(format!(
            "{name} has neither spec.canary nor canaryTrafficPercent, so there is no candidate\n  \
             hint: add spec.canary (KServe 0.20), or import two InferenceServices together"
        )));
    };
    ensure!(
        mode == Mode::Knative,
        Fault(format!(
            "canaryTrafficPercent of {name} has no effect in Standard mode\n  \
             hint: use spec.canary (KServe 0.20), or --mode knative if the service runs on Knative"
        ))
    );
    ensure!(
        service.has_tags,
        Fault(format!(
            "{name} has no host names for its revisions, which routes need\n  \
             hint: kubectl annotate inferenceservice {name} serving.kserve.io/enable-tag-routing=true"
        ))
    );
    let variants = vec![
        variant("prev", format!("prev-{name}-predictor"), None),
        variant("latest", format!("latest-{name}-predictor"), Some(percent)),
    ];
    Ok((variants, Some("canaryTrafficPercent")))
}

/// Services of their own; requests enter at the transformer where there is one.
fn several(services: &[Service]) -> Vec<Variant> {
    let variant = |service: &Service| {
        let entry = if service.has_transformer { "transformer" } else { "predictor" };
        Variant {
            name: service.name.clone(),
            cluster: match (&service.predictor, service.has_transformer) {
                (Some(predictor), false) => format!("{}-{predictor}-predictor", service.name),
                _ => format!("{}-{entry}", service.name),
            },
            weight: None,
            model: service.name.clone(),
        }
    };
    services.iter().map(variant).collect()
}

/// Model servers with pools, weighted within their group.
fn llms(services: &[Service]) -> anyhow::Result<Vec<Variant>> {
    ensure!(
        services.len() > 1,
        Fault("an experiment needs two LLMInferenceServices: a baseline and a candidate\n  hint: import all services of the group together".to_owned())
    );
    let group = services.first().and_then(|it| it.group.as_ref());
    ensure!(
        services.iter().all(|it| it.group.as_ref() == group),
        Fault(
            "the LLMInferenceServices are in different groups (spec.router.route.group)".to_owned()
        )
    );
    let total: u64 = services.iter().filter_map(|it| it.weight).sum();
    let variant = |service: &Service| Variant {
        name: service.name.clone(),
        cluster: format!("{}-inference-pool", service.name),
        weight: service.weight.filter(|_| total > 0).map(|weight| percent(weight, total)),
        model: service.name.clone(),
    };
    Ok(services.iter().map(variant).collect())
}

/// A share in percent, with four decimals at most.
fn percent(weight: u64, total: u64) -> String {
    let ppm = u128::from(weight) * 1_000_000 / u128::from(total.max(1));
    let (whole, rest) = (ppm / 10_000, ppm % 10_000);
    if rest == 0 {
        whole.to_string()
    } else {
        format!("{whole}.{rest:04}").trim_end_matches('0').to_owned()
    }
}

/// The `match`: the host of the baseline, and the paths of its model.
fn conditions(
    services: &[Service],
    stable: &Variant,
    found: &Found,
    options: &Options,
    notes: &mut Vec<String>,
) -> anyhow::Result<String> {
    let mut text = String::new();
    let own = services.iter().find(|it| it.name == stable.name).or_else(|| services.first());
    let host = own.and_then(|it| it.host.as_deref()).filter(|_| !found.is_llm);
    if found.is_llm {
        notes.push(
            "match: the file has none, so it applies to all requests that reach the filter. The group's HTTPRoute has \
             its paths"
                .to_owned(),
        );
        return Ok(text);
    }
    writeln!(text, "    match:")?;
    match host {
        Some(host) => writeln!(text, "      hosts: [{}]", scalar(host))?,
        None => notes.push(
            "match.hosts: the manifests have no status.url, so the file has no hosts. Add them, or render with --host"
                .to_owned(),
        ),
    }
    let model = &stable.model;
    match protocol(services, options) {
        Protocol::V1 => writeln!(text, "      path: {{exact: \"/v1/models/{model}:predict\"}}")?,
        Protocol::V2 => writeln!(text, "      path: {{prefix: /v2/models/{model}/}}")?,
    }
    Ok(text)
}

fn protocol(services: &[Service], options: &Options) -> Protocol {
    let written = services.iter().find_map(|it| it.protocol);
    options.protocol.or(written).unwrap_or(Protocol::V1)
}

fn version(services: &[Service], options: &Options) -> &'static str {
    match protocol(services, options) {
        Protocol::V1 => "v1",
        Protocol::V2 => "v2",
    }
}

fn weight(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, percent)) if !name.is_empty() && percent.parse::<f64>().is_ok() => {
            Ok((name.to_owned(), percent.to_owned()))
        }
        _ => Err("expected NAME=PERCENT, such as iris-v2=10".to_owned()),
    }
}
