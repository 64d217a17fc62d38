//! `import seldon`: an experiment file from a Seldon Experiment, with percentages for relative weights.
//!
//! Seldon names models but not their addresses, and draws each request separately, so clusters and the
//! unit come from options. Everything in the manifest that an experiment file cannot express is
//! reported on stderr.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::bail;
use sidetrack::config::{self, Problems};
use sidetrack::quantity::Ppm;

use super::manifest::{self, Manifest};
use super::text::{checked, scalar, unit};
use crate::exit::ExitStatus;
use crate::fault::Fault;
use crate::load::Source;
use crate::out::{Ink, Out};
use crate::words::visible;
use crate::wrap;

/// Write an experiment file for a Seldon Core v2 Experiment
///
/// Seldon names models but not their addresses, so --clusters must set them. Everything that an
/// experiment file cannot express is reported on stderr.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  sidetrack import seldon iris.yaml \\\n    --clusters iris=iris-v1,iris2=iris-v2 > experiment.yaml\n  \
    kubectl get experiment iris -o yaml | sidetrack import seldon - \\\n    \
    --tag-only --unit cookie:session_id"
)]
pub(crate) struct Args {
    /// The manifest, YAML or JSON; "-" reads stdin
    file: PathBuf,
    #[command(flatten)]
    options: Options,
}

/// The values that a Seldon Experiment lacks.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// The Envoy cluster of each model, including the mirror; may be repeated
    #[arg(long, visible_alias = "cluster", value_name = "MODEL=CLUSTER", value_delimiter = ',', value_parser = pair)]
    clusters: Vec<(String, String)>,
    /// Write no clusters: the filter only tags, and routes match its header
    #[arg(long, conflicts_with = "clusters")]
    tag_only: bool,
    /// The model that receives all traffic that is not assigned to a candidate [default:
    /// spec.default]
    #[arg(long, value_name = "MODEL")]
    baseline: Option<String>,
    /// The source of the unit: header, cookie, query or body; may be repeated, and the first one that
    /// is present counts [default: header:x-user-id]
    #[arg(long, value_name = "KIND:NAME", value_parser = unit)]
    unit: Vec<(String, String)>,
    /// Draw each request separately, like Seldon
    #[arg(long, conflicts_with = "unit")]
    per_request: bool,
    /// The salt of the draw [default: the experiment's name]
    #[arg(long)]
    salt: Option<String>,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let source = Source::read(&args.file)?;
    let fault = |problems: &Problems| Fault(source.describe(problems));
    let node = source.node().map_err(|error| {
        let mut problems = config::syntax(&error);
        problems.0.iter_mut().for_each(|problem| {
            "the file must be a single manifest in YAML or JSON".clone_into(&mut problem.hint)
        });
        fault(&problems)
    })?;
    let manifest = manifest::read(&node).map_err(|problems| fault(&problems))?;
    let (text, notes) = translate(&manifest, &args.options)?;
    let ink = Ink::stderr();
    for note in notes {
        writeln!(std::io::stderr().lock(), "{}", wrap::note("", &visible(&note), ink))?;
    }
    out.write_all(text.as_bytes())?;
    Ok(ExitStatus::Success)
}

/// The experiment file, and notes about it.
fn translate(manifest: &Manifest, options: &Options) -> anyhow::Result<(String, Vec<String>)> {
    let models = models(manifest);
    let baseline = baseline(manifest, options)?;
    let clusters = clusters(&models, options)?;
    let mut notes: Vec<String> = Vec::new();
    let left = manifest.left.join(", ");
    if !left.is_empty() {
        notes.push(format!("{left}: not supported by experiment files, and omitted"));
    }
    let (shares, rounded) = shares(&manifest.candidates);
    if rounded {
        let total: u64 = manifest.candidates.iter().map(|(_, weight)| u64::from(*weight)).sum();
        notes.push(format!("spec.candidates: weights of {total} in total are not exact percentages; rounded by less than 0.0001"));
    }
    let name = &manifest.name;
    let reached = match &manifest.default {
        Some(default) => format!("the model \"{default}\""),
        None => format!("\"{name}.experiment\""),
    };
    notes.push(format!(
        "spec.default: Seldon splits requests for {reached}; the file has no `match`, so it applies to all requests \
         that reach the filter"
    ));
    if manifest.pipelines {
        notes.push(
            "spec.resourceType: the names are pipelines; experiment files have only clusters"
                .to_owned(),
        );
    }

    let mut text = format!(
        "# From Seldon's Experiment \"{name}\".\nexperiments:\n  - name: {}\n",
        scalar(name)
    );
    if let Some(salt) = &options.salt {
        writeln!(text, "    salt: {}", scalar(salt))?;
    }
    writeln!(
        text,
        "    # Seldon splits requests for {reached}. Without a match, every request takes part."
    )?;
    if manifest.default.is_some() {
        writeln!(text, "    # match: {{path: {{prefix: /v2/models/{baseline}/}}}}")?;
    }
    if manifest.pipelines {
        text += "    # The variants are Seldon's pipelines, not models.\n";
    }
    if options.per_request {
        text += "    assignment: request_random   # as in Seldon: each request draws anew\n";
    } else {
        text += "    # Seldon draws anew for each request, unless its client repeats x-seldon-route. Here a unit is sticky.\n    unit:\n";
        let units = if options.unit.is_empty() {
            notes.push("unit: Seldon has no unit; the file uses the header x-user-id. Use --unit for another unit, or --per-request for none".to_owned());
            vec![("header".to_owned(), "x-user-id".to_owned())]
        } else {
            options.unit.clone()
        };
        for (kind, name) in units {
            writeln!(text, "      - {kind}: {}", scalar(&name))?;
        }
    }
    writeln!(text, "    baseline: {}\n    variants:", scalar(baseline))?;
    for ((model, weight), share) in manifest.candidates.iter().zip(shares) {
        writeln!(text, "      - name: {}", scalar(model))?;
        if let Some(cluster) = clusters.get(model.as_str()) {
            writeln!(text, "        cluster: {}", scalar(cluster))?;
        }
        if model != baseline {
            writeln!(text, "        weight: {share}   # percent; in Seldon {weight}")?;
        }
    }
    if let Some((mirror, percent)) = &manifest.mirror {
        if manifest.candidates.len() == 1 {
            notes.push(format!(
                "spec.mirror: an experiment needs a candidate, so \"{mirror}\" is one, with weight 0"
            ));
            writeln!(
                text,
                "      # Seldon only mirrors to it. With a weight it would also answer.\n      - name: {}",
                scalar(mirror)
            )?;
            if let Some(cluster) = clusters.get(mirror.as_str()) {
                writeln!(text, "        cluster: {}", scalar(cluster))?;
            }
            text += "        weight: 0\n";
        }
        // Without clusters, the filter only tags, and routes map the name.
        let cluster = clusters.get(mirror.as_str()).copied().unwrap_or(mirror);
        writeln!(text, "    mirror: {{cluster: {}, percent: {percent}}}", scalar(cluster))?;
        notes.push(
            "spec.mirror: Seldon mirrors a share of the requests; the file mirrors the requests of a share of the units"
                .to_owned(),
        );
    } else if manifest.candidates.len() == 1 {
        let why = "an experiment needs a baseline and a candidate, but this one has neither a second candidate nor a mirror";
        return Err(Fault(format!("spec.candidates: {why}")).into());
    }
    notes.push(
        "breaker: Seldon has no breaker; the file uses the default breaker, which removes a failing candidate"
            .to_owned(),
    );
    checked(&text)?;
    Ok((text, notes))
}

