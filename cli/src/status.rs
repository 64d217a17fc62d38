//! `sidetrack status`: what is in force in one proxy, or in all that Prometheus scrapes.

pub(crate) mod read;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use clap::Args as Arguments;
use serde::Serialize;
use sidetrack::plan::Plan;

use crate::breaker::Breaker;
use crate::exit::ExitStatus;
use crate::load::load;
use crate::out::{Ink, Out};
use crate::table::{Align, Table};
use crate::words::visible;
use crate::wrap;
use read::{Proxy, Variant};

/// Show what is in force in a proxy
///
/// Reads the metrics of an Envoy, or of all proxies from Prometheus: the hash of the configuration in force, rejected
/// updates, weights, requests and breakers. With FILE, it exits 1 unless that file is in force in all of them. For
/// Kubernetes without Prometheus, use `kubectl sidetrack status`.
#[derive(Arguments)]
#[command(after_help = "Examples:\n  \
    sidetrack status experiment.yaml\n  \
    sidetrack status experiment.yaml --prometheus http://prometheus:9090 --json")]
pub(crate) struct Args {
    /// The experiment file that should be in force
    file: Option<PathBuf>,
    /// The admin interface of an Envoy
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:9901",
        conflicts_with = "prometheus"
    )]
    admin: String,
    /// The address of a Prometheus server, for all proxies that it scrapes
    #[arg(long, value_name = "URL")]
    prometheus: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    /// Whether each proxy has a configuration in force and, with a file, that it is the file's.
    ok: bool,
    /// The hash of the file; null without one.
    hash: Option<String>,
    proxies: Vec<Proxy>,
    experiments: Vec<Experiment>,
}

/// An experiment in all proxies together.
#[derive(Serialize)]
struct Experiment {
    name: String,
    variants: Vec<Total>,
}

#[derive(Serialize)]
struct Total {
    name: String,
    /// Percent, in each proxy; several values while an update is on its way.
    weights: Vec<f64>,
    requests: u64,
    errors: u64,
    /// Requests of a candidate that the baseline served.
    fallbacks: u64,
    /// How often its breaker opened.
    trips: u64,
    /// Proxies by the state of the breaker; empty for a baseline.
    breakers: BTreeMap<Breaker, usize>,
}

/// In how many proxies a file is in force.
#[derive(Clone, Copy)]
pub(crate) struct InForce {
    pub(crate) current: usize,
    pub(crate) all: usize,
}

/// In how many of the proxies that Prometheus scrapes a file with this short hash is in force.
pub(crate) fn in_prometheus(url: &str, hash: &str) -> anyhow::Result<InForce> {
    Ok(in_force(&read::prometheus(url)?, hash))
}

/// The same for one Envoy.
pub(crate) fn in_envoy(url: &str, hash: &str) -> anyhow::Result<InForce> {
    Ok(in_force(&read::admin(url)?, hash))
}

fn in_force(proxies: &[Proxy], hash: &str) -> InForce {
    let current = proxies.iter().filter(|proxy| proxy.has(hash)).count();
    InForce { current, all: proxies.len() }
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let plan = args.file.as_deref().map(load).transpose()?.map(|loaded| loaded.plan);
    let mut proxies = match &args.prometheus {
        Some(url) => read::prometheus(url)?,
        None => read::admin(&args.admin)?,
    };
    let wanted = plan.as_ref().map(|plan| plan.hash.short());
    for proxy in &mut proxies {
        proxy.current = wanted.as_deref().map(|wanted| proxy.has(wanted));
    }
    let works = |proxy: &Proxy| {
        proxy.current.unwrap_or_else(|| proxy.plugins.iter().all(|it| it.has_configuration()))
    };
    let report = Report {
        ok: proxies.iter().all(works),
        hash: plan.as_ref().map(|plan| plan.hash.to_string()),
        experiments: experiments(&proxies, plan.as_ref()),
        proxies,
    };
    if args.json {
        out.json(&report)?;
    } else {
        let named = |file: &PathBuf| match file.to_string_lossy() {
            name if name == "-" => "stdin".to_owned(),
            name => visible(&name),
        };
        let file = args.file.as_ref().map(named);
        write_text(&report, file.as_deref(), out)?;
    }
    Ok(if report.ok { ExitStatus::Success } else { ExitStatus::Problems })
}

