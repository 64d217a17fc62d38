//! `sidetrack demo`: an A/B test on a real Envoy on this machine, in half a minute.
//!
//! Each scenario runs on its own [`Testbed`]: an Envoy with the filter, and a model stub per variant. Only the traffic and
//! the models' health are scripted; every number is measured, and a failed check makes the demo fail.
//!
//! Dependencies point one way: `draw` → `observe` → `input`; `runner` connects them.

mod draw;
mod input;
mod observe;
mod runner;
mod testbed;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args as Arguments, ValueEnum};

use crate::filter::Filter;
use crate::interrupt::Interrupt;
use crate::local;
use crate::out::Out;
use crate::screen::Screen;
use draw::{Targets, Traffic};
use input::{Kind, OPEN_FOR, Scenario};
use runner::{Observers, background_load, run as run_scenario};
use testbed::{Options, Testbed, Variation};

/// The traffic while the user tries commands. Each request is a line in the exposure log, so it ends by itself.
const BACKGROUND: Traffic = Traffic { rate: 500, length: Duration::from_secs(600) };

/// Watch an A/B test in a real Envoy on this machine
///
/// Starts two model stubs and an Envoy with the filter, sends traffic, and shows the split live. Then one model fails:
/// its breaker moves its users to the baseline and, after the recovery, back. On a terminal it stays up afterwards, so
/// that you can try commands. It leaves no processes or files behind. Exit 1 if a check failed.
#[derive(Arguments)]
#[command(after_help = "Example:\n  sidetrack demo --for 10s --rate 1000")]
pub(crate) struct Args {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    proxy: local::Options,
    /// What to show: the split of live traffic, the failure of a model, or both
    #[arg(long, value_name = "NAME", default_value = "all")]
    scenario: Scenarios,
    /// Length of the split
    #[arg(long = "for", value_name = "TIME", default_value = "20s", value_parser = length)]
    length: Duration,
    /// Stay up afterwards until Ctrl-C; the default on a terminal
    #[arg(long, overrides_with = "no_keep")]
    keep: bool,
    /// End after the checks; the default without a terminal
    #[arg(long)]
    no_keep: bool,
    /// Requests per second, at least 500 for the failure of a model
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    rate: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenarios {
    Split,
    Outage,
    All,
}

impl Scenarios {
    const fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Split => &[Kind::Split],
            Self::Outage => &[Kind::Outage],
            Self::All => &[Kind::Split, Kind::Outage],
        }
    }
}

fn length(text: &str) -> Result<Duration, String> {
    let length = humantime::parse_duration(text).ok();
    let allowed = Duration::from_secs(1)..=Duration::from_secs(3600);
    length
        .filter(|length| allowed.contains(length))
        .ok_or_else(|| "expected a time from 1s to 1h, such as 20s or 5m".to_owned())
}

impl Args {
    fn options(&self, kind: Kind) -> Options {
        let variation = match kind {
            Kind::Split => Variation::default(),
            Kind::Outage => Variation { open_for: Some(OPEN_FOR), failover: true },
        };
        Options { filter: self.filter.clone(), proxy: self.proxy.clone(), variation }
    }

    fn scenario(&self, kind: Kind, testbed: &Testbed) -> Scenario {
        let models = testbed.models.len();
        match kind {
            Kind::Split => Scenario::split(models, self.length),
            Kind::Outage => Scenario::outage(models, testbed.experiment().baseline.index()),
        }
    }
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run_all(args, out))
}

/// Starts a testbed for each scenario, runs the scenario, and stops the testbed, also after an error.
async fn run_all(args: &Args, out: &mut Out) -> anyhow::Result<ExitCode> {
    let mut interrupt = Interrupt::listen()?;
    let mut screen = Screen::open(out);
    let ink = screen.ink();
    let mut passed = true;
    let kinds = args.scenario.kinds();
    for (index, kind) in kinds.iter().enumerate() {
        if screen.is_live() {
            screen.frame(&[format!(" {}", ink.dim("Starting two models and Envoy …"))])?;
        }
        let options = args.options(*kind);
        let testbed = tokio::select! {
            testbed = Testbed::start(&options) => testbed?,
            () = interrupt.arrives() => {
                anyhow::ensure!(index > 0, "interrupted before the first result");
                break;
            }
        };
        let is_last = index + 1 == kinds.len();
        let ended = show(args, *kind, is_last, &testbed, &mut screen, &mut interrupt).await;
        testbed.stop().await?;
        let ended = ended?;
        passed &= ended.passed;
        if ended.interrupted {
            break;
        }
        if !is_last {
            screen.write(&[String::new()])?;
        }
    }
    let stopped = ink.dim("Envoy and the models have stopped; no files are left.");
    screen.write(&[format!("\n {stopped}")])?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

struct Ended {
    passed: bool,
    interrupted: bool,
}

/// Runs a scenario and, after the last one, keeps the testbed up for the user.
async fn show(
    args: &Args,
    kind: Kind,
    is_last: bool,
    testbed: &Testbed,
    screen: &mut Screen<'_>,
    interrupt: &mut Interrupt,
) -> anyhow::Result<Ended> {
    let ink = screen.ink();
    if !screen.is_live() {
        screen.write(&draw::header(&testbed.version, testbed.workers, testbed.addr, ink))?;
    }
    let scenario = args.scenario(kind, testbed);
    let observers = Observers::start(kind, testbed).await?;
    let finished =
        run_scenario(&scenario, testbed, &observers, args.rate, screen, interrupt).await?;
    screen.write(&draw::verdict(&finished.last, &finished.checks, ink))?;
    let passed = finished.has_passed();
    let interrupted = finished.last.interrupted;
    let keep = args.keep || (screen.is_live() && !args.no_keep);
    if keep && is_last && !interrupted {
        keep_up(kind, testbed, screen, interrupt).await?;
    } else if is_last && !interrupted && !args.no_keep {
        let hint = "With --keep it stays up, so that you can try commands.";
        screen.write(&[format!(" {}", ink.dim(hint))])?;
    }
    Ok(Ended { passed, interrupted })
}

/// Writes the commands to try, and waits for the signal.
async fn keep_up(
    kind: Kind,
    testbed: &Testbed,
    screen: &mut Screen<'_>,
    interrupt: &mut Interrupt,
) -> anyhow::Result<()> {
    let traffic = (kind == Kind::Outage).then_some(BACKGROUND);
    let load =
        traffic.as_ref().map(|Traffic { rate, length }| background_load(testbed, *rate, *length));
    let load = load.transpose()?;
    let targets = Targets {
        plan: &testbed.plan,
        addr: testbed.addr,
        admin: testbed.envoy.admin_addr(),
        models: testbed.models.iter().map(|model| model.addr()).collect(),
        exposures: &testbed.exposures(),
        traffic,
    };
    screen.write(&draw::commands(&targets, screen.ink()))?;
    interrupt.arrives().await;
    drop(load);
    Ok(())
}
