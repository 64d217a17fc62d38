//! From what was written to what is true: values against each other, defaults, and the compiled plan.
//!
//! A value that is missing or bad was reported already; here a stand-in takes its place, so that the rest can
//! still be checked. A plan with problems is never used.

mod bodies;
mod experiment;
mod rewrite;
mod variants;

use super::decode::{Given, Pairs};
use super::node::Node;
use super::problem::{Code, Path, Problems};
use super::raw;
use super::value::HeaderValue;
use crate::draw::sha256;
use crate::index::Index;
use crate::names::HEADER_PREFIX;
use crate::plan::{
    ConfigHash, Debug, Experiment, ExposureUnit, HeaderNames, Notice, PerExperiment, Plan,
    ProxySettings, Settings,
};
use crate::unit::UnitSource;

/// Headers that HTTP itself needs; a variant that set them would break the message.
const FRAMING: &[&str] = &[
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What the checks of all experiments share.
struct Checker<'a> {
    names: HeaderNames,
    body_limit: u64,
    problems: &'a mut Problems,
    notices: Vec<Notice>,
}

/// Checks a file and compiles it.
pub(super) fn check(file: &raw::File, node: &Node, problems: &mut Problems) -> Plan {
    let root = Path::Root;
    let raw_settings = file.settings.get().cloned().unwrap_or_default();
    let prefix = raw_settings.header_prefix.get().map_or(HEADER_PREFIX, |prefix| prefix.0.as_str());
    let names = HeaderNames::new(prefix, []);
    let body_limit = raw_settings.body_limit.get().map_or(64 << 10, |size| size.0);
    let mut checker = Checker { names, body_limit, problems, notices: Vec::new() };
    let at = root.key("experiments");
    let mut experiments: Vec<Experiment> = Vec::new();
    let mut places: Vec<usize> = Vec::new();
    for (i, raw) in file.experiments.get().iter().flat_map(|list| &list.0) {
        let at = at.item(*i);
        let experiment = checker.experiment(raw, &at);
        if let Some(twin) = experiments.iter().position(|other| other.name == experiment.name)
            && raw.name.get().is_some()
        {
            let first = places.get(twin).copied().unwrap_or_default();
            let message =
                format!("found \"{}\", which experiments[{first}] has already", experiment.name);
            let hint = "metrics and headers distinguish experiments by their names";
            checker.problems.push(&at.key("name"), Code::DuplicateName, message, hint);
        }
        checker.layer_overlap(&experiment, &experiments, &at);
        experiments.push(experiment);
        places.push(*i);
    }
    checker.override_headers(&experiments, &places);
    let extra = experiments.iter().filter_map(|experiment| experiment.overrides.header.clone());
    let headers = HeaderNames::new(prefix, extra);
    let settings = Settings {
        headers,
        response_headers: *raw_settings.response_headers.get().unwrap_or(&true),
        debug: match raw_settings.debug.get() {
            None | Some(raw::Debug::Denied) => Debug::Denied,
            Some(raw::Debug::Allowed) => Debug::Allowed,
            Some(raw::Debug::Token(token)) => {
                token.token_sha256.get().map_or(Debug::Denied, |digest| Debug::Token(digest.0))
            }
        },
        body_limit,
        exposure_unit: *raw_settings.exposure_unit.get().unwrap_or(&ExposureUnit::Digest),
        proxy: raw_settings.proxy.get().map(proxy_settings).unwrap_or_default(),
    };
    if settings.exposure_unit == ExposureUnit::None {
        let message = "the access log carries no units, so the analysis cannot count users or test \
                       the sample ratio";
        checker.notice(&Path::Root.key("settings").key("exposure_unit"), message);
    }
    let index = Index::new(experiments.iter().map(|experiment| &experiment.conditions));
    Plan {
        experiments: PerExperiment::new(experiments),
        index,
        settings,
        hash: ConfigHash(sha256(node.to_json().as_bytes())),
        notices: checker.notices,
    }
}

