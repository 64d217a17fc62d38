//! The command line of `render helm`.

use std::io::Write as _;
use std::path::PathBuf;

use super::{Options, files, istio};
use crate::exit::ExitStatus;
use crate::load;
use crate::out::Out;
use crate::render::folder;

/// Write a Helm chart: the Istio manifests of an experiment, with the experiment file as the values
///
/// A release changes weights, rollouts, limits, salts and the image with `helm upgrade -f experiment.yaml`.
/// What the routes depend on is part of the chart: names, hosts, paths, the baseline. Values that differ
/// in it are refused; then write the chart again. Without --out, all files are printed.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    sidetrack render helm experiment.yaml --out chart --namespace models \\\n    \
    --gateway istio-ingress/predictor-gateway --host predictor.example.com \\\n    \
    --url oci://registry.example.com/sidetrack:1\n  \
    helm install ab chart --namespace models\n  \
    helm upgrade ab chart --namespace models -f experiment.yaml")]
pub(in crate::render) struct Args {
    /// The experiment file, YAML or JSON; "-" reads stdin
    file: PathBuf,
    /// The folder to write
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace files with other contents
    #[arg(long, requires = "out")]
    force: bool,
    /// The version of the chart
    #[arg(long, value_name = "VERSION", default_value = "0.1.0", value_parser = version)]
    chart_version: String,
    #[command(flatten)]
    flags: istio::Flags,
}

pub(in crate::render) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let loaded = load::load(&args.file)?;
    let options =
        Options { version: args.chart_version.clone(), istio: args.flags.options(&loaded.plan) };
    let files = files(&loaded, &options)?;
    match &args.out {
        Some(folder) => folder::write(folder, &files, args.force, out)?,
        None => {
            for file in &files {
                write!(out, "---\n# File: {}\n{}", file.path, file.text)?;
            }
        }
    }
    Ok(ExitStatus::Success)
}

/// A version as Helm requires it: three numbers, and what SemVer allows behind them.
fn version(text: &str) -> Result<String, String> {
    let core = text.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<&str> = core.split('.').collect();
    let is_number = |part: &&str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_digit())
            && (part.len() == 1 || !part.starts_with('0'))
    };
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-+.".contains(&b));
    if numbers.len() == 3 && numbers.iter().all(is_number) && plain {
        Ok(text.to_owned())
    } else {
        Err("must be a version such as 1.2.3".to_owned())
    }
}
