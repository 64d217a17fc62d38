//! Finding the experiments that a request may match, without asking every one.
//!
//! Experiments are filed under the host and the path that they ask for; a request looks at the few places where its
//! own host and path can stand. The order of the file decides among those, so the answer is the same as asking one
//! after another, and a thousand experiments cost about what one costs.

use std::borrow::Cow;

use rustc_hash::FxHashMap;

use crate::matching::{Host, Match, Text};
use crate::plan::ExperimentId;
use crate::request::Request;

/// The experiments of a plan by host and path.
#[derive(Clone, Debug, Default)]
pub struct Index {
    any_host: Paths,
    exact_hosts: Table<Paths>,
    /// Under a suffix that begins with a dot.
    hosts_below: Table<Paths>,
}

/// Experiments by path. Each list is in the order of the file.
#[derive(Clone, Debug, Default)]
struct Paths {
    any: Vec<ExperimentId>,
    exact: Table<Vec<ExperimentId>>,
    prefix: Table<Vec<ExperimentId>>,
    /// The lengths that prefixes have, each once.
    prefix_lengths: Vec<usize>,
}

/// Found in the same time however many there are. Requests are only looked up, so clients cannot choose
/// keys that collide, and the simplest hash is enough.
type Table<T> = FxHashMap<Box<[u8]>, T>;

impl Index {
    /// Files the conditions of all experiments, in the order of the file.
    pub(crate) fn new<'a>(conditions: impl Iterator<Item = &'a Match>) -> Self {
        let mut index = Self::default();
        for (experiment, conditions) in conditions.enumerate() {
            let experiment = ExperimentId::new(experiment);
            if conditions.hosts.is_empty() {
                index.any_host.file(experiment, conditions.path.as_ref());
            }
            for host in &conditions.hosts {
                let paths = match host {
                    Host::Exact(name) => {
                        index.exact_hosts.entry(name.as_bytes().into()).or_default()
                    }
                    Host::Below(suffix) => {
                        index.hosts_below.entry(suffix.as_bytes().into()).or_default()
                    }
                };
                paths.file(experiment, conditions.path.as_ref());
            }
        }
        index
    }

    /// The first experiment from `from` on that the request's host and path allow.
    #[inline]
    pub fn next(&self, request: &impl Request, from: usize) -> Option<ExperimentId> {
        let path = request.path();
        let mut first = self.any_host.next(path, from);
        if self.exact_hosts.is_empty() && self.hosts_below.is_empty() {
            return first;
        }
        let Some(host) = request.host() else { return first };
        // Names are filed in lower case; a client may send any, and hardly ever does.
        let host = match host.iter().any(u8::is_ascii_uppercase) {
            true => Cow::Owned(host.to_ascii_lowercase()),
            false => Cow::Borrowed(host),
        };
        let mut see = |paths: Option<&Paths>| {
            if let Some(found) = paths.and_then(|paths| paths.next(path, from)) {
                first = Some(first.map_or(found, |first| first.min(found)));
            }
        };
        see(self.exact_hosts.get(&*host));
        if !self.hosts_below.is_empty() {
            for (dot, _) in host.iter().enumerate().filter(|&(at, &byte)| byte == b'.' && at > 0) {
                see(host.get(dot..).and_then(|suffix| self.hosts_below.get(suffix)));
            }
        }
        first
    }
}

impl Paths {
    fn file(&mut self, experiment: ExperimentId, rule: Option<&Text>) {
        let list = match rule {
            None => &mut self.any,
            Some(Text::Exact(path)) => self.exact.entry(path.as_bytes().into()).or_default(),
            Some(Text::Prefix(path)) => {
                if let Err(place) = self.prefix_lengths.binary_search(&path.len()) {
                    self.prefix_lengths.insert(place, path.len());
                }
                self.prefix.entry(path.as_bytes().into()).or_default()
            }
        };
        // Two hosts of one experiment may lead to the same place.
        if list.last() != Some(&experiment) {
            list.push(experiment);
        }
    }

    #[inline]
    fn next(&self, path: Option<&[u8]>, from: usize) -> Option<ExperimentId> {
        let in_list = |list: &Vec<ExperimentId>| {
            list.get(list.partition_point(|&e| e.index() < from)).copied()
        };
        let mut first = in_list(&self.any);
        let mut see = |list: Option<&Vec<ExperimentId>>| {
            if let Some(found) = list.and_then(in_list) {
                first = Some(first.map_or(found, |first| first.min(found)));
            }
        };
        let Some(path) = path else { return first };
        if !self.exact.is_empty() {
            see(self.exact.get(path));
        }
        for &length in &self.prefix_lengths {
            let Some(prefix) = path.get(..length) else { break };
            see(self.prefix.get(prefix));
        }
        first
    }
}
