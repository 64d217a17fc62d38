//! Alerts of the proxies, whatever experiments they carry.

use sidetrack::names::metric::{self, PREFIX};
use sidetrack::names::plugin::NAME;
use sidetrack::plan::Plan;

use super::{Alert, Draft, Input, input};
use crate::render::prometheus::{Clock, Series, quote};

pub(in crate::render::prometheus) fn of_proxies(plan: &Plan, series: &Series) -> Vec<Alert> {
    [
        rejected(series),
        unexpected(plan, series),
        crashed(series),
        unfetched(series),
        refused(),
        hidden(series),
        unscraped(series),
    ]
    .map(Draft::alert)
    .into()
}

fn of_proxy(series: &Series) -> Vec<(&'static str, String)> {
    vec![("job", series.job.clone()), ("instance", "proxy-1".to_owned())]
}

/// An increase of a counter in the last 15 minutes. A counter that appears with its first count shows no increase.
fn counted_lately(by: &str, counter: &str) -> String {
    format!(
        "sum by ({by}) (increase({counter}[15m])) > 0\nor\n\
         sum by ({by}) ({counter} unless {counter} offset 15m) > 0"
    )
}

fn rejected(series: &Series) -> Draft {
    let counted = series.of(metric::CONFIG_REJECTED, "");
    let count = |values: &str| vec![input(series.one(metric::CONFIG_REJECTED, ""), values)];
    Draft {
        alert: "SidetrackConfigRejected",
        severity: "warning",
        hold: "0s",
        expr: counted_lately("job, instance", &counted),
        adds: Vec::new(),
        summary: "{{ $labels.instance }} rejected an experiment file".to_owned(),
        description: "The last good configuration stays in force; without one, all requests go to the baseline. \
                      Run `sidetrack check` on the file: it reports what the proxy's log reports. Correct the file and publish it \
                      again."
            .to_owned(),
        fires: count("1x30"),
        quiet: count("0x30"),
        at: "5m".to_owned(),
        clock: Clock::Minutes,
        keeps: of_proxy(series),
        value: String::new(),
    }
}

fn unexpected(plan: &Plan, series: &Series) -> Draft {
    let expected = plan.hash.first_32_bits();
    let hash = series.of(metric::CONFIG_HASH, "");
    let in_force = |number: u32| {
        let values = format!("{number}x20");
        vec![input(series.one(metric::CONFIG_HASH, ""), &values)]
    };
    let other_plugin = input(series.one(metric::CONFIG_HASH, "plugin=\"other\""), "7x20");
    Draft {
        alert: "SidetrackConfigUnexpected",
        severity: "warning",
        hold: "10m",
        // A proxy may have other plugins, each with a file of its own.
        expr: format!(
            "count by (job) (\n  count by (job, instance) ({hash})\n  unless on (job, instance) ({hash} == {expected})\n)"
        ),
        adds: Vec::new(),
        summary: "{{ $value }} proxies run another experiment file than these rules were made from"
            .to_owned(),
        description: format!(
            "Expected is the hash {}…, that is {} = {expected}. Either the file has not reached the proxies (or \
             they rejected it), or it was changed without rendering these rules anew: `sidetrack check FILE` prints a \
             file's hash.",
            plan.hash.short(),
            metric::CONFIG_HASH,
        ),
        fires: in_force(!expected),
        quiet: in_force(expected).into_iter().chain([other_plugin]).collect(),
        at: "12m".to_owned(),
        clock: Clock::Minutes,
        keeps: vec![("job", series.job.clone())],
        value: "1".to_owned(),
    }
}

/// Envoy counts the reloads of a filter that crashed by the plugin's name, which Istio makes up; so any name.
fn crashed(series: &Series) -> Draft {
    let names = series.of("", "__name__=~\"envoy_wasm_.*vm_reload_(success|failure|backoff)\"");
    let reloads = |values: &str| {
        vec![input(series.one(&format!("envoy_wasm_{NAME}_vm_reload_success"), ""), values)]
    };
    Draft {
        alert: "SidetrackFilterCrashed",
        severity: "critical",
        hold: "0s",
        // The name goes into a label, or the series of a proxy would be the same to increase().
        expr: format!(
            "sum by (job, instance) (\n  increase(label_replace({names}, \"reload\", \"$1\", \"__name__\", \"(.+)\")[15m:])\n) > 0"
        ),
        adds: Vec::new(),
        summary: "A WebAssembly filter crashed on {{ $labels.instance }}".to_owned(),
        description: "Envoy loaded it again. Each crash answered a request with 503, and so do requests until the reload, which \
                      Envoy holds back for about a second. Envoy's log has the reason. If it goes on, set enabled: false, and \
                      take the filter out if that does not end it: without it every request takes the baseline."
            .to_owned(),
        fires: reloads("0 0 0 1x10"),
        quiet: reloads("1x12"),
        at: "8m".to_owned(),
        clock: Clock::Minutes,
        keeps: of_proxy(series),
        value: String::new(),
    }
}

