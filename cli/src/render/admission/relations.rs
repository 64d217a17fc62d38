//! The rules between values. They read a file whose single values are right, so they need no checks
//! of types.

use sidetrack::names::HEADER_PREFIX;
use sidetrack::plan::HeaderNames;

use super::Variable;
use super::cel::{self, Place, Says, millis};
use super::values::each_experiment;

/// A variable for each group of rules, and `problems`, the text of all problems.
pub(super) fn variables() -> Vec<Variable> {
    let groups = [
        ("names", names()),
        ("variants", variants()),
        ("weights", weights()),
        ("spans", spans()),
        ("units", units()),
        ("headers", headers()),
        ("phases", phases()),
        ("overrides", overrides()),
        ("layers", layers()),
        ("breakers", breakers()),
        ("lists", lists()),
    ];
    let sum: Vec<String> = groups.iter().map(|(name, _)| format!("variables.{name}")).collect();
    // Once, and not once for each experiment.
    let all_names = ("all_names", "variables.experiments.map(e, e.name)".to_owned());
    let mut variables: Vec<Variable> = std::iter::once(all_names)
        .chain(groups)
        .map(|(name, expression)| Variable { name: name.to_owned(), expression })
        .collect();
    let all = format!("variables.values != '' ? variables.values :\n{}", sum.join("\n+ "));
    variables.push(Variable { name: "problems".to_owned(), expression: all });
    variables
}

/// `e`, the experiment with the number `i`.
fn experiment() -> Place {
    Place::default().key("experiments").item("i")
}

/// A condition, and the problem if it does not hold.
fn unless(holds: &str, problem: &str) -> String {
    format!("({holds} ? '' : {problem})")
}

fn says(place: &Place, text: &str) -> String {
    place.problem(&[Says::Text(text)])
}

/// `place is VALUE, but …`
fn found(place: &Place, value: &str, text: &str) -> String {
    place.problem(&[Says::Text(" is "), Says::Computed(value), Says::Text(text)])
}

fn quoted(value: &str) -> String {
    format!("strings.quote({value})")
}

/// The names of all experiments differ.
fn names() -> String {
    let twice = found(
        &experiment().key("name"),
        &quoted("e.name"),
        ", but another experiment has this name already; names must differ",
    );
    each_experiment(&unless("variables.all_names.indexOf(e.name) == i", &twice))
}

/// The baseline is a variant, there is a candidate, the names differ, and all variants or none have
/// a cluster.
fn variants() -> String {
    let list = experiment().key("variants");
    let variant = list.item("j");
    let known = "e.variants.map(v, v.name)";
    let unknown = experiment().key("baseline").problem(&[
        Says::Text(" is "),
        Says::Computed(&quoted("e.baseline")),
        Says::Text(", but must be one of the variants: "),
        Says::Computed(&format!("{known}.join(', ')")),
    ]);
    let twice = found(
        &variant.key("name"),
        &quoted("v.name"),
        ", but another variant has this name already; names must differ",
    );
    let cluster = says(
        &variant.key("cluster"),
        " is missing, but other variants have a cluster; give one to all variants or to none",
    );
    let each = [
        unless(&format!("{known}.indexOf(v.name) == j"), &twice),
        unless("'cluster' in v || !e.variants.exists(o, 'cluster' in o)", &cluster),
    ];
    let parts = [
        unless("size(e.variants) == 0 || e.baseline in e.variants.map(v, v.name)", &unknown),
        unless(
            "size(e.variants) > 1",
            &says(&list, " must have the baseline and at least one candidate"),
        ),
        format!("e.variants.transformList(j, v, {}).join('')", each.join("\n+ ")),
    ];
    each_experiment(&parts.join("\n+ "))
}

/// Candidates have a weight or a rollout, and the baseline has neither weight nor reserve.
fn weights() -> String {
    let variant = experiment().key("variants").item("j");
    let both = says(
        &variant.key("weight"),
        " must not be set next to rollout, whose phases have the weights",
    );
    let missing = says(
        &variant.key("weight"),
        " is missing; a candidate needs a percentage from 0 to 100, or the experiment a rollout",
    );
    let of_baseline = |key: &str| {
        let rest = " must not be set for the baseline, which gets what the candidates leave";
        unless(&format!("!({} in v)", cel::text(key)), &says(&variant.key(key), rest))
    };
    let candidate = format!(
        "('rollout' in e ? {} : {})",
        unless("!('weight' in v)", &both),
        unless("'weight' in v", &missing)
    );
    each_experiment(&format!(
        "e.variants.transformList(j, v, v.name == e.baseline\n? {} + {}\n: {candidate}).join('')",
        of_baseline("weight"),
        of_baseline("reserve"),
    ))
}

/// The largest weight of the candidate `v`.
const LARGEST: &str = "('rollout' in e ? (e.rollout.phases.map(p, v.name in p.weights ? \
                       double(p.weights[v.name]) : 0.0) + [0.0]).max() : 'weight' in v ? double(v.weight) : 0.0)";