/// The sums over all proxies. Experiments that a proxy no longer has keep counters, but have no weights.
fn experiments(proxies: &[Proxy], plan: Option<&Plan>) -> Vec<Experiment> {
    let mut found: BTreeMap<&str, BTreeMap<&str, Vec<&Variant>>> = BTreeMap::new();
    for proxy in proxies {
        for (experiment, variants) in &proxy.experiments {
            for (name, variant) in variants {
                found.entry(experiment).or_default().entry(name).or_default().push(variant);
            }
        }
    }
    let is_wanted = |name: &str, variants: &BTreeMap<&str, Vec<&Variant>>| match plan {
        Some(plan) => plan.experiments.iter().any(|it| it.name == name),
        None => variants.values().flatten().any(|it| it.weight.is_some_and(|weight| weight > 0.0)),
    };
    let found = found.into_iter().filter(|(name, variants)| is_wanted(name, variants));
    let experiments = found.map(|(name, variants)| Experiment {
        name: name.to_owned(),
        variants: variants.into_iter().map(|(name, proxies)| total(name, &proxies)).collect(),
    });
    experiments.collect()
}

fn total(name: &str, proxies: &[&Variant]) -> Total {
    let mut weights: Vec<f64> = proxies.iter().filter_map(|it| it.weight).collect();
    weights.sort_by(f64::total_cmp);
    weights.dedup();
    let mut breakers = BTreeMap::new();
    for state in proxies.iter().filter_map(|it| it.breaker) {
        *breakers.entry(state).or_default() += 1;
    }
    let sum = |of: fn(&Variant) -> u64| proxies.iter().map(|it| of(it)).sum();
    Total {
        name: name.to_owned(),
        weights,
        requests: sum(|it| it.requests),
        errors: sum(|it| it.errors),
        fallbacks: sum(|it| it.fallbacks),
        trips: sum(|it| it.trips),
        breakers,
    }
}

fn write_text(report: &Report, file: Option<&str>, out: &mut Out) -> anyhow::Result<()> {
    let ink = out.ink();
    let current = report.proxies.iter().filter(|proxy| proxy.current == Some(true)).count();
    if let (Some(file), Some(hash)) = (file, &report.hash) {
        let text = format!(
            "{file} ({}) is in force in {current} of {} proxies",
            hash.get(..8).unwrap_or(hash),
            report.proxies.len()
        );
        writeln!(out, "{} {text}\n", if report.ok { ink.good("✓") } else { ink.bad("✗") })?;
    }
    let mut table = Table::new(&[Align::Left, Align::Left, Align::Left, Align::Right]);
    table.head(["proxy", "plugin", "in force", "rejected"], ink);
    for proxy in &report.proxies {
        for plugin in &proxy.plugins {
            let rejected = plugin.rejected.to_string();
            let rejected = if plugin.rejected == 0 { ink.dim(rejected) } else { ink.bad(rejected) };
            let hash = match (plugin.has_configuration(), proxy.current) {
                (false, _) => ink.bad("nothing".to_owned()),
                (true, Some(false)) => ink.note(plugin.hash.clone()),
                (true, _) => ink.good(plugin.hash.clone()),
            };
            table.row([
                visible(&proxy.name).into(),
                visible(&plugin.name).into(),
                hash.into(),
                rejected.into(),
            ]);
        }
    }
    table.write(out)?;
    for experiment in &report.experiments {
        writeln!(out, "\n{}", ink.bold(visible(&experiment.name)))?;
        write_variants(&experiment.variants, ink, out)?;
    }
    if report.proxies.iter().any(|proxy| proxy.plugins.iter().any(|plugin| plugin.rejected > 0)) {
        let text =
            "a proxy rejected an update and kept its last good configuration; its log says why";
        writeln!(out, "{}", wrap::note("", text, ink))?;
    }
    Ok(())
}

fn write_variants(variants: &[Total], ink: Ink, out: &mut Out) -> anyhow::Result<()> {
    const RIGHT: Align = Align::Right;
    let mut table = Table::new(&[Align::Left, RIGHT, RIGHT, RIGHT, RIGHT, Align::Left]);
    table.head(["variant", "weight", "requests", "errors", "on baseline", "breaker"], ink);
    for it in variants {
        let weights: Vec<String> = it.weights.iter().map(|weight| format!("{weight} %")).collect();
        let several = it.breakers.values().sum::<usize>() > 1;
        let breakers: Vec<String> = it
            .breakers
            .iter()
            .map(|(state, count)| match state.as_str() {
                state if several => format!("{state} in {count}"),
                state => state.to_owned(),
            })
            .collect();
        let mut breakers = breakers.join(", ");
        if it.trips > 0 {
            breakers += &format!(", {} so far", crate::load::count(it.trips, "trip"));
        }
        let breakers = if it.breakers.contains_key(&Breaker::Open) {
            ink.bad(breakers)
        } else {
            ink.dim(breakers)
        };
        let errors = it.errors.to_string();
        table.row([
            visible(&it.name).into(),
            weights.join(", ").into(),
            it.requests.to_string().into(),
            if it.errors == 0 { ink.dim(errors).into() } else { ink.bad(errors).into() },
            it.fallbacks.to_string().into(),
            breakers.into(),
        ]);
    }
    Ok(table.write(out)?)
}