/// Istio's agent fetches the module and replaces the filter if it cannot. It counts what it replaced by the reason.
fn unfetched(series: &Series) -> Draft {
    const COUNTER: &str = "istio_agent_wasm_config_conversion_count";
    const FAILURES: &str = "fetch_failure|miss_remote_fetch_hint|unmarshal_failure|marshal_failure";
    let counted = series.of(COUNTER, &format!("result=~\"{FAILURES}\""));
    let count = |result: &str, values: &str| {
        vec![input(series.one(COUNTER, &format!("result=\"{result}\"")), values)]
    };
    Draft {
        alert: "SidetrackModuleNotFetched",
        severity: "critical",
        hold: "0s",
        expr: counted_lately("job, instance", &counted),
        adds: Vec::new(),
        summary: "{{ $labels.instance }} could not fetch a WebAssembly module".to_owned(),
        description: "Istio's agent replaced the filter, also one that ran: with FAIL_OPEN all requests go to the baseline, \
                      with FAIL_RELOAD and FAIL_CLOSE the proxy answers 403 to all requests. Check that the image exists and \
                      that the registry answers. The agent does not retry: when the registry answers, change the WasmPlugin or \
                      restart the proxy."
            .to_owned(),
        // Nothing, until the first failure.
        fires: count("fetch_failure", "_ _ _ 1x30"),
        quiet: count("success", "0+1x30"),
        at: "5m".to_owned(),
        clock: Clock::Minutes,
        keeps: of_proxy(series),
        value: String::new(),
    }
}

/// The filter accepts every configuration. So if a proxy refuses one from istiod, it cannot load the module. istiod has
/// a job of its own.
fn refused() -> Draft {
    const COUNTER: &str = "pilot_total_xds_rejects";
    let count = |kind: &str, values: &str| {
        let series = format!("{COUNTER}{{job=\"istiod\",instance=\"istiod-1\",type=\"{kind}\"}}");
        vec![input(series, values)]
    };
    Draft {
        alert: "SidetrackModuleRefused",
        severity: "critical",
        hold: "0s",
        expr: counted_lately("job", &format!("{COUNTER}{{type=\"ecds\"}}")),
        adds: Vec::new(),
        summary: "A proxy refused a WebAssembly filter that istiod sent".to_owned(),
        description: "The proxy cannot load the module: its file is missing or damaged, or its Envoy is too old. Proxies that run \
                      the filter keep it. Proxies that start, and those that never had the filter, answer 500 to all requests, \
                      with FAIL_OPEN too. Roll the WasmPlugin back to the last module that worked. istiod's log names the proxy: \
                      search for `ACK ERROR`."
            .to_owned(),
        fires: count("ecds", "0 0 0 1x10"),
        quiet: count("cds", "0 0 0 1x10"),
        at: "5m".to_owned(),
        clock: Clock::Minutes,
        keeps: vec![("job", "istiod".to_owned())],
        value: String::new(),
    }
}

fn up(series: &Series, values: &str) -> Input {
    input(series.one("up", ""), values)
}

fn hidden(series: &Series) -> Draft {
    let (up_now, hash) = (series.of("up", ""), series.of(metric::CONFIG_HASH, ""));
    Draft {
        alert: "SidetrackMetricsHidden",
        severity: "warning",
        hold: "5m",
        expr: format!("{up_now} == 1\nunless on (job, instance)\n{hash}"),
        adds: Vec::new(),
        summary: "{{ $labels.instance }} shows no metrics of the filter".to_owned(),
        description: format!(
            "Prometheus scrapes it, but every {PREFIX} series is missing. Either a stats matcher excludes wasmcustom.* \
             (the proxy's log says so), or this proxy has no filter. Decisions and breakers work without metrics; \
             dashboards and alerts do not."
        ),
        fires: vec![up(series, "1x20")],
        quiet: vec![up(series, "1x20"), input(series.one(metric::CONFIG_HASH, ""), "1x20")],
        at: "8m".to_owned(),
        clock: Clock::Minutes,
        keeps: of_proxy(series),
        value: String::new(),
    }
}

fn unscraped(series: &Series) -> Draft {
    let up_now = series.of("up", "");
    Draft {
        alert: "SidetrackNotScraped",
        severity: "warning",
        hold: "5m",
        expr: format!("absent({up_now} == 1)"),
        adds: vec![("job", series.job.clone())],
        summary: format!("Prometheus reaches no proxy under the job {}", quote(&series.job)),
        description: "While this lasts no other alert of Sidetrack can fire. Look at the targets in Prometheus; if the job has \
                      another name, render the rules with --job."
            .to_owned(),
        fires: vec![up(series, "0x20")],
        quiet: vec![up(series, "1x20")],
        at: "8m".to_owned(),
        clock: Clock::Minutes,
        keeps: Vec::new(),
        value: String::new(),
    }
}
