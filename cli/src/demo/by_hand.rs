//! How to go on by hand: commands to copy, for the Envoy that still runs.

use std::time::Duration;

use sidetrack::names::metric::{BREAKER_STATE, PREFIX};
use sidetrack_lab::{Load, LoadOptions};

use super::crowd::{PATH, Visit};
use super::stage::Stage;
use crate::out::Ink;
use crate::words::variant;

/// How many users a second keep coming, and for how long: each one is a line in the log of exposures.
const RATE: u32 = 500;
const CROWD: Duration = Duration::from_secs(600);

/// The commands, and where everything listens.
pub(super) fn lines(stage: &Stage, ink: Ink) -> Vec<String> {
    let experiment = stage.experiment();
    let names = &stage.plan.settings.headers;
    let admin = stage.envoy.admin_addr();
    let infer = format!("curl -si http://{}{PATH} -d '{{}}'", stage.addr);
    let user = "-H 'x-user-id: 4711'";
    let mut commands = vec![(
        "A user. Ask as often as you like: the same model answers.",
        format!("{infer} {user}"),
    )];
    if let Some((header, candidate)) =
        experiment.overrides.header.as_ref().zip(experiment.candidates().next())
    {
        let force = format!("-H '{header}: {}'", variant(experiment, candidate));
        commands.push((
            "A tester who wants the enhanced model, whoever they are.",
            format!("{infer} {force}"),
        ));
    }
    let debug = format!("{infer} {user} -H '{}: 1' | grep {}", names.debug, names.prefix);
    commands.push(("Why this model?", debug));
    let metrics = format!("curl -s http://{admin}/stats/prometheus | grep '^{PREFIX}'");
    commands.push(("The metrics, as Prometheus reads them.", metrics));
    let exposures = format!("tail -n 3 {}", stage.exposures().display());
    commands.push(("Who got what: a line for each request, for the analysis.", exposures));

    let comes = stage.set.open_for.is_some();
    if let Some(model) = stage.models.get(stage.candidate().index()).filter(|_| comes) {
        let order = |status| {
            format!("curl -s -X POST 'http://{}/_stub/behavior?status={status}'", model.addr())
        };
        let state = format!("curl -s http://{admin}/stats/prometheus | grep ^{BREAKER_STATE}");
        commands.push(("Make the enhanced model fail yourself.", order(503)));
        commands
            .push(("In a second its breaker is open (2), and its users get the baseline.", state));
        commands.push((
            "Heal it, and ask again: half-open (1), in half a minute closed (0).",
            order(200),
        ));
    }

    let mut lines = vec![String::new(), format!(" {}", ink.bold("Now try it by hand"))];
    for (what, command) in commands {
        lines.push(String::new());
        lines.push(format!(" {}", ink.dim(format!("# {what}"))));
        lines.push(command);
    }
    lines.push(String::new());
    let models = experiment.variants.iter().zip(&stage.models);
    let models: Vec<String> =
        models.map(|(variant, model)| format!("{} {}", variant.name, model.addr())).collect();
    lines.push(format!(
        " {} {}   {} {admin}",
        ink.dim("Envoy"),
        stage.addr,
        ink.dim("its admin page")
    ));
    lines.push(format!(" {} {}", ink.dim("models"), models.join("   ")));
    lines.push(String::new());
    if comes {
        let minutes = CROWD.as_secs() / 60;
        lines.push(format!(
            " {}",
            ink.dim(format!("The users keep coming, {RATE} a second, for {minutes} minutes."))
        ));
    }
    lines.push(format!(" {}", ink.note("Everything runs until you press Ctrl-C.")));
    lines
}

/// The users who keep coming, if this stage's breaker is to be tried: without traffic it would learn nothing.
pub(super) fn crowd(stage: &Stage) -> anyhow::Result<Option<Load>> {
    let visit = Visit::of_growing_crowd;
    let options = LoadOptions {
        duration: Some(CROWD),
        ..LoadOptions::new(stage.addr, f64::from(RATE), move |n| visit(n).request())
    };
    stage.set.open_for.map(|_| Load::run(options)).transpose()
}
