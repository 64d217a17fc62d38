//! One experiment: who takes part, who is drawn, who may override.

use super::Checker;
use crate::config::decode::{did_you_mean, or_else};
use crate::config::node::{Node, quoted};
use crate::config::problem::{Code, Path};
use crate::config::raw;
use crate::config::value::{HeaderName, Name, Object};
use crate::draw::{Draw, Purpose, sha256};
use crate::matching::{Header, Host, Match, Text, ValueRule};
use crate::plan::{
    Assignment, Breaker, BreakerMode, Experiment, Layer, Mint, Mirror, MissingUnit, Overrides,
    PerVariant, Slow, Variant, VariantId,
};
use crate::quantity::{Millis, Ppm};
use crate::unit::UnitSource;

impl Checker<'_> {
    pub(super) fn experiment(&mut self, raw: &raw::Experiment, at: &Path<'_>) -> Experiment {
        let name = raw.name.get().map_or_else(String::new, |name| name.0.clone());
        let salt = raw.salt.get().map_or_else(|| name.clone(), |salt| salt.0.clone());
        let assignment = *raw.assignment.get().unwrap_or(&Assignment::UserHash);
        let cast = self.cast(raw, at);
        let conditions = self.conditions(raw, &at.key("match"));
        self.rewrites(raw, conditions.path.as_ref(), &at.key("variants"));
        let overrides = self.overrides(raw, &cast.variants, &at.key("overrides"));
        Experiment {
            enabled: *raw.enabled.get().unwrap_or(&true),
            conditions,
            mint: mint(raw),
            units: self.units(raw, assignment, &at.key("unit")),
            missing_unit: *raw.missing_unit.get().unwrap_or(&MissingUnit::Baseline),
            assignment,
            baseline: cast.baseline,
            places: super::bodies::places(&cast.variants),
            variants: cast.variants,
            layout: cast.layout,
            schedule: cast.schedule,
            breaker: self.breaker(raw, &at.key("breaker")),
            mirror: raw.mirror.get().and_then(|mirror| {
                Some(Mirror {
                    cluster: mirror.cluster.get()?.0.clone(),
                    percent: mirror.percent.get().map_or(Ppm::ALL, |percent| percent.0),
                    draw: Draw::new(Purpose::Mirror, &salt),
                })
            }),
            layer: self.layer(raw, &at.key("layer")),
            overrides,
            analysis: raw.analysis.get().map(|analysis| plan_digest(&analysis.0)),
            arm: Draw::new(Purpose::Arm, &salt),
            probe: Draw::new(Purpose::Probe, &salt),
            exposure: Draw::new(Purpose::Exposure, &salt),
            name,
            salt,
        }
    }

    fn conditions(&mut self, raw: &raw::Experiment, at: &Path<'_>) -> Match {
        let Some(raw) = raw.conditions.get() else { return Match::default() };
        let list_at = at.key("hosts");
        let hosts = self.filled(&raw.hosts, &list_at, "hosts");
        let methods = self.filled(&raw.methods, &at.key("methods"), "methods");
        let headers_at = at.key("headers");
        let mut headers = Vec::new();
        for (i, rule) in self.filled(&raw.headers, &headers_at, "headers") {
            let Some(name) = rule.name.get() else { continue };
            self.owned(
                &name.0,
                &headers_at.item(i).key("name"),
                "it is removed before conditions are compared",
            );
            let exact = rule.exact.get().map(|text| ValueRule::Value(Text::Exact(text.0.clone())));
            let prefix =
                rule.prefix.get().map(|text| ValueRule::Value(Text::Prefix(text.0.clone())));
            let present = rule.present.get().map(|present| ValueRule::Present(*present));
            if let Some(rule) = exact.or(prefix).or(present) {
                headers.push(Header { name: name.0.clone(), rule });
            }
        }
        Match {
            hosts: hosts
                .into_iter()
                .map(|(_, host)| match host.0.strip_prefix('*') {
                    Some(suffix) => Host::Below(suffix.to_owned()),
                    None => Host::Exact(host.0),
                })
                .collect(),
            path: raw.path.get().and_then(|path| {
                let exact = path.exact.get().map(|text| Text::Exact(text.0.clone()));
                exact.or_else(|| path.prefix.get().map(|text| Text::Prefix(text.0.clone())))
            }),
            methods: methods.into_iter().map(|(_, method)| method.0).collect(),
            headers,
            body: self.body_conditions(raw, &at.key("body")),
        }
    }

    /// A list that, when given, has an entry: an empty one could mean all or nothing.
    pub(super) fn filled<T: Clone>(
        &mut self,
        given: &crate::config::decode::Given<crate::config::decode::List<T>>,
        at: &Path<'_>,
        what: &str,
    ) -> Vec<(usize, T)> {
        let Some(list) = given.get() else { return Vec::new() };
        if list.written() == 0 {
            let message = format!("found an empty list; allowed: at least one of the {what}");
            self.problems.push(at, Code::Empty, message, "to match everything, remove the key");
        }
        list.0.clone()
    }

    fn units(
        &mut self,
        raw: &raw::Experiment,
        assignment: Assignment,
        at: &Path<'_>,
    ) -> Vec<UnitSource> {
        let needed = assignment == Assignment::UserHash;
        if needed
            && (raw.unit.is_absent() || raw.unit.get().is_some_and(|list| list.written() == 0))
        {
            let message = "found no unit source; allowed: at least one with assignment user_hash";
            let hint = "say where the user's identity stands, for example \"- header: x-user-id\"";
            self.problems.push(at, Code::MissingKey, message, hint);
        }
        let mut units: Vec<UnitSource> = Vec::new();
        let mut minted = false;
        for (i, source) in raw.unit.get().iter().flat_map(|list| &list.0) {
            let at = at.item(*i);
            if let Some(header) = source.header.get() {
                self.owned(&header.0, &at.key("header"), "it is removed before the unit is read");
            }
            if !source.mint.is_absent() {
                let at = at.key("mint");
                if source.cookie.is_absent() {
                    let message = "found mint without cookie; allowed: only beside a cookie";
                    let hint = "write it beside the cookie that is to be set";
                    self.problems.push(&at, Code::Conflict, message, hint);
                }
                if minted && !source.cookie.is_absent() {
                    let message = "found a second mint; allowed: one in an experiment";
                    self.problems.push(&at, Code::Conflict, message, "a caller needs one identity");
                }
                minted |= !source.cookie.is_absent();
                if let Some(cookie) = source.cookie.get()
                    && HeaderName::parse(&cookie.0).is_none()
                {
                    let message = format!(
                        "found {} with mint; allowed: letters, digits and !#$%&'*+-.^_`|~",
                        quoted(&cookie.0)
                    );
                    let hint = "these are the names that a browser keeps";
                    self.problems.push(&at, Code::BadName, message, hint);
                }
            }
            let header = source.header.get().map(|name| UnitSource::Header(name.0.clone()));
            let cookie = || source.cookie.get().map(|name| UnitSource::Cookie(name.0.clone()));
            let query = || source.query.get().map(|name| UnitSource::Query(name.0.clone()));
            let body = || source.body.get().map(|pointer| UnitSource::Body(pointer.0.clone()));
            let Some(unit) = header.or_else(cookie).or_else(query).or_else(body) else { continue };
            if matches!(unit, UnitSource::Body(_)) {
                self.body_notice(&at.key("body"), "this source yields no unit");
            }
            if units.contains(&unit) {
                let message = format!("found \"{unit}\" a second time; allowed: once");
                self.problems.push(
                    &at,
                    Code::DuplicateUnit,
                    message,
                    "remove it: the first one decides",
                );
            }
            units.push(unit);
        }
        units
    }

    fn breaker(&mut self, raw: &raw::Experiment, at: &Path<'_>) -> Breaker {
        let raw = raw.breaker.get().cloned().unwrap_or_default();
        let percent = |ppm| Ppm::new(ppm).unwrap_or_default();
        let breaker = Breaker {
            mode: *raw.mode.get().unwrap_or(&BreakerMode::Enforce),
            error_rate: raw.error_rate.get().map_or_else(|| percent(50_000), |rate| rate.0),
            slow: raw
                .slow
                .get()
                .and_then(|slow| Some(Slow { over: slow.over.get()?.0, rate: slow.rate.get()?.0 })),
            no_answer: raw
                .no_answer
                .get()
                .and_then(|no_answer| Some(no_answer.after.get()?.0))
                .or(Some(Millis::new(10_000)))
                .filter(|&after| after > Millis::ZERO),
            window: raw.window.get().map_or(Millis::new(30_000), |span| span.0),
            min_requests: raw.min_requests.get().map_or(20, |count| count.0),
            confidence: raw
                .confidence
                .get()
                .map_or_else(|| percent(999_000), |confidence| confidence.0),
            consecutive_errors: raw.consecutive_errors.get().map_or(5, |count| count.0),
            compare_to_baseline: *raw.compare_to_baseline.get().unwrap_or(&true),
            open_for: raw.open_for.get().map_or(Millis::new(30_000), |span| span.0),
            max_open_for: raw.max_open_for.get().map_or(Millis::new(300_000), |span| span.0),
        };
        if breaker.open_for > breaker.max_open_for {
            let message = format!(
                "found {}, above max_open_for, which is {}; allowed: up to it",
                breaker.open_for, breaker.max_open_for
            );
            let hint = if raw.max_open_for.is_absent() {
                "max_open_for is 5m when left out; raise it too"
            } else {
                "lower it, or raise max_open_for"
            };
            self.problems.push(&at.key("open_for"), Code::OpenForTooLong, message, hint);
        }
        if breaker.confidence == Ppm::ALL {
            let message = "found 100; allowed: 0 to 99.9999, since nothing is certain";
            self.problems.push(
                &at.key("confidence"),
                Code::OutOfRange,
                message,
                "99.9 is the default",
            );
        }
        breaker
    }

    fn layer(&mut self, raw: &raw::Experiment, at: &Path<'_>) -> Option<Layer> {
        let raw = raw.layer.get()?;
        let (name, from, to) = (&raw.name.get()?.0, raw.from.get()?.0, raw.to.get()?.0);
        if from >= to {
            let message = format!("`to` is {to}, but must be greater than `from` ({from})");
            self.problems.push(
                &at.key("to"),
                Code::OutOfRange,
                message,
                "the slots run from `from` to just before `to`",
            );
            return None;
        }
        Some(Layer { name: name.clone(), from, to, draw: Draw::new(Purpose::Layer, name) })
    }

    fn overrides(
        &mut self,
        raw: &raw::Experiment,
        variants: &PerVariant<Variant>,
        at: &Path<'_>,
    ) -> Overrides {
        let Some(raw) = raw.overrides.get() else { return Overrides::default() };
        if let Some(header) = raw.header.get()
            && header.0 != self.names.force
        {
            let at = at.key("header");
            self.owned(&header.0, &at, "it has another meaning");
            self.framing(&header.0, &at);
        }
        if !raw.token_sha256.is_absent() && raw.header.is_absent() {
            let message = "found a token without header; allowed: only beside a header";
            let hint = format!("add \"header: {}\", or remove the token", self.names.force);
            self.problems.push(&at.key("token_sha256"), Code::Conflict, message, hint);
        }
        let units_at = at.key("units");
        let mut units: Vec<(String, VariantId)> = Vec::new();
        for (unit, variant) in raw.units.get().iter().flat_map(|pairs| &pairs.0) {
            if unit.is_empty() {
                let message = "found an empty unit; allowed: the text of a unit";
                self.problems.push(
                    &units_at,
                    Code::Empty,
                    message,
                    "an empty value never counts as a unit",
                );
            }
            if let Some(id) = self.named_variant(variant, variants, &units_at.key(unit)) {
                units.push((unit.clone(), id));
            }
        }
        units.sort();
        Overrides {
            header: raw.header.get().map(|header| header.0.clone()),
            token: raw.token_sha256.get().map(|digest| digest.0),
            units,
        }
    }

    /// A variant that is named somewhere in the experiment.
    pub(super) fn named_variant(
        &mut self,
        name: &Name,
        variants: &PerVariant<Variant>,
        at: &Path<'_>,
    ) -> Option<VariantId> {
        let found = variants.find(|variant| variant.name == name.0);
        // Where a variant's name is missing or bad, which was reported, it may be the one that is meant.
        if found.is_none()
            && !variants.is_empty()
            && variants.iter().all(|variant| !variant.name.is_empty())
        {
            let known: Vec<&str> = variants.iter().map(|variant| variant.name.as_str()).collect();
            let message = format!(
                "unknown variant {}; expected one of: {}",
                quoted(&name.0),
                known.join(", ")
            );
            let hint =
                or_else(did_you_mean(&name.0, &known), "name one of them, or add the variant");
            self.problems.push(at, Code::UnknownVariant, message, hint);
        }
        found
    }
}

/// Which analysis plan an exposure was made under. `steps` do not change how it is judged.
fn plan_digest(Object(entries): &Object) -> [u8; 32] {
    let plan = entries.iter().filter(|(key, _)| key != "steps").cloned().collect();
    sha256(format!("plan1\0{}", Node::Map(plan).to_json()).as_bytes())
}

/// The cookie that is set for clients without an identifier.
fn mint(raw: &raw::Experiment) -> Option<Mint> {
    let sources = raw.unit.get()?;
    sources.0.iter().enumerate().find_map(|(source, (_, written))| {
        let max_age = written.mint.get()?.max_age.get()?.0;
        Some(Mint { source, cookie: written.cookie.get()?.0.clone(), max_age })
    })
}
