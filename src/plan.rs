//! The plan: what is true, compiled from what was written. The only configuration that a decision reads.
//!
//! Experiments and variants are referred to by identifiers that index the plan's lists. Everything a
//! request needs is prepared here: header names joined, salts hashed, spans laid out.

mod choices;
mod id;
#[cfg(test)]
mod tests;

pub use choices::{
    Assignment, BreakerMode, Correction, ExposureUnit, MissingUnit, SequentialMethod,
};
pub use id::{ExperimentId, PerExperiment, PerVariant, VariantId};

use crate::body::Edit;
use crate::draw::Draw;
use crate::index::Index;
use crate::layout::Layout;
use crate::matching::Match;
use crate::names::variable;
use crate::quantity::{Millis, Ppm, Timestamp};
use crate::rewrite::Rewrite;
use crate::rollout::{InForce, Schedule};
use crate::unit::{UnitSource, minted_text};

/// A whole configuration.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The experiments in the file's order.
    pub experiments: PerExperiment<Experiment>,
    /// The experiments by host and path.
    pub index: Index,
    /// What holds for all of them.
    pub settings: Settings,
    /// SHA-256 of the configuration's canonical form.
    pub hash: ConfigHash,
    /// What works only where its surroundings let it.
    pub notices: Vec<Notice>,
}

impl Plan {
    /// Whether some experiment needs requests to wait for their bodies.
    #[must_use]
    pub fn reads_bodies(&self) -> bool {
        self.experiments.iter().any(Experiment::reads_bodies)
    }
}

/// Something valid in the file that works only where its surroundings let it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Where, as `experiments[0].mirror`.
    pub path: String,
    /// What is needed, and what happens without.
    pub message: String,
    /// Whether it holds only where requests cannot wait for their bodies.
    pub needs_bodies: bool,
}

/// SHA-256 of a configuration's canonical form: the same for the same experiments, however they are formatted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigHash(pub [u8; 32]);

impl ConfigHash {
    /// The first 32 bits, as the metric `ab_test_config_hash` carries them.
    #[must_use]
    pub fn first_32_bits(self) -> u32 {
        self.0.iter().take(4).fold(0, |bits, &byte| bits << 8 | u32::from(byte))
    }

    /// The first eight hexadecimal digits, as the header `x-ab-config` carries them.
    #[must_use]
    pub fn short(self) -> String {
        format!("{:08x}", self.first_32_bits())
    }
}

impl core::fmt::Display for ConfigHash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One A/B test.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// The name in headers and metrics.
    pub name: String,
    /// What the draws are seeded with.
    pub salt: String,
    /// `false` is the kill switch.
    pub enabled: bool,
    /// Which requests take part.
    pub conditions: Match,
    /// Where the unit comes from, first to last.
    pub units: Vec<UnitSource>,
    /// A cookie for clients without an identifier.
    pub mint: Option<Mint>,
    /// What happens without a unit.
    pub missing_unit: MissingUnit,
    /// Hash or chance.
    pub assignment: Assignment,
    /// The baseline among the variants.
    pub baseline: VariantId,
    /// All variants in the file's order.
    pub variants: PerVariant<Variant>,
    /// The places in a JSON body that the variants set, each once.
    pub places: Vec<Edit>,
    /// The candidates' spans of buckets.
    pub layout: Layout,
    /// The weights and when they hold.
    pub schedule: Schedule,
    /// When a candidate trips.
    pub breaker: Breaker,
    /// Copies for another cluster.
    pub mirror: Option<Mirror>,
    /// The experiment's slots in a layer.
    pub layer: Option<Layer>,
    /// Who may choose a variant.
    pub overrides: Overrides,
    /// The digest of the analysis plan, see [`crate::names::log::PLAN`].
    pub analysis: Option<[u8; 32]>,
    /// Draws the bucket.
    pub arm: Draw,
    /// Draws which units return first to a recovering candidate.
    pub probe: Draw,
    /// Names units in the access log by a pseudonym.
    pub exposure: Draw,
}

impl Experiment {
    /// The variant of this name, letter by letter.
    #[must_use]
    pub fn variant(&self, name: &[u8]) -> Option<VariantId> {
        self.variants.find(|variant| variant.name.as_bytes() == name)
    }

