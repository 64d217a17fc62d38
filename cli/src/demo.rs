//! `sidetrack demo`: see it work, on this machine, in half a minute.
//!
//! A demo is a list of acts, each on a stage of its own: a real Envoy with the filter, and a model server for each
//! variant. Nothing that is shown is scripted but the traffic and the models' health; every number is measured, and
//! a demo that sees something wrong says so and fails.

mod act;
mod by_hand;
mod check;
mod chronicle;
mod crowd;
mod interrupt;
mod ledger;
mod oracle;
mod outage;
mod pages;
mod play;
mod readings;
mod screen;
mod show;
mod sight;
mod stage;
mod strip;
mod view;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args as Arguments, ValueEnum};

use crate::out::Out;
use act::live_test;
use interrupt::Interrupt;
use play::{Prologue, play};
use screen::Screen;
use stage::{Set, Stage};

/// Watch an A/B test in a real Envoy on this machine
///
/// Starts two models, an Envoy with the filter before them and a crowd of users, and shows live who gets which model;
/// then one model fails, and its breaker moves its users away and, when it is well again, back. On a terminal it stays up afterwards, so that you can ask it yourself. Nothing is left behind when it ends. Exit 1
/// when something that it saw was wrong.
#[derive(Arguments)]
#[command(after_help = "Example:\n  sidetrack demo --for 10s --rate 1000")]
pub(crate) struct Args {
    /// The filter
    #[arg(long, value_name = "PATH", default_value = "dist/sidetrack.wasm")]
    wasm: PathBuf,
    /// The Envoy program [default: the one that `make setup` fetches, or on PATH]
    #[arg(long, value_name = "PATH")]
    envoy: Option<PathBuf>,
    /// What to show: 1 is the live test, 2 is a model's failure and recovery
    #[arg(long, value_name = "ACTS", default_value = "all")]
    acts: Acts,
    /// How long the live test takes
    #[arg(long = "for", value_name = "TIME", default_value = "20s", value_parser = length)]
    length: Duration,
    /// Stay up afterwards until Ctrl-C; the default on a terminal
    #[arg(long, overrides_with = "no_keep")]
    keep: bool,
    /// End at once; the default without a terminal
    #[arg(long)]
    no_keep: bool,
    /// Worker threads of Envoy
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: u32,
    /// Requests per second; the second act takes at least 500
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    rate: u32,
    /// Where Envoy takes requests; port 0 is a free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where Envoy's admin page is; port 0 is a free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    admin: SocketAddr,
}

/// Which acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Acts {
    #[value(name = "1")]
    LiveTest,
    #[value(name = "2")]
    Outage,
    All,
}

impl Acts {
    const fn list(self) -> &'static [Self] {
        match self {
            Self::LiveTest => &[Self::LiveTest],
            Self::Outage => &[Self::Outage],
            Self::All => &[Self::LiveTest, Self::Outage],
        }
    }

    /// The stage that an act needs.
    const fn set(self) -> Set {
        match self {
            Self::Outage => Set { open_for: Some(outage::OPEN_FOR), failover: true },
            Self::LiveTest | Self::All => Set { open_for: None, failover: false },
        }
    }
}

fn length(text: &str) -> Result<Duration, String> {
    let length =
        humantime::parse_duration(text).map_err(|error| format!("{error}; allowed: 20s, 5m"))?;
    let allowed = Duration::from_secs(1)..=Duration::from_secs(3600);
    if allowed.contains(&length) { Ok(length) } else { Err("allowed: 1s to 1h".to_owned()) }
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(perform(args, out))
}

/// Sets the stage for each act, plays it, and clears the stage, whatever happened.
async fn perform(args: &Args, out: &mut Out) -> anyhow::Result<ExitCode> {
    let mut interrupt = Interrupt::listen()?;
    let mut screen = Screen::open(out);
    let ink = screen.ink();
    let mut good = true;
    let acts = args.acts.list();
    for (index, act) in acts.iter().enumerate() {
        if screen.is_live() {
            screen.frame(&[format!(" {}", ink.dim("Starting two models and Envoy …"))])?;
        }
        let stage = tokio::select! {
            stage = Stage::start(args, act.set()) => stage?,
            () = interrupt.arrives() => {
                anyhow::ensure!(index > 0, "interrupted before there was anything to see");
                break;
            }
        };
        let is_last = index + 1 == acts.len();
        let shown = show(args, *act, is_last, &stage, &mut screen, &mut interrupt).await;
        stage.stop().await?;
        let shown = shown?;
        good &= shown.good;
        if shown.interrupted {
            break;
        }
        if !is_last {
            screen.write(&[String::new()])?;
        }
    }
    let stopped = ink.dim("Envoy and the models have been stopped; nothing is left.");
    screen.write(&[format!("\n {stopped}")])?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

struct Shown {
    good: bool,
    interrupted: bool,
}

/// Plays an act, and after the last one lets the user play.
async fn show(
    args: &Args,
    act: Acts,
    is_last: bool,
    stage: &Stage,
    screen: &mut Screen<'_>,
    interrupt: &mut Interrupt,
) -> anyhow::Result<Shown> {
    let ink = screen.ink();
    if !screen.is_live() {
        screen.write(&view::head(stage, ink))?;
    }
    let act =
        if act == Acts::Outage { outage::outage(stage) } else { live_test(stage, args.length) };
    let prologue = Prologue::ask(&act, stage).await?;
    let played = play(&act, stage, &prologue, args.rate, screen, interrupt).await?;
    screen.write(&played.verdict(&act, ink))?;
    let good = played.is_good();
    let interrupted = played.last.cut;
    let keep = args.keep || (screen.is_live() && !args.no_keep);
    if keep && is_last && !interrupted {
        let crowd = by_hand::crowd(stage)?;
        screen.write(&by_hand::lines(stage, ink))?;
        interrupt.arrives().await;
        drop(crowd);
    } else if is_last && !interrupted {
        let hint = "With --keep it stays up, so that you can ask it yourself.";
        screen.write(&[format!(" {}", ink.dim(hint))])?;
    }
    Ok(Shown { good, interrupted })
}
