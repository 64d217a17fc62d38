//! The changes of headers: removed ones, and those for the model and the client.

use std::io::Write;

use sidetrack::decide::{Decision, Outcome};
use sidetrack::effects::{Effects, Op, Reporter, removals};
use sidetrack::request::Request as _;

use super::Case;
use crate::out::Out;
use crate::words::visible;

/// Names and values in the order in which the filter writes them.
type Headers = Vec<(String, String)>;

pub(super) fn write_text(case: &Case<'_>, out: &mut Out) -> anyhow::Result<()> {
    let ink = out.ink();
    let mut groups = vec![("removed from the request", removed(case))];
    if let Outcome::Decided(decision) = case.outcome {
        groups.extend(changes(case, decision));
    }
    let width = groups
        .iter()
        .flat_map(|(_, headers)| headers)
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or(0);
    for (title, headers) in groups.iter().filter(|(_, headers)| !headers.is_empty()) {
        writeln!(out, "\n{}", ink.dim(title))?;
        for (name, value) in headers {
            let name = format!("{name}:");
            writeln!(out, "  {name:<width$} {}", visible(value), width = width + 1)?;
        }
    }
    if matches!(case.outcome, Outcome::Unmatched | Outcome::Unread(..) | Outcome::Skipped(..)) {
        writeln!(out, "\n{}", ink.dim("the filter adds no headers"))?;
    }
    Ok(())
}

fn removed(case: &Case<'_>) -> Headers {
    let sent = &case.request.headers;
    let names = &case.plan.settings.headers;
    let removed = removals(names, sent.iter().map(|(name, _)| name.as_bytes()));
    let sent = sent.iter().filter(|(name, _)| removed.contains(name));
    sent.map(|(name, value)| (name.clone(), text(value))).collect()
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

fn changes(case: &Case<'_>, decision: Decision) -> [(&'static str, Headers); 3] {
    let names = &case.plan.settings.headers;
    let effects = Effects::new(case.plan, decision, Reporter::Filter);
    let (mut to_model, mut inside, mut to_client) =
        (Headers::new(), Headers::new(), Headers::new());
    effects.on_request(&case.request, |effect| {
        let stays = effect.name == names.cluster || effect.name == names.mirror;
        let group = if stays { &mut inside } else { &mut to_model };
        group.push((effect.name.to_owned(), text(&effect.value)));
    });
    if let Some(body) = effects.new_body(&case.request) {
        Effects::on_new_body(&case.request, body.len(), |effect| {
            let value =
                if effect.op == Op::Remove { "(removed)".into() } else { text(&effect.value) };
            to_model.push((effect.name.to_owned(), value));
        });
        let edits = &case.experiment(decision.experiment).variants[decision.served].body;
        to_model.extend(
            edits.iter().map(|edit| (format!("body {}", edit.pointer), edit.value.clone())),
        );
    }
    let breaker = || super::gate(case.asked, case.plan, decision.experiment, decision.assigned);
    effects.on_response(breaker, case.request.is_https(), |effect| {
        to_client.push((effect.name.to_owned(), text(&effect.value)));
    });
    [("to the model", to_model), ("inside the proxy", inside), ("to the client", to_client)]
}