fn proxy_settings(raw: &raw::Proxy) -> ProxySettings {
    ProxySettings {
        exposures: raw.exposures.get().copied(),
        wait_for_bodies: raw.wait_for_bodies.get().copied(),
        failover: raw.failover.get().copied(),
        routes_report: raw.routes_report.get().copied(),
        routes_clean: raw.routes_clean.get().copied(),
    }
}

impl Checker<'_> {
    fn notice(&mut self, at: &Path<'_>, message: &str) {
        let (path, message) = (at.to_string(), message.to_owned());
        self.notices.push(Notice { path, message, needs_bodies: false });
    }

    /// An override's header is removed from every request, so nothing else may need it.
    fn override_headers(&mut self, experiments: &[Experiment], places: &[usize]) {
        for (experiment, place) in experiments.iter().zip(places) {
            // A header of the filter's own is reported where it is read.
            let own = |header: &&String| self.names.owned.contains(header);
            let Some(header) = experiment.overrides.header.as_ref().filter(|h| !own(h)) else {
                continue;
            };
            let needs = |other: &&Experiment| {
                let unit =
                    other.units.iter().any(|unit| *unit == UnitSource::Header(header.clone()));
                unit || other.conditions.headers.iter().any(|condition| condition.name == *header)
            };
            if let Some(other) = experiments.iter().find(needs) {
                let message = format!(
                    "found \"{header}\", which \"{}\" reads as a unit or a condition",
                    other.name
                );
                let hint = format!(
                    "the filter removes it from requests; choose another, such as {}",
                    self.names.force
                );
                let list = Path::Root.key("experiments");
                let experiment = list.item(*place);
                let overrides = experiment.key("overrides");
                self.problems.push(&overrides.key("header"), Code::OwnedHeader, message, hint);
            }
        }
    }

    fn layer_overlap(&mut self, new: &Experiment, others: &[Experiment], at: &Path<'_>) {
        let Some(layer) = &new.layer else { return };
        for other in others {
            if let Some(theirs) = &other.layer
                && theirs.name == layer.name
                && layer.from < theirs.to
                && theirs.from < layer.to
            {
                let message = format!(
                    "found slots {} to {} of \"{}\", of which \"{}\" has {} to {}; allowed: slots of its own",
                    layer.from, layer.to, layer.name, other.name, theirs.from, theirs.to
                );
                let hint =
                    "experiments of one layer exclude each other, so their slots must not overlap";
                self.problems.push(&at.key("layer"), Code::LayerOverlap, message, hint);
            }
        }
    }

    /// Reports a header that is the filter's own or HTTP's.
    fn owned(&mut self, name: &str, at: &Path<'_>, what_then: &str) {
        if self.names.owned.iter().any(|owned| owned == name) {
            let message = format!("found \"{name}\", a header of the filter's own; {what_then}");
            let hint = format!(
                "choose another name, or another settings.header_prefix than \"{}\"",
                self.names.prefix
            );
            self.problems.push(at, Code::OwnedHeader, message, hint);
        }
    }

    /// Reports a header that frames the message.
    fn framing(&mut self, name: &str, at: &Path<'_>) {
        if FRAMING.contains(&name) {
            let message = format!("found \"{name}\", which HTTP needs for the message itself");
            self.problems.push(at, Code::OwnedHeader, message, "choose another name");
        }
    }

    /// Headers that a variant adds, names in lower case.
    fn added_headers(
        &mut self,
        given: &Given<Pairs<HeaderValue>>,
        at: &Path<'_>,
    ) -> Vec<(String, String)> {
        let mut headers: Vec<(String, String)> = Vec::new();
        for (name, value) in given.get().iter().flat_map(|pairs| &pairs.0) {
            let at = at.key(name);
            let Some(name) = super::value::HeaderName::read(name, &at, self.problems) else {
                continue;
            };
            let name = name.0;
            self.owned(&name, &at, "the filter sets it itself");
            self.framing(&name, &at);
            if headers.iter().any(|(other, _)| *other == name) {
                let message = format!("found \"{name}\" a second time; header names ignore case");
                self.problems.push(&at, Code::DuplicateKey, message, "remove one of the two");
            }
            headers.push((name, value.0.clone()));
        }
        headers
    }
}