/// The spans of all candidates fit, and each holds its largest weight.
fn spans() -> String {
    let list = experiment().key("variants");
    let width = format!("('reserve' in v ? double(v.reserve) : {LARGEST})");
    let sum = format!("e.variants.filter(v, v.name != e.baseline).map(v, {width}).sum()");
    let over = list.problem(&[
        Says::Text(": the weights of the candidates, or their reserves, add up to "),
        Says::Computed(&format!("string(double(int({sum} * 10000.0 + 0.5)) / 10000.0)")),
        Says::Text(", but must be at most 100"),
    ]);
    let small = list.item("j").key("reserve").problem(&[
        Says::Text(" is "),
        Says::Computed("string(v.reserve)"),
        Says::Text(", but must be at least the largest weight, "),
        Says::Computed(&format!("string({LARGEST})")),
    ]);
    let holds = format!("!('reserve' in v) || double(v.reserve) >= {LARGEST}");
    each_experiment(&format!(
        "{}\n+ e.variants.transformList(j, v, {}).join('')",
        unless(&format!("{sum} < 100.00005"), &over),
        unless(&holds, &small)
    ))
}

/// An assignment by hash has a unit, no source twice, and mint only beside a cookie, once.
fn units() -> String {
    let list = experiment().key("unit");
    let source = list.item("j");
    let hashed = "('assignment' in e && e.assignment != 'user_hash')";
    let missing = says(
        &list,
        " is missing; assignment user_hash needs at least one source of the user's identity, such as header: x-user-id",
    );
    // Header names ignore case.
    let known = "e.unit.map(x, 'header' in x ? 'h' + x.header.lowerAscii() : 'cookie' in x ? 'c' + x.cookie : \
                 'query' in x ? 'q' + x.query : 'b' + x.body)";
    let each = [
        unless(
            &format!("{known}.indexOf({known}[j]) == j"),
            &says(&source, " is the same source as an earlier one; remove it"),
        ),
        unless(
            "!('mint' in u) || 'cookie' in u",
            &says(&source.key("mint"), " must be next to a cookie, which it sets"),
        ),
    ];
    let parts = [
        unless(&format!("{hashed} || 'unit' in e && size(e.unit) > 0"), &missing),
        format!(
            "('unit' in e\n? e.unit.transformList(j, u, {}).join('')\n+ {} : '')",
            each.join("\n+ "),
            unless(
                "e.unit.filter(u, 'mint' in u).size() < 2",
                &says(&list, " has mint twice; a client needs one identity"),
            )
        ),
    ];
    each_experiment(&parts.join("\n+ "))
}

/// An experiment reads no headers of the filter's own, and the header of an override is nothing else.
fn headers() -> String {
    let prefix = format!(
        "(has(variables.config.settings) && has(variables.config.settings.header_prefix) \
         ? variables.config.settings.header_prefix.lowerAscii() : {})",
        cel::text(HEADER_PREFIX)
    );
    let suffixes = cel::list(HeaderNames::SUFFIXES.iter().copied());
    let own = |name: &str| format!("{suffixes}.exists(s, {name}.lowerAscii() == {prefix} + s)");
    let rest = ", a header of the filter's own, which it removes from requests; use another name";
    let unit = found(&experiment().key("unit").item("j").key("header"), &quoted("u.header"), rest);
    let condition = found(
        &experiment().key("match").key("headers").item("j").key("name"),
        &quoted("h.name"),
        rest,
    );
    let header = experiment().key("overrides").key("header");
    let read = found(
        &header,
        &quoted("e.overrides.header"),
        ", which an experiment reads as a unit or a condition, but the filter removes it from requests; use another name",
    );
    let taken = found(
        &header,
        &quoted("e.overrides.header"),
        ", a header of the filter's own that has another meaning; use another name",
    );
    let reads = "variables.experiments.exists(o, \
                 ('unit' in o && o.unit.exists(u, 'header' in u && u.header.lowerAscii() == e.overrides.header.lowerAscii())) \
                 || ('match' in o && 'headers' in o.match && o.match.headers.exists(h, h.name.lowerAscii() == e.overrides.header.lowerAscii())))";
    let is_own = own("e.overrides.header");
    let force = format!("e.overrides.header.lowerAscii() == {prefix} + 'force'");
    let parts = [
        format!(
            "('overrides' in e && 'header' in e.overrides ? {}\n+ {} : '')",
            unless(&format!("!{is_own} || {force}"), &taken),
            unless(&format!("{is_own} || !{reads}"), &read)
        ),
        format!(
            "('unit' in e ? e.unit.transformList(j, u, {}).join('') : '')",
            unless(&format!("!('header' in u) || !{}", own("u.header")), &unit)
        ),
        format!(
            "('match' in e && 'headers' in e.match ? e.match.headers.transformList(j, h, {}).join('') : '')",
            unless(&format!("!{}", own("h.name")), &condition)
        ),
    ];
    each_experiment(&parts.join("\n+ "))
}

