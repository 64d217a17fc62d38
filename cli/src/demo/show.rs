//! An act while it is shown: directs the models, looks what comes of it, and draws it.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::act::{Act, Cue, Scene, State};
use super::chronicle::Chronicle;
use super::ledger::Ledger;
use super::oracle::Explained;
use super::play::CONNECTIONS;
use super::readings::Readings;
use super::screen::Screen;
use super::sight::{Pace, Sight, per_second};
use super::stage::Stage;
use super::view;
use crate::fault::Fault;

/// How often Envoy is asked.
const LOOK: Duration = Duration::from_millis(100);
/// How often a frame is drawn.
const FRAME: Duration = Duration::from_millis(200);
/// How often a line is written where nobody watches.
const LINE: Duration = Duration::from_secs(1);
/// How long the counts may take to become equal after the last answer.
const SETTLE: Duration = Duration::from_secs(2);

/// An act while it is shown.
pub(super) struct Show<'a, 's, 'o> {
    pub(super) act: &'a Act,
    pub(super) stage: &'a Stage,
    pub(super) screen: &'s mut Screen<'o>,
    pub(super) ledger: &'a Ledger,
    pub(super) explained: &'a Explained,
    pub(super) rate: u32,
    pub(super) chronicle: Chronicle,
    pub(super) pace: Pace,
    /// What goes on.
    pub(super) now: &'static str,
    /// When the last frame was drawn.
    pub(super) drawn: Option<Instant>,
}

impl<'a> Show<'a, '_, '_> {
    /// Plays scene after scene, as long as each one ends as it should.
    pub(super) async fn scenes(&mut self) -> anyhow::Result<()> {
        if !self.screen.is_live() {
            self.drawn = Some(Instant::now());
        }
        for scene in &self.act.scenes {
            if !self.scene(scene).await? {
                break;
            }
        }
        Ok(())
    }

    /// Plays a scene. Whether what it waits for has come to pass.
    async fn scene(&mut self, scene: &Scene) -> anyhow::Result<bool> {
        self.now = scene.now;
        self.stage
            .models
            .iter()
            .zip(&scene.models)
            .for_each(|(model, behaviour)| model.set(*behaviour));
        self.chronicle
            .behaves(scene.models.get(self.stage.candidate().index()).copied().unwrap_or_default());
        if scene.recovered {
            self.ledger.recovers();
        }
        let begun = Instant::now();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            looks.tick().await;
            let state = self.look().await?;
            match scene.until {
                Cue::After(time) if begun.elapsed() >= time => return Ok(true),
                Cue::Breaker(wanted, _) if wanted.contains(&state) => return Ok(true),
                Cue::Breaker(_, patience) if begun.elapsed() >= patience => return Ok(false),
                _ => {}
            }
        }
    }

    /// Looks what has happened, and shows it now and then.
    async fn look(&mut self) -> anyhow::Result<State> {
        let before = self.ledger.sums().requests;
        let readings = self.readings().await?;
        let state = readings.breaker.state;
        let every = if self.screen.is_live() { FRAME } else { LINE };
        if self.drawn.is_some_and(|drawn| drawn.elapsed() < every) {
            return Ok(state);
        }
        // In step with the clock, not with the looks.
        self.drawn = self
            .drawn
            .map(|drawn| (drawn + every).max(Instant::now() - LOOK))
            .or_else(|| Some(Instant::now()));
        let mut sight = self.sight(readings);
        sight.rate = self.pace.at(sight.elapsed, sight.sums.requests);
        sight.under_way = u64::from(CONNECTIONS) + sight.sums.requests - before;
        if self.screen.is_live() {
            let checks = (self.act.checks)(&sight);
            let ink = self.screen.ink();
            let frame = view::frame(self.act, &sight, &checks, false, ink);
            self.screen.frame(&[view::head(self.stage, ink), frame].concat())?;
        } else {
            self.screen.write(&[(self.act.line)(&sight)])?;
        }
        Ok(state)
    }

    /// Waits until all have counted, and shows the last moment for good.
    pub(super) async fn end(&mut self, cut: bool) -> anyhow::Result<Sight<'a>> {
        let deadline = Instant::now() + SETTLE;
        let elapsed = self.chronicle.elapsed();
        let mut sight = loop {
            let readings = self.readings().await?;
            let sight = self.sight(readings);
            if sight.counts_agree() || Instant::now() > deadline {
                break sight;
            }
            sleep(LOOK).await;
        };
        sight.elapsed = elapsed;
        sight.cut = cut;
        sight.rate = per_second(sight.sums.requests, elapsed);
        let checks = (self.act.checks)(&sight);
        let ink = self.screen.ink();
        // Where lines were written, the head stands above them.
        let above =
            if self.screen.is_live() { view::head(self.stage, ink) } else { vec![String::new()] };
        let frame = view::frame(self.act, &sight, &checks, true, ink);
        self.screen.write(&[above, frame].concat())?;
        Ok(sight)
    }

    /// What the others counted, and what Envoy's log says.
    async fn readings(&mut self) -> anyhow::Result<Readings> {
        let stage = self.stage;
        let readings = stage.readings().await;
        if !stage.envoy.is_running() {
            return Err(Fault(format!("Envoy has died\n{}", stage.envoy.log_tail(20))).into());
        }
        if let Some(model) = stage.models.get(stage.candidate().index()) {
            self.chronicle.read(&stage.envoy, model);
        }
        readings.context("asking Envoy for its metrics")
    }

    /// This moment.
    fn sight(&self, readings: Readings) -> Sight<'a> {
        let Readings { counted, breaker } = readings;
        Sight {
            stage: self.stage,
            explained: self.explained,
            elapsed: self.chronicle.elapsed(),
            length: self.act.length(),
            cut: false,
            now: self.now,
            rate: 0.0,
            asked: self.rate,
            sums: self.ledger.sums(),
            counted,
            breaker,
            chronicle: self.chronicle.clone(),
            under_way: 0,
        }
    }
}
