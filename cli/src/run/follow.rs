//! The experiment file while it runs: good edits become the next configuration, wrong ones change nothing.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use sidetrack::config::Node;
use sidetrack::plan::Plan;
use sidetrack_lab::FileWatch;
use sidetrack_store::ExperimentFile;
use tokio::time::Instant;

use super::endpoints;
use super::event::{Event, Kind};
use crate::load::{Loaded, Source, count};
use crate::render::{Endpoint, Options};
use crate::words::visible;
use crate::{moment, plan};

/// The limit for Envoy to take over a file.
const TAKEOVER: Duration = Duration::from_secs(5);

/// The file, and what is in force.
pub(super) struct Follower {
    /// As it was given.
    name: String,
    watch: FileWatch,
    source: Source,
    endpoints: Vec<Endpoint>,
    current: Next,
    /// A file that was published and is not in force yet.
    pending: Option<Pending>,
    /// Why the file on disk is not in force.
    problem: Option<String>,
    /// A new content, until the next read finds the same: an editor may write in several steps.
    unsettled: Option<Vec<u8>>,
    /// The last error of reading the file, so that it is reported once.
    unreadable: Option<String>,
}

/// A file that Envoy has not taken over yet.
struct Pending {
    /// Until when it should have.
    deadline: Instant,
    /// What to say then.
    text: String,
    /// What was said after the deadline. A slow machine may still take it over.
    overdue: Option<String>,
}

impl Pending {
    fn new(now: Instant, text: String) -> Self {
        Self { deadline: now + TAKEOVER, text, overdue: None }
    }
}

/// A file, and the proxy's options for it.
pub(super) struct Next {
    pub(super) loaded: Loaded,
    pub(super) options: Options,
    /// The file as it was read.
    text: String,
}

impl Next {
    fn new(source: &Source, loaded: Loaded, options: Options) -> Self {
        Self { loaded, options, text: String::from_utf8_lossy(source.bytes()).into_owned() }
    }

    /// The file as a store takes it.
    pub(super) fn file(&self) -> ExperimentFile {
        let Loaded { plan, analyses, .. } = &self.loaded;
        ExperimentFile { plan: plan.clone(), analyses: analyses.clone(), text: self.text.clone() }
    }
}

/// What an edit leads to.
pub(super) enum Change {
    Accepted(Box<Next>),
    Rejected(Event),
}

impl Follower {
    pub(super) fn new(
        path: &Path,
        source: Source,
        loaded: Loaded,
        options: Options,
    ) -> anyhow::Result<Self> {
        let name = visible(&path.to_string_lossy());
        let watch = FileWatch::open(path).with_context(|| format!("cannot read {name}"))?;
        let endpoints = options.endpoint.clone();
        let text = format!("{name} is in force: {}", loaded.plan.hash.short());
        let current = Next::new(&source, loaded, options);
        let pending = Some(Pending::new(Instant::now(), text));
        // It may have been edited since it was read.
        let edited = watch.content() != source.bytes();
        let unsettled = edited.then(|| watch.content().to_vec());
        let (problem, unreadable) = (None, None);
        Ok(Self {
            name,
            watch,
            source,
            endpoints,
            current,
            pending,
            problem,
            unsettled,
            unreadable,
        })
    }

    /// The file's name, as it was given.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The file in force, as a store takes it.
    pub(super) fn file(&self) -> ExperimentFile {
        self.current.file()
    }

    pub(super) const fn plan(&self) -> &Plan {
        &self.current.loaded.plan
    }

    pub(super) const fn node(&self) -> &Node {
        &self.current.loaded.node
    }

    pub(super) const fn options(&self) -> &Options {
        &self.current.options
    }

    /// Why the file on disk is not in force; `None` if it is.
    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Reads the file if it has changed.
    pub(super) fn poll(&mut self) -> Option<Change> {
        let content = match self.watch.changed() {
            Ok(None) => {
                if self.unreadable.take().is_some() {
                    // It is back as it was, so its problem is over.
                    self.unsettled.get_or_insert_with(|| self.watch.content().to_vec());
                }
                self.unsettled.take()?
            }
            Ok(Some(content)) => {
                self.unsettled = Some(content.to_vec());
                return None;
            }
            Err(error) => {
                let why = format!("cannot read it: {}", sidetrack_analysis::in_words(&error));
                if self.unreadable.replace(why.clone()).as_ref() == Some(&why) {
                    return None;
                }
                return Some(Change::Rejected(self.reject(&why)));
            }
        };
        let source = self.source.of_bytes(content);
        let loaded = match source.parse() {
            Ok(loaded) => loaded,
            Err(problems) => {
                let found = count(problems.0.len(), "problem");
                let placed = source.placed(&problems);
                let first = placed.first().map(|(place, problem)| {
                    let place = place.map(|place| place.to_string()).unwrap_or_default();
                    let path = if problem.path.is_empty() { "the file" } else { &problem.path };
                    format!("{}{place}: {}", visible(path), visible(&problem.message))
                });
                let why = format!("{found}. {}", first.unwrap_or_default());
                return Some(Change::Rejected(self.reject(&why)));
            }
        };
        match endpoints::adapted(&self.current.options, &self.endpoints, &loaded.plan) {
            Ok(options) => Some(Change::Accepted(Box::new(Next::new(&source, loaded, options)))),
            Err(error) => Some(Change::Rejected(self.reject(&format!("{error:#}")))),
        }
    }

    /// Notes that the file on disk does not take effect.
    pub(super) fn reject(&mut self, why: &str) -> Event {
        let hash = self.plan().hash.short();
        self.problem = Some(why.to_owned());
        Event::new(
            Kind::Rejected,
            format!("{} does not take effect, {hash} stays in force: {why}", self.name),
        )
    }

    /// Notes that a file was published to Envoy.
    pub(super) fn accept(&mut self, next: Next, now: Instant) {
        let (old, new) = (self.plan(), &next.loaded.plan);
        let mut text = format!("{} is in force: {}", self.name, new.hash.short());
        let moves = plan::in_words(old, new, moment::now());
        if !moves.is_empty() {
            write!(text, "; {moves}").ok();
        }
        // Also when an edit was taken back: its problem is over.
        let is_news = old.hash != new.hash || self.problem.is_some();
        self.problem = None;
        if is_news {
            self.pending = Some(Pending::new(now, text));
        }
        self.current = next;
    }

    /// What to report about the published file, given the hash in force in Envoy and the tail of its log.
    pub(super) fn confirm(
        &mut self,
        hash: Option<u32>,
        now: Instant,
        log: impl FnOnce() -> String,
    ) -> Option<Event> {
        let pending = self.pending.take()?;
        if hash == Some(self.plan().hash.first_32_bits()) {
            // Unless a later edit has another problem.
            if pending.overdue.is_some() && self.problem == pending.overdue {
                self.problem = None;
            }
            return Some(Event::new(Kind::InForce, pending.text));
        }
        if now < pending.deadline || pending.overdue.is_some() {
            self.pending = Some(pending);
            return None;
        }
        let found = hash.map_or_else(|| "nothing".to_owned(), |hash| format!("{hash:08x}"));
        let why = format!("Envoy has not taken it over. Its log ends with:\n{}", log());
        self.problem = Some(why.clone());
        self.pending = Some(Pending { overdue: Some(why.clone()), ..pending });
        Some(Event::new(
            Kind::Rejected,
            format!("{} does not take effect, {found} stays in force: {why}", self.name),
        ))
    }
}