    /// Whether its unit, its conditions or its variants need the request's body.
    #[must_use]
    pub fn reads_bodies(&self) -> bool {
        let is_body = |unit: &UnitSource| matches!(unit, UnitSource::Body(_));
        self.units.iter().any(is_body)
            || !self.conditions.body.is_empty()
            || !self.places.is_empty()
    }

    /// The candidates.
    pub fn candidates(&self) -> impl Iterator<Item = VariantId> {
        self.variants.ids().filter(|&variant| variant != self.baseline)
    }

    /// The share of the traffic that each variant has at a moment, breakers aside. The baseline has
    /// all of it while the experiment is disabled or has not started.
    #[must_use]
    pub fn shares(&self, now: Timestamp) -> PerVariant<Ppm> {
        match self.schedule.at(now) {
            InForce::Weights(weights, _) if self.enabled => self.shares_of(weights),
            _ => self.shares_of(&self.variants.map(|_, _| Ppm::ZERO)),
        }
    }

    /// The share of the traffic that each variant has under these weights.
    #[must_use]
    pub fn shares_of(&self, weights: &PerVariant<Ppm>) -> PerVariant<Ppm> {
        let taken: u32 = self.candidates().map(|candidate| weights[candidate].get()).sum();
        let rest = Ppm::new(Ppm::ALL.get().saturating_sub(taken)).unwrap_or_default();
        weights.map(|variant, weight| if variant == self.baseline { rest } else { *weight })
    }
}

/// A random identity, kept in a cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mint {
    /// The index of the cookie among the unit sources.
    pub source: usize,
    /// The cookie's name.
    pub cookie: String,
    /// How long the browser keeps it.
    pub max_age: Millis,
}

impl Mint {
    /// The value of the `set-cookie` header. Scripts cannot read the cookie, other sites' forms do not send it, and
    /// over an encrypted connection it is never sent in clear text.
    #[must_use]
    pub fn set_cookie(&self, identity: u128, secure: bool) -> String {
        let (name, identity, age) = (&self.cookie, minted_text(identity), self.max_age.seconds());
        let secure = if secure { "; Secure" } else { "" };
        format!("{name}={identity}; Max-Age={age}; Path=/; HttpOnly; SameSite=Lax{secure}")
    }
}

/// One version of the model.
#[derive(Clone, Debug)]
pub struct Variant {
    /// The name in headers and metrics.
    pub name: String,
    /// The Envoy cluster; `None` when the filter only tags.
    pub cluster: Option<String>,
    /// A change of the path for the model.
    pub rewrite: Option<Rewrite>,
    /// Values for the model in the JSON body.
    pub body: Vec<Edit>,
    /// Headers for the model, names in lower case.
    pub request_headers: Vec<(String, String)>,
    /// Headers for the caller, names in lower case.
    pub response_headers: Vec<(String, String)>,
}

/// When a candidate loses its traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Enforce, count only, or nothing.
    pub mode: BreakerMode,
    /// The share of failures above which it trips.
    pub error_rate: Ppm,
    /// The latency guard.
    pub slow: Option<Slow>,
    /// How long a request may wait for an answer until it counts as failed; `None` is off.
    pub no_answer: Option<Millis>,
    /// How far back requests count.
    pub window: Millis,
    /// How many requests are needed to judge rates.
    pub min_requests: u32,
    /// How certain a rate must be above its limit; zero takes the bare rate.
    pub confidence: Ppm,
    /// How many failures in a row on one worker trip at once; 0 is off.
    pub consecutive_errors: u32,
    /// Whether the baseline must be better for a trip.
    pub compare_to_baseline: bool,
    /// How long a first trip lasts.
    pub open_for: Millis,
    /// The most that grows to.
    pub max_open_for: Millis,
}

/// The latency guard: slow answers and how many are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slow {
    /// Longer than this is slow.
    pub over: Millis,
    /// The share above which it trips.
    pub rate: Ppm,
}

/// Copies of requests for another cluster.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// The Envoy cluster.
    pub cluster: String,
    /// The share of units.
    pub percent: Ppm,
    /// Draws who is mirrored.
    pub draw: Draw,
}

/// Slots of a layer: buckets from `from` to just before `to`.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The layer's name.
    pub name: String,
    /// Where the slots begin.
    pub from: Ppm,
    /// Where they end.
    pub to: Ppm,
    /// Draws a unit's slot.
    pub draw: Draw,
}

