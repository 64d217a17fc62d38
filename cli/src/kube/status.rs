//! `kubectl sidetrack status`: what is applied, and what the proxies run.

use std::io::Write as _;

use serde::Serialize;
use serde_json::Value;
use sidetrack::names::{label, metric};
use sidetrack::plan::{BreakerMode, Experiment, Plan};
use sidetrack::quantity::Timestamp;
use sidetrack_lab::Scrape;

use super::connection::Connection;
use super::live::Live;
use super::proxies::{self, Answer};
use crate::exit::ExitStatus;
use crate::load::count;
use crate::moment::Moment;
use crate::out::{Ink, Out};
use crate::table::{Align, Table};
use crate::words::{percent, phase_now, variant, visible};
use crate::wrap;

/// Show what is applied, and what each proxy runs
///
/// The proxies' metrics come from the pods, by way of the API server or of a command in the pod. A proxy
/// that cannot be asked is listed with the reason. The state of a breaker belongs to one proxy.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    kubectl sidetrack status\n  \
    kubectl sidetrack status -n istio-ingress --proxies 0 --json")]
pub(crate) struct Args {
    /// How many proxies to ask for their metrics
    #[arg(long, value_name = "N", default_value_t = 20)]
    proxies: usize,
    /// The port of the proxies' metrics [default: 15090 for Istio, 19001 for Envoy Gateway]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    metrics_port: Option<u16>,
    #[command(flatten)]
    moment: Moment,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    object: String,
    /// Whether the configuration has no problems.
    ok: bool,
    hash: Option<String>,
    generation: Option<u64>,
    /// When the object last changed, and by which client.
    applied: Option<String>,
    applied_by: Option<String>,
    /// The filter's image.
    url: Option<String>,
    /// When the object's deletion was requested.
    deleted: Option<String>,
    experiments: Vec<Shares>,
    /// Which pods run the filter, and how many there are.
    place: String,
    pods: usize,
    proxies: Vec<Proxy>,
}

#[derive(Serialize)]
struct Shares {
    name: String,
    state: String,
    phase: Option<String>,
    variants: Vec<Share>,
}

#[derive(Serialize)]
struct Share {
    name: String,
    role: &'static str,
    percent: String,
}

/// One proxy.
#[derive(Serialize)]
struct Proxy {
    name: String,
    /// The first eight digits of the hash in force; null without the filter.
    hash: Option<String>,
    /// Whether this is the configuration that is applied.
    current: bool,
    /// How many configurations it has refused.
    refused: Option<u64>,
    breakers: Vec<Breaker>,
    /// Why it could not be asked.
    error: Option<String>,
}

#[derive(Serialize)]
struct Breaker {
    experiment: String,
    variant: String,
    state: &'static str,
}

pub(super) fn run(
    args: &Args,
    live: &Live,
    connection: &Connection,
    out: &mut Out,
) -> anyhow::Result<ExitStatus> {
    let checked = live.source.parse();
    let plan = checked.as_ref().ok().map(|loaded| &loaded.plan);
    let found = proxies::of(live, connection)?;
    let answers = found.ask(args.proxies, args.metrics_port, connection);
    let now = args.moment.get();
    let (applied, applied_by) = last_change(live);
    let report = Report {
        object: live.to_string(),
        ok: plan.is_some(),
        hash: plan.map(|plan| plan.hash.to_string()),
        generation: live.object.pointer("/metadata/generation").and_then(Value::as_u64),
        applied,
        applied_by,
        url: url(live),
        deleted: live.text("/metadata/deletionTimestamp").map(ToOwned::to_owned),
        experiments: plan
            .iter()
            .flat_map(|plan| &plan.experiments)
            .map(|experiment| shares(experiment, now))
            .collect(),
        place: found.unknown.clone().unwrap_or_else(|| found.place.clone()),
        pods: found.pods.len(),
        proxies: answers.into_iter().map(|answer| proxy(answer, plan)).collect(),
    };
    if args.json {
        out.json(&report)?;
    } else {
        write_text(&report, found.unknown.is_some(), out)?;
        if let Err(problems) = &checked {
            writeln!(out, "\n{}", live.source.describe(problems))?;
        }
    }
    Ok(if report.ok { ExitStatus::Success } else { ExitStatus::Problems })
}