/// All names that need a cluster.
fn models(manifest: &Manifest) -> Vec<&str> {
    let candidates = manifest.candidates.iter().map(|(name, _)| name.as_str());
    candidates.chain(manifest.mirror.iter().map(|(name, _)| name.as_str())).collect()
}

fn baseline<'a>(manifest: &'a Manifest, options: &'a Options) -> anyhow::Result<&'a str> {
    let known: Vec<&str> = manifest.candidates.iter().map(|(name, _)| name.as_str()).collect();
    let allowed = known.join(", ");
    match options.baseline.as_deref().or(manifest.default.as_deref()) {
        Some(name) if known.contains(&name) => Ok(name),
        Some(name) => bail!("--baseline: unknown model \"{name}\"; expected one of: {allowed}"),
        None => bail!(
            "spec.default is missing, so the baseline is unknown\n  \
             hint: use --baseline with one of: {allowed}"
        ),
    }
}

/// The cluster of each model: all or none.
fn clusters<'a>(
    models: &[&str],
    options: &'a Options,
) -> anyhow::Result<BTreeMap<&'a str, &'a str>> {
    let mut clusters = BTreeMap::new();
    if options.tag_only {
        return Ok(clusters);
    }
    for (model, cluster) in &options.clusters {
        if !models.contains(&model.as_str()) {
            let question = config::did_you_mean(model, models);
            bail!(
                "--clusters: unknown model \"{model}\"; expected one of: {} {question}",
                models.join(", ")
            );
        }
        if clusters.insert(model.as_str(), cluster.as_str()).is_some() {
            bail!("--clusters: \"{model}\" is given twice, but must be given once");
        }
    }
    let missing: Vec<String> = models
        .iter()
        .filter(|model| !clusters.contains_key(*model))
        .map(|model| format!("{model}=CLUSTER"))
        .collect();
    if missing.is_empty() {
        return Ok(clusters);
    }
    bail!(
        "the Envoy clusters of the models are required, because Seldon names only the models\n  \
         hint: use --clusters {}, or --tag-only if routes match the filter's header",
        missing.join(",")
    )
}

/// The share of each candidate, with a sum of 100 % by largest remainder, and whether any was rounded.
fn shares(candidates: &[(String, u32)]) -> (Vec<Ppm>, bool) {
    let whole = u128::from(Ppm::ALL.get());
    let total: u128 = candidates.iter().map(|(_, weight)| u128::from(*weight)).sum::<u128>().max(1);
    let parts: Vec<u128> =
        candidates.iter().map(|(_, weight)| u128::from(*weight) * whole).collect();
    let mut order: Vec<usize> = (0..parts.len()).collect();
    let rest = |index: &usize| parts.get(*index).map_or(0, |part| part % total);
    order.sort_by_key(|index| std::cmp::Reverse(rest(index)));
    let given: u128 = parts.iter().map(|part| part / total).sum();
    let mut missing = whole.saturating_sub(given);
    let rounded = missing > 0;
    let mut shares: Vec<u128> = parts.iter().map(|part| part / total).collect();
    for index in order {
        if let Some(share) = shares.get_mut(index).filter(|_| missing > 0) {
            *share += 1;
            missing -= 1;
        }
    }
    let ppm = |share: u128| u32::try_from(share).ok().and_then(Ppm::new).unwrap_or_default();
    (shares.into_iter().map(ppm).collect(), rounded)
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((model, cluster)) if !model.is_empty() && !cluster.is_empty() => {
            Ok((model.to_owned(), cluster.to_owned()))
        }
        _ => Err("expected MODEL=CLUSTER, such as iris=iris-v1".to_owned()),
    }
}
