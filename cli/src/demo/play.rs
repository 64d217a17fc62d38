//! Plays an act: sends its traffic while it is shown, and judges it.

use std::sync::Arc;
use std::time::Duration;

use sidetrack_lab::{Behaviour, Load, LoadOptions};

use super::act::Act;
use super::check::Check;
use super::chronicle::Chronicle;
use super::interrupt::Interrupt;
use super::ledger::Ledger;
use super::oracle::Explained;
use super::screen::Screen;
use super::show::Show;
use super::sight::{Pace, Sight};
use super::stage::Stage;
use crate::out::Ink;

/// The most requests under way at once.
pub(super) const CONNECTIONS: u8 = 16;
/// What came of an act.
pub(super) struct Played<'a> {
    pub(super) checks: Vec<Check>,
    /// Its end.
    pub(super) last: Sight<'a>,
}

impl Played<'_> {
    /// Whether all was well.
    pub(super) fn is_good(&self) -> bool {
        self.checks.iter().all(|check| check.holds)
    }

    /// What it comes down to.
    pub(super) fn verdict(&self, act: &Act, ink: Ink) -> Vec<String> {
        let failed = self.checks.iter().filter(|check| !check.holds).count();
        let early = if self.last.cut { " (interrupted)" } else { "" };
        let mut lines = vec![String::new()];
        if failed == 0 {
            let good = format!("All is well{early}: {}", (act.moral)(&self.last));
            lines.push(format!(" {}", ink.good(good)));
        } else {
            lines.push(format!(
                " {}",
                ink.bad(format!("{failed} of {} checks failed{early}.", self.checks.len()))
            ));
            let wrong = &self.last.sums.first_wrong;
            lines.extend(wrong.as_ref().map(|wrong| format!(" The first thing wrong: {wrong}")));
        }
        if self.last.is_starved() {
            let (rate, asked) = (self.last.rate, self.last.asked);
            let slow = format!(
                "Only {rate:.0} of the {asked} requests a second that were to be sent: this machine is busy."
            );
            lines.push(format!(" {}", ink.note(slow)));
        }
        lines
    }
}

/// What is known before an act begins.
pub(super) struct Prologue {
    ledger: Arc<Ledger>,
    explained: Explained,
}

impl Prologue {
    /// Asks about one user.
    pub(super) async fn ask(act: &Act, stage: &Stage) -> anyhow::Result<Self> {
        let models = stage.models.iter().map(|model| model.name().to_owned()).collect();
        let explained = Explained::ask(stage).await?;
        let ledger = Ledger::new(stage.plan.clone(), models, act.lends);
        ledger.enter(&explained.visit, &explained.request, &Ok(explained.answer.clone()));
        Ok(Self { ledger: Arc::new(ledger), explained })
    }
}

/// Plays an act to its end, or until the user has seen enough.
pub(super) async fn play<'a>(
    act: &'a Act,
    stage: &'a Stage,
    prologue: &'a Prologue,
    rate: u32,
    screen: &mut Screen<'_>,
    interrupt: &mut Interrupt,
) -> anyhow::Result<Played<'a>> {
    let Prologue { ledger, explained } = prologue;
    let rate = rate.max(act.least_rate);
    let (chronicle, pace) = (Chronicle::begin(stage), Pace::new());
    let (now, drawn) = ("", None);
    let mut show =
        Show { act, stage, screen, ledger, explained, rate, chronicle, pace, now, drawn };
    let load = Load::run(options(act, stage, rate, ledger))?;
    let interrupted = tokio::select! {
        played = show.scenes() => played.map(|()| false)?,
        () = interrupt.arrives() => true,
    };
    load.stop().await;
    stage.models.iter().for_each(|model| model.set(Behaviour::Healthy));
    let last = show.end(interrupted).await?;
    let checks = (act.checks)(&last);
    Ok(Played { checks, last })
}

fn options(act: &Act, stage: &Stage, rate: u32, ledger: &Arc<Ledger>) -> LoadOptions {
    let visit = act.visit;
    let ledger = Arc::clone(ledger);
    LoadOptions {
        connections: usize::from(CONNECTIONS),
        timeout: Duration::from_secs(5),
        on_answer: Arc::new(move |n, request, answer| ledger.enter(&visit(n), request, &answer)),
        ..LoadOptions::new(stage.addr, f64::from(rate), move |n| visit(n).request())
    }
}
