//! The second act: a model fails, its users are served all the same, and it comes back.

use std::time::Duration;

use sidetrack_lab::Behaviour;

use super::act::{Act, Cue, Scene, State};
use super::check;
use super::crowd::Visit;
use super::sight::Sight;
use super::stage::Stage;
use super::strip;
use super::view;
use crate::out::Ink;
use crate::words::grouped;

/// How long the breaker stays open; the default of 30 s is long for an audience.
pub(super) const OPEN_FOR: &str = "4s";

/// How long after the trip the model is healed: well within [`OPEN_FOR`] and its jitter, so that it trips once.
const SICK: Duration = Duration::from_millis(2500);

/// The longest that any change of the breaker may take. The longest in fact is the first stage, with 5 % of 30 % of 500
/// requests a second: 20 of them take about 3 s.
const PATIENCE: Duration = Duration::from_secs(20);

/// All is well; the candidates answer 503; they are healed; all is well again.
pub(super) fn outage(stage: &Stage) -> Act {
    let healthy = || vec![Behaviour::Healthy; stage.models.len()];
    let failing = || {
        let baseline = stage.experiment().baseline.index();
        let of =
            |index| if index == baseline { Behaviour::Healthy } else { Behaviour::Status(503) };
        (0..stage.models.len()).map(of).collect::<Vec<_>>()
    };
    let scene = |now, models, until| Scene { now, models, until, recovered: false };
    let time = |millis| Cue::After(Duration::from_millis(millis));
    let breaker = |states| Cue::Breaker(states, PATIENCE);
    let mut scenes = vec![
        scene("both models are well", healthy(), time(3000)),
        scene(
            "the enhanced model answers 503",
            failing(),
            Cue::Breaker(&[State::Open], Duration::from_secs(5)),
        ),
        scene("its users get the baseline", failing(), Cue::After(SICK)),
        scene(
            "it is healed; the breaker does not know yet",
            healthy(),
            breaker(&[State::HalfOpen, State::Closed]),
        ),
        scene("it is tried by some of its users", healthy(), breaker(&[State::Closed])),
        scene("it has its users back", healthy(), time(500)),
        scene("it has its users back", healthy(), time(3500)),
    ];
    if let Some(last) = scenes.last_mut() {
        last.recovered = true;
    }
    Act {
        title: "A model fails",
        story: "The enhanced model starts to answer 503. The breaker hands its users to the\n\
                baseline, then lets them back in stages; failover saves those who hit a 503."
            .to_owned(),
        scenes,
        lends: true,
        least_rate: 500,
        visit: Visit::of_growing_crowd,
        show,
        line,
        checks: |sight| {
            let always = [check::answered(sight), check::counted(sight)];
            if sight.cut {
                return always.into();
            }
            let whole = [
                check::left(sight),
                check::tripped(sight),
                check::lent(sight),
                check::recovered(sight),
            ];
            let [answered, counted] = always;
            [answered].into_iter().chain(whole).chain([counted]).collect()
        },
        watched: false,
        footer: |_, _| Vec::new(),
        moral: |sight| {
            let users = grouped(sight.sums.lent_users);
            match sight.cut {
                true => "no caller saw a failure.".to_owned(),
                false => {
                    format!("{users} users got the baseline meanwhile; no caller saw a failure.")
                }
            }
        },
    }
}

fn show(sight: &Sight<'_>, ink: Ink) -> Vec<String> {
    let mut lines = view::traffic(sight, ink);
    lines.push(String::new());
    lines.extend(strip::lines(sight, ink));
    lines.push(String::new());
    lines.extend(effects(sight, ink));
    lines.push(String::new());
    lines.push(ink.dim(format!("   s Envoy's log of {}", sight.chronicle.subject)).to_string());
    lines.extend(sight.chronicle.transitions.iter().map(|transition| {
        let at = ink.dim(format!("{:>4.1}", transition.at.as_secs_f64()));
        format!("{at} {}", strip::painted(transition.phase.state(), &transition.text, ink))
    }));
    lines
}

/// What the failure did to whom.
fn effects(sight: &Sight<'_>, ink: Ink) -> Vec<String> {
    let sums = &sight.sums;
    let failures = grouped(sight.failures());
    let last = match sight.chronicle.last_after_fifth() {
        Some(Duration::ZERO) => format!("{failures}, and no request after the fifth"),
        Some(last) => format!("{failures}, the last one {} ms after the fifth", last.as_millis()),
        None => failures,
    };
    let lent = format!("{} requests of {} users", grouped(sums.lent), grouped(sums.lent_users));
    let callers = grouped(sums.failed);
    let callers = if sums.failed == 0 { ink.good(callers) } else { ink.bad(callers) };
    vec![
        format!("the model's 503s             {}", ink.bold(last)),
        format!("served by the baseline       {}", ink.bold(lent)),
        format!("failures that callers saw    {callers}"),
    ]
}

fn line(sight: &Sight<'_>) -> String {
    let sums = &sight.sums;
    let second = sums.slices.rchunks(4).next().unwrap_or_default();
    let (candidates, all) =
        second.iter().fold((0, 0), |(c, a), s| (c + s.of_candidates, a + s.answers));
    let state = match sight.breaker.state {
        State::Closed => "closed",
        State::HalfOpen => "half-open",
        State::Open => "open",
    };
    format!(
        "{:>4} s {:>8} requests {:>5.0}/s {:>3} failed   breaker {state:<9}   candidate {:>6}   {:>6} lent   {}",
        sight.elapsed.as_secs(),
        grouped(sums.requests),
        sight.rate,
        grouped(sums.failed),
        view::percent(view::fraction(candidates, all)),
        grouped(sums.lent),
        sight.now,
    )
}
