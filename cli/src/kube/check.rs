//! `kubectl sidetrack check`: the live experiment, and whether the mesh around it fits.

use std::io::Write as _;

use serde::Serialize;

use super::connection::Connection;
use super::live::Live;
use super::mesh::{self, Finding, Verdict};
use crate::check;
use crate::exit::ExitStatus;
use crate::load::count;
use crate::moment::Moment;
use crate::out::Out;
use crate::wrap;

/// Check the live experiment and the mesh around it
///
/// First the experiment, as `sidetrack check` does. Then the mesh: do pods run the filter, does each
/// candidate have a route that no other route hides, do its service, subset and pods exist, does the
/// Gateway accept the hosts, do requests without the filter's header have a route, and are clients'
/// own headers removed. docs/kubectl.md lists all problems.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    kubectl sidetrack check\n  \
    kubectl sidetrack check -n istio-ingress --name sidetrack --json")]
pub(crate) struct Args {
    /// Print JSON: {"object", "ok", "hash", "problems", "notices", "mesh"}
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    moment: Moment,
}

#[derive(Serialize)]
struct Report<'a> {
    object: String,
    #[serde(flatten)]
    file: check::Report,
    mesh: &'a [Finding],
}

pub(super) fn run(
    args: &Args,
    live: &Live,
    connection: &Connection,
    out: &mut Out,
) -> anyhow::Result<ExitStatus> {
    let checked = live.source.parse();
    let findings = match &checked {
        Ok(loaded) => mesh::findings(live, &loaded.plan, connection)?,
        // What the routes should be is not known.
        Err(_) => Vec::new(),
    };
    let broken = findings.iter().filter(|finding| finding.verdict == Verdict::Problem).count();
    let good = checked.is_ok() && broken == 0;
    if args.json {
        let mut file = check::Report::of(&checked);
        file.ok = good;
        out.json(&Report { object: live.to_string(), file, mesh: &findings })?;
    } else {
        check::print(&live.source, &checked, args.moment.get(), out)?;
        if checked.is_ok() {
            write_mesh(live, &findings, broken, out)?;
        }
    }
    Ok(if good { ExitStatus::Success } else { ExitStatus::Problems })
}

fn write_mesh(
    live: &Live,
    findings: &[Finding],
    broken: usize,
    out: &mut Out,
) -> anyhow::Result<()> {
    let ink = out.ink();
    writeln!(out, "\n{}", ink.bold("mesh"))?;
    for Finding { verdict, message, hint } in findings {
        let mark = match verdict {
            Verdict::Good => ink.good("✓"),
            Verdict::Notice => ink.note("!"),
            Verdict::Problem => ink.bad("✗"),
        };
        let text = wrap::wrapped("  * ", message).replacen('*', &mark.to_string(), 1);
        writeln!(out, "{text}")?;
        if !hint.is_empty() {
            writeln!(out, "{}", wrap::wrapped("    hint: ", hint))?;
        }
    }
    if broken > 0 {
        writeln!(out, "\n{} around {live}", ink.bad(count(broken, "problem")))?;
    }
    Ok(())
}