/// A rollout has phases with different names, all but the last with a length, and weights of candidates.
fn phases() -> String {
    let list = experiment().key("rollout").key("phases");
    let phase = list.item("j");
    let weight = phase.key("weights").computed("k");
    let twice = found(
        &phase.key("name"),
        &quoted("p.name"),
        ", but another phase has this name already; names must differ",
    );
    let unknown = weight.problem(&[
        Says::Text(" is not a candidate; expected one of: "),
        Says::Computed("e.variants.filter(v, v.name != e.baseline).map(v, v.name).join(', ')"),
    ]);
    let each = [
        unless("e.rollout.phases.map(x, x.name).indexOf(p.name) == j", &twice),
        unless(
            "'for' in p || j == size(e.rollout.phases) - 1",
            &says(
                &phase.key("for"),
                " is missing; only the last phase may go without, for example for: 1h",
            ),
        ),
        format!(
            "p.weights.map(k, {}).join('')",
            unless("k != e.baseline && e.variants.exists(v, v.name == k)", &unknown)
        ),
    ];
    each_experiment(&format!(
        "('rollout' in e\n? {}\n+ e.rollout.phases.transformList(j, p, {}).join('') : '')",
        unless("size(e.rollout.phases) > 0", &says(&list, " must have at least one phase")),
        each.join("\n+ ")
    ))
}

/// Overrides name variants, and a token is beside a header.
fn overrides() -> String {
    let place = experiment().key("overrides");
    let unknown = place.key("units").computed("k").problem(&[
        Says::Text(" is "),
        Says::Computed(&quoted("e.overrides.units[k]")),
        Says::Text(", but must be one of the variants: "),
        Says::Computed("e.variants.map(v, v.name).join(', ')"),
    ]);
    let parts = [
        unless(
            "!('token_sha256' in e.overrides) || 'header' in e.overrides",
            &says(&place.key("token_sha256"), " must be next to header, which it guards"),
        ),
        format!(
            "('units' in e.overrides ? e.overrides.units.map(k, {}).join('') : '')",
            unless("e.overrides.units[k] in e.variants.map(v, v.name)", &unknown)
        ),
    ];
    each_experiment(&format!("('overrides' in e\n? {} : '')", parts.join("\n+ ")))
}

/// The slots of a layer are not empty, and no two experiments of the layer share any.
fn layers() -> String {
    let place = experiment().key("layer");
    let empty = place.problem(&[
        Says::Text(".from is "),
        Says::Computed("string(e.layer.from)"),
        Says::Text(", but must be less than to, "),
        Says::Computed("string(e.layer.to)"),
    ]);
    let shared = place.problem(&[
        Says::Text(" has slots of the layer "),
        Says::Computed(&quoted("e.layer.name")),
        Says::Text(
            " that another experiment has as well; experiments of one layer must not overlap",
        ),
    ]);
    let overlap = "variables.experiments.exists(k, o, k < i && 'layer' in o && o.layer.name == e.layer.name \
                   && e.layer.from < o.layer.to && o.layer.from < e.layer.to)";
    each_experiment(&format!(
        "('layer' in e\n? {}\n+ {} : '')",
        unless("e.layer.from < e.layer.to", &empty),
        unless(&format!("!{overlap}"), &shared)
    ))
}

/// A breaker opens at most as long as it may.
fn breakers() -> String {
    let place = experiment().key("breaker");
    let long = place.problem(&[
        Says::Text(".open_for is "),
        Says::Computed("('open_for' in e.breaker ? e.breaker.open_for : '30s')"),
        Says::Text(", but must be at most max_open_for, "),
        Says::Computed("('max_open_for' in e.breaker ? e.breaker.max_open_for : '5m')"),
    ]);
    let open = format!("('open_for' in e.breaker ? {} : 30000)", millis("e.breaker.open_for"));
    let most =
        format!("('max_open_for' in e.breaker ? {} : 300000)", millis("e.breaker.max_open_for"));
    let certain = found(
        &place.key("confidence"),
        "string(e.breaker.confidence)",
        ", but must be at most 99.9999",
    );
    each_experiment(&format!(
        "('breaker' in e\n? {}\n+ {} : '')",
        unless(&format!("{open} <= {most}"), &long),
        unless("!('confidence' in e.breaker) || e.breaker.confidence < 100", &certain)
    ))
}

/// A list of conditions has an entry: an empty one could mean all or nothing.
fn lists() -> String {
    let place = experiment().key("match");
    let rest = " is an empty list; to match everything, remove the key";
    let each: Vec<String> = ["hosts", "methods", "headers", "body"]
        .iter()
        .map(|key| {
            unless(
                &format!("!('{key}' in e.match) || size(e.match.{key}) > 0"),
                &says(&place.key(key), rest),
            )
        })
        .collect();
    each_experiment(&format!("('match' in e\n? {} : '')", each.join("\n+ ")))
}