/// Who may choose a variant by hand.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The header whose value names a variant.
    pub header: Option<String>,
    /// The digest of the token that must come with it.
    pub token: Option<[u8; 32]>,
    /// Units and the variant they always get, sorted by unit.
    pub units: Vec<(String, VariantId)>,
}

/// What holds for all experiments.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The filter's header names.
    pub headers: HeaderNames,
    /// Whether the response reports the variant that served.
    pub response_headers: bool,
    /// Whether a caller may ask for the explanation.
    pub debug: Debug,
    /// The largest body that is read, in bytes.
    pub body_limit: u64,
    /// How the access log names the unit.
    pub exposure_unit: ExposureUnit,
    /// What the proxy does around the filter.
    pub proxy: ProxySettings,
}

/// What the proxy does around the filter, as the file says it; `None` leaves it to the proxy's environment. For hosts
/// that pass no environment to a filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProxySettings {
    /// In place of [`variable::EXPOSURES`].
    pub exposures: Option<bool>,
    /// In place of [`variable::WAIT_FOR_BODIES`].
    pub wait_for_bodies: Option<bool>,
    /// In place of [`variable::FAILOVER`].
    pub failover: Option<bool>,
    /// In place of [`variable::ROUTES_TELL`].
    pub routes_report: Option<bool>,
    /// In place of [`variable::ROUTES_CLEAN`].
    pub routes_clean: Option<bool>,
}

impl ProxySettings {
    /// What the file says in place of an environment variable, one of [`crate::names::variable`].
    #[must_use]
    pub fn of(&self, name: &str) -> Option<bool> {
        match name {
            variable::EXPOSURES => self.exposures,
            variable::WAIT_FOR_BODIES => self.wait_for_bodies,
            variable::FAILOVER => self.failover,
            variable::ROUTES_TELL => self.routes_report,
            variable::ROUTES_CLEAN => self.routes_clean,
            _ => None,
        }
    }
}

/// Whether a caller may ask for the explanation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Debug {
    /// No requests.
    Denied,
    /// All requests.
    Allowed,
    /// Requests that carry the text of this digest.
    Token([u8; 32]),
}

macro_rules! header_names {
    ($($(#[doc = $doc:literal])* $field:ident = $suffix:literal,)*) => {
        /// The headers that the filter owns, lower case, with the prefix.
        #[derive(Clone, Debug)]
        pub struct HeaderNames {
            /// What they all begin with.
            pub prefix: String,
            $($(#[doc = $doc])* pub $field: String,)*
            /// All names that a client's request is cleaned of: those above and the override headers.
            pub owned: Vec<String>,
            /// Those of them that do not begin with the prefix.
            pub strangers: Vec<String>,
        }

        impl HeaderNames {
            /// What the names that begin with the prefix end with.
            pub const SUFFIXES: &'static [&'static str] = &[$($suffix),*];

            /// The names with this prefix; `extra` are further names to clean requests of.
            pub(crate) fn new(prefix: &str, extra: impl IntoIterator<Item = String>) -> Self {
                $(let $field = format!(concat!("{}", $suffix), prefix);)*
                let mut owned = vec![$($field.clone()),*];
                for name in extra {
                    if !owned.contains(&name) {
                        owned.push(name);
                    }
                }
                let strangers = owned.iter().filter(|name| !name.starts_with(prefix)).cloned().collect();
                Self { prefix: prefix.to_owned(), $($field,)* owned, strangers }
            }
        }
    };
}

header_names! {
    /// The experiment's name.
    experiment = "experiment",
    /// The variant that serves.
    variant = "variant",
    /// The variant that was drawn, when another serves.
    assigned = "assigned",
    /// The rollout's phase.
    phase = "phase",
    /// The cluster to route to.
    cluster = "cluster",
    /// The cluster to mirror to.
    mirror = "mirror",
    /// A tester's choice of variant.
    force = "force",
    /// A tester's secret.
    token = "token",
    /// A tester's question why.
    debug = "debug",
    /// Why this variant.
    reason = "reason",
    /// The bucket.
    bucket = "bucket",
    /// The breaker's state.
    breaker = "breaker",
    /// The configuration's hash.
    config = "config",
}
