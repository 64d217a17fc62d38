//! What the client saw: each answer is entered once, and whatever was wrong with it is found here.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use sidetrack::plan::Plan;
use sidetrack_lab::{Answer, Request};

use super::crowd::Visit;
use super::oracle::foretell;
use super::pages::{Pages, Recovery, Slice};

/// A book that all connections write into.
pub(super) struct Ledger {
    plan: Plan,
    /// What the model of each variant calls itself.
    models: Vec<String>,
    /// A breaker may send a candidate's users to the baseline; they still count as the candidate's.
    lends: bool,
    book: Mutex<Book>,
}

struct Book {
    sums: Sums,
    users: HashMap<u64, User>,
    pages: Pages,
    latency: Option<Histogram<u32>>,
}

struct User {
    variant: usize,
    came_again: bool,
    changed: bool,
    lent: bool,
}

/// The sums so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    /// Answers and failures.
    pub(super) requests: u64,
    /// No answer, not 200, or not from a model.
    pub(super) failed: u64,
    /// By variant.
    pub(super) variants: Vec<Share>,
    /// Users who came more than once.
    pub(super) returned: u64,
    /// Users who got another model than the first time.
    pub(super) changed: u64,
    /// Answers of another model than the core names, or with the wrong name in `x-ab-variant`.
    pub(super) unforeseen: u64,
    /// Answers of the baseline to a candidate's users, where that may be.
    pub(super) lent: u64,
    /// Users who got such an answer.
    pub(super) lent_users: u64,
    /// What came to pass when.
    pub(super) slices: Vec<Slice>,
    /// What came to pass since the recovery, if there was one.
    pub(super) recovery: Option<Recovery>,
    /// The first thing that was wrong.
    pub(super) first_wrong: Option<String>,
    /// Half of the answers took no longer.
    pub(super) p50: Duration,
    /// 99 % of the answers took no longer.
    pub(super) p99: Duration,
}

/// What one variant's model served.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    pub(super) requests: u64,
    /// Failures under its name.
    pub(super) failed: u64,
    /// Each user counts for the variant that served it first, or, where users are lent, that it was drawn for.
    pub(super) users: u64,
}

impl Sums {
    /// All users.
    pub(super) fn users(&self) -> u64 {
        self.variants.iter().map(|share| share.users).sum()
    }

    /// All answers of models.
    pub(super) fn answers(&self) -> u64 {
        self.variants.iter().map(|share| share.requests).sum()
    }
}

impl Ledger {
    /// An empty book. With `lends`, the baseline may answer a candidate's users.
    pub(super) fn new(plan: Plan, models: Vec<String>, lends: bool) -> Self {
        let sums = Sums { variants: vec![Share::default(); models.len()], ..Sums::default() };
        // Microseconds up to a minute, to three digits: a constant that is valid.
        let latency = Histogram::new_with_bounds(1, 60_000_000, 3).ok();
        let (users, pages) = (HashMap::new(), Pages::begin(models.len()));
        Self { plan, models, lends, book: Mutex::new(Book { sums, users, pages, latency }) }
    }

    /// Enters what came of a request.
    pub(super) fn enter(&self, visit: &Visit, request: &Request, answer: &anyhow::Result<Answer>) {
        let foretold = foretell(&self.plan, request);
        let served = answer
            .as_ref()
            .map_err(|error| format!("{error:#}"))
            .and_then(|answer| self.served(answer));
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let Book { sums, users, pages, latency } = &mut *book;
        sums.requests += 1;
        let elapsed = answer.as_ref().map(|answer| answer.elapsed.as_micros()).unwrap_or_default();
        if let Some(latency) = latency {
            latency.saturating_record(u64::try_from(elapsed).unwrap_or(u64::MAX));
        }
        let (variant, label_is_right) = match served {
            Ok(served) => served,
            Err(why) => {
                sums.failed += 1;
                let named = answer.as_ref().ok().and_then(|answer| self.named(answer));
                if let Some(share) = named.and_then(|named| sums.variants.get_mut(named)) {
                    share.failed += 1;
                }
                sums.first_wrong.get_or_insert_with(|| {
                    format!("a request of user {} failed: {why}", visit.user)
                });
                return;
            }
        };
        let drawn = foretold.map(|decision| decision.served.index());
        let baseline = self.plan.experiments.first().map(|experiment| experiment.baseline.index());
        let lent = self.lends && drawn != baseline && Some(variant) == baseline;
        let home = drawn.filter(|_| lent).unwrap_or(variant);
        pages.enter(visit.user, variant, home, baseline);
        let is_new = !users.contains_key(&visit.user);
        if let Some(share) = sums.variants.get_mut(variant) {
            share.requests += 1;
        }
        if is_new && let Some(share) = sums.variants.get_mut(home) {
            share.users += 1;
        }
        if !label_is_right || drawn != Some(home) {
            sums.unforeseen += 1;
            let got = self.models.get(variant).map_or("", String::as_str);
            sums.first_wrong.get_or_insert_with(|| {
                format!(
                    "user {} was answered by forecast {got}, which the core did not choose",
                    visit.user
                )
            });
        }
        let user = users.entry(visit.user).or_insert(User {
            variant: home,
            came_again: false,
            changed: false,
            lent: false,
        });
        sums.lent += u64::from(lent);
        sums.lent_users += u64::from(lent && !user.lent);
        user.lent |= lent;
        if is_new {
            return;
        }
        sums.returned += u64::from(!user.came_again);
        user.came_again = true;
        if user.variant != home && !user.changed {
            user.changed = true;
            sums.changed += 1;
            sums.first_wrong
                .get_or_insert_with(|| format!("user {} changed the model", visit.user));
        }
    }

    /// Which variant's model answered, and whether the filter's header says the same.
    fn served(&self, answer: &Answer) -> Result<(usize, bool), String> {
        if answer.status != 200 {
            return Err(format!("status {}", answer.status));
        }
        let model = answer.header_text("x-model").unwrap_or_default();
        let variant = self.models.iter().position(|name| *name == model);
        let variant =
            variant.ok_or_else(|| format!("the answer is not from a model: {}", answer.text()))?;
        Ok((variant, self.named(answer) == Some(variant)))
    }

    /// The variant that the filter's header names.
    fn named(&self, answer: &Answer) -> Option<usize> {
        let name = answer.header(&self.plan.settings.headers.variant)?;
        self.plan
            .experiments
            .first()?
            .variants
            .iter()
            .position(|variant| variant.name.as_bytes() == name)
    }

    /// From now on, users count for the recovery as well.
    pub(super) fn recovers(&self) {
        self.book.lock().unwrap_or_else(PoisonError::into_inner).pages.recovers();
    }

    /// The sums so far.
    pub(super) fn sums(&self) -> Sums {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let at = |quantile| {
            let latency =
                book.latency.as_ref().map_or(0, |latency| latency.value_at_quantile(quantile));
            Duration::from_micros(latency)
        };
        let (slices, recovery) = book.pages.read();
        Sums { p50: at(0.5), p99: at(0.99), slices, recovery, ..book.sums.clone() }
    }
}