/// The newest change of anything but the status.
fn last_change(live: &Live) -> (Option<String>, Option<String>) {
    let fields = live.object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let text =
        |field: &Value, key: &str| field.get(key).and_then(Value::as_str).map(ToOwned::to_owned);
    let own = fields.into_iter().flatten().filter(|field| field.get("subresource").is_none());
    // RFC 3339 in UTC, so the order of the texts is that of the times.
    let last = own.filter_map(|field| Some((text(field, "time")?, text(field, "manager")))).max();
    match last {
        Some((time, manager)) => (Some(time), manager),
        None => (live.text("/metadata/creationTimestamp").map(ToOwned::to_owned), None),
    }
}

fn url(live: &Live) -> Option<String> {
    let places = [
        "/spec/url",
        "/spec/wasm/url",
        "/spec/wasm/0/code/image/url",
        "/spec/wasm/0/code/http/url",
        "/spec/configPatches/0/patch/value/typed_config/config/vm_config/code/remote/http_uri/uri",
    ];
    places.iter().find_map(|place| live.text(place)).map(ToOwned::to_owned)
}

fn shares(experiment: &Experiment, now: Timestamp) -> Shares {
    let all = experiment.shares(now);
    let candidates = experiment.candidates().any(|id| all[id] > sidetrack::quantity::Ppm::ZERO);
    let state = match (experiment.enabled, candidates) {
        (false, _) => "disabled: all units get the baseline",
        (true, false) => "paused: no candidate has a weight now, so all units get the baseline",
        (true, true) => "running",
    };
    let share = |(id, variant): (_, &sidetrack::plan::Variant)| Share {
        name: variant.name.clone(),
        role: if id == experiment.baseline { "baseline" } else { "candidate" },
        percent: percent(all[id]),
    };
    Shares {
        name: experiment.name.clone(),
        state: state.to_owned(),
        phase: phase_now(experiment, now),
        variants: experiment.variants.entries().map(share).collect(),
    }
}

fn proxy(answer: Answer, plan: Option<&Plan>) -> Proxy {
    let name = format!("{}/{}", answer.namespace, answer.name);
    let empty = Proxy {
        name,
        hash: None,
        current: false,
        refused: None,
        breakers: Vec::new(),
        error: None,
    };
    let metrics = match answer.metrics {
        Ok(metrics) => metrics,
        Err(error) => return Proxy { error: Some(error), ..empty },
    };
    // Several plugins have one series each. The labels may be in the names.
    let hashes: Vec<u32> = metrics.values(metric::CONFIG_HASH).map(whole).collect();
    let applied = plan.map(|plan| plan.hash.first_32_bits());
    let current = applied.is_some_and(|applied| hashes.contains(&applied));
    let shown = if current { applied } else { hashes.iter().copied().max() };
    let refused = metrics.values(metric::CONFIG_REJECTED).map(whole).reduce(u32::saturating_add);
    Proxy {
        hash: shown.map(|hash| format!("{hash:08x}")),
        current,
        refused: refused.map(u64::from),
        breakers: plan.map(|plan| breakers(plan, &metrics)).unwrap_or_default(),
        ..empty
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates; hashes have 32 bits"
)]
fn whole(value: f64) -> u32 {
    value.round() as u32
}

fn breakers(plan: &Plan, metrics: &Scrape) -> Vec<Breaker> {
    let mut breakers = Vec::new();
    for experiment in &plan.experiments {
        if experiment.breaker.mode == BreakerMode::Disabled {
            continue;
        }
        for id in experiment.candidates() {
            let name = variant(experiment, id);
            let labels = [(label::EXPERIMENT, experiment.name.as_str()), (label::MODEL, name)];
            let gauge = metrics.count(metric::BREAKER_STATE, &labels);
            let state =
                gauge.map_or("unknown", |gauge| crate::breaker::Breaker::of(gauge).as_str());
            breakers.push(Breaker {
                experiment: experiment.name.clone(),
                variant: name.to_owned(),
                state,
            });
        }
    }
    breakers
}

fn write_text(report: &Report, unknown: bool, out: &mut Out) -> anyhow::Result<()> {
    let ink = out.ink();
    writeln!(out, "{}", ink.bold(&report.object))?;
    let mut fact = |label: &str, text: &str| -> anyhow::Result<()> {
        Ok(writeln!(out, "  {} {}", ink.dim(format!("{label:<10}")), visible(text))?)
    };
    fact("hash", report.hash.as_deref().unwrap_or("none: the configuration has problems"))?;
    if let Some(applied) = &report.applied {
        let by = report.applied_by.as_ref().map_or_else(String::new, |by| format!(" by {by}"));
        let generation =
            report.generation.map_or_else(String::new, |number| format!(", generation {number}"));
        fact("applied", &format!("{applied}{by}{generation}"))?;
    }
    if let Some(deleted) = &report.deleted {
        fact("deleted", &format!("{deleted}; a finalizer keeps the object"))?;
    }
    if let Some(url) = &report.url {
        fact("image", url)?;
    }
    for experiment in &report.experiments {
        write_shares(experiment, ink, out)?;
    }
    write_proxies(report, unknown, ink, out)
}

fn write_shares(experiment: &Shares, ink: Ink, out: &mut Out) -> anyhow::Result<()> {
    let state = format!(" ({})", experiment.state);
    let running = experiment.state == "running";
    let state = if running { ink.good(state) } else { ink.note(state) };
    writeln!(out, "\n{}{state}", ink.bold(&experiment.name))?;
    if let Some(phase) = &experiment.phase {
        writeln!(out, "  {} {phase}", ink.dim(format!("{:<10}", "phase")))?;
    }
    let width = experiment.variants.iter().map(|variant| variant.name.len()).max().unwrap_or(0);
    for Share { name, role, percent } in &experiment.variants {
        writeln!(out, "  {} {name:<width$} {percent:>9}", ink.dim(format!("{role:<10}")))?;
    }
    Ok(())
}

fn write_proxies(report: &Report, unknown: bool, ink: Ink, out: &mut Out) -> anyhow::Result<()> {
    writeln!(out, "\n{}", ink.bold("proxies"))?;
    if unknown {
        let text = format!("the proxies are not known: {}", report.place);
        writeln!(out, "{}", wrap::note("  ", &text, ink))?;
        return Ok(());
    }
    if report.pods == 0 {
        let text = format!("no proxy runs the filter: there are no {}", report.place);
        writeln!(out, "{}", wrap::note("  ", &text, ink))?;
        return Ok(());
    }
    let current = report.proxies.iter().filter(|proxy| proxy.current).count();
    let asked = report.proxies.len();
    let of = format!("{current} of {asked} run this configuration");
    writeln!(
        out,
        "  {}: {}",
        report.place,
        if current == asked { ink.good(of) } else { ink.note(of) }
    )?;
    let mut table = Table::new(&[Align::Left, Align::Left, Align::Right, Align::Left]);
    table.head(["proxy", "hash", "refused", "breakers"], ink);
    for proxy in report.proxies.iter().filter(|proxy| proxy.error.is_none()) {
        let hash = match proxy.hash.as_deref() {
            None => ink.bad("no filter".to_owned()),
            Some("00000000") => ink.bad("none".to_owned()),
            Some(hash) if proxy.current => ink.good(hash.to_owned()),
            Some(hash) => ink.note(hash.to_owned()),
        };
        let refused = proxy.refused.map_or_else(|| "?".to_owned(), |number| number.to_string());
        table.row([proxy.name.as_str().into(), hash.into(), refused.into(), states(proxy).into()]);
    }
    if report.proxies.iter().any(|proxy| proxy.error.is_none()) {
        table.write(out)?;
    }
    for proxy in &report.proxies {
        if let Some(error) = &proxy.error {
            let text = format!("{} could not be asked: {}", proxy.name, visible(error));
            writeln!(out, "{}", wrap::note("  ", &text, ink))?;
        }
    }
    if report.pods > asked {
        let text =
            format!("{} not asked; --proxies sets how many are", count(report.pods - asked, "pod"));
        writeln!(out, "{}", wrap::note("  ", &text, ink))?;
    }
    let blind = report
        .proxies
        .iter()
        .any(|proxy| proxy.breakers.iter().any(|it| it.state == "unknown") && proxy.hash.is_some());
    if blind {
        let text = "the state of breakers is unknown without the metric labels, which `sidetrack render istio FILE \
                    --mesh-config` writes";
        writeln!(out, "{}", wrap::note("  ", text, ink))?;
    }
    Ok(())
}

/// The breakers of a proxy; one word if all are closed.
fn states(proxy: &Proxy) -> String {
    if proxy.hash.is_none() || proxy.breakers.is_empty() {
        return String::new();
    }
    let first = proxy.breakers.first().map_or("", |breaker| breaker.state);
    if proxy.breakers.iter().all(|breaker| breaker.state == first) && first != "open" {
        return first.to_owned();
    }
    let odd = proxy.breakers.iter().filter(|breaker| breaker.state != "closed");
    odd.map(|breaker| format!("{} {}", breaker.variant, breaker.state))
        .collect::<Vec<_>>()
        .join(", ")
}
