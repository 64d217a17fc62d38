//! Edits of an experiment file in place, with all other text and all comments unchanged.
//!
//! A change is made twice: in the file's tree, which gives the intended configuration, and in its text. The text is
//! parsed again and must have the hash of the intended configuration, so an edit that a file's layout does not allow
//! (anchors, merged keys, values over several lines) is an error and never a wrong file.

mod text;

use sidetrack::config::Node;
use sidetrack::plan::Plan;
use sidetrack_analysis::plan::AnalysisPlan;

use crate::fault::Fault;
use crate::lines::Lines;
use crate::load::{Loaded, Source};
use text::Text;

/// A file, and the changes so far.
pub(crate) struct Draft<'s> {
    source: &'s Source,
    node: Node,
    text: Text,
    /// The first change that the text does not allow.
    stuck: Option<String>,
}

/// The edited file.
pub(crate) struct Edited {
    pub(crate) text: String,
    pub(crate) loaded: Loaded,
}

impl<'s> Draft<'s> {
    pub(crate) fn new(source: &'s Source, loaded: &Loaded) -> anyhow::Result<Self> {
        let text = std::str::from_utf8(source.bytes())?;
        let text = Text::new(text, Lines::of(text));
        Ok(Self { source, node: loaded.node.clone(), text, stuck: None })
    }

    /// Sets a key of the map at `path` to a scalar. A key that does not exist is added after `after`.
    pub(crate) fn set(&mut self, path: &str, key: &str, value: &Node, after: &str) {
        let Some(map) = map(&mut self.node, path) else { return self.fail(path, key) };
        let exists = match map.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) if old == value => return,
            Some((_, old)) => {
                *old = value.clone();
                true
            }
            None => {
                let place =
                    map.iter().position(|(name, _)| name == after).map_or(map.len(), |at| at + 1);
                map.insert(place, (key.to_owned(), value.clone()));
                false
            }
        };
        let value = written(value);
        let done = if exists {
            self.text.replace(&format!("{path}.{key}"), &value)
        } else {
            self.text.insert(&format!("{path}.{after}"), key, &value, None)
        };
        if done.is_none() {
            self.fail(path, key);
        }
    }

    /// Moves a key, with the comment behind it, from one map to another, which gets this value after `after`.
    pub(crate) fn shift(&mut self, key: &str, from: &str, to: &str, value: &Node, after: &str) {
        let Some(map_of) = map(&mut self.node, from) else { return self.fail(from, key) };
        let before = map_of.len();
        map_of.retain(|(name, _)| name != key);
        let comment = if map_of.len() == before {
            None
        } else {
            let Some(comment) = self.text.take(&format!("{from}.{key}")) else {
                return self.fail(from, key);
            };
            comment
        };
        let is_new = map(&mut self.node, to).is_some_and(|map| map.iter().all(|it| it.0 != key));
        let Some(comment) = comment.filter(|_| is_new) else {
            return self.set(to, key, value, after);
        };
        let Some(map) = map(&mut self.node, to) else { return self.fail(to, key) };
        let place = map.iter().position(|(name, _)| name == after).map_or(map.len(), |at| at + 1);
        map.insert(place, (key.to_owned(), value.clone()));
        let (after, value) = (format!("{to}.{after}"), written(value));
        if self.text.insert(&after, key, &value, Some(&comment)).is_none() {
            self.fail(to, key);
        }
    }

    /// Removes a key of the map at `path`, if it exists. With a comment behind it, the line becomes a comment.
    pub(crate) fn remove(&mut self, path: &str, key: &str) {
        let Some(map) = map(&mut self.node, path) else { return self.fail(path, key) };
        let before = map.len();
        map.retain(|(name, _)| name != key);
        if map.len() != before && self.text.remove(&format!("{path}.{key}")).is_none() {
            self.fail(path, key);
        }
    }

    /// Turns a key of the map at `path` and its value into comments, if it exists.
    pub(crate) fn comment_out(&mut self, path: &str, key: &str, why: &str) {
        let Some(map) = map(&mut self.node, path) else { return self.fail(path, key) };
        let before = map.len();
        map.retain(|(name, _)| name != key);
        if map.len() != before && self.text.comment_out(&format!("{path}.{key}"), why).is_none() {
            self.fail(path, key);
        }
    }

    /// Puts comments above the line of a key of the map at `path`.
    pub(crate) fn comment_above(&mut self, path: &str, key: &str, comments: &[String]) {
        if self.text.comment_above(&format!("{path}.{key}"), comments).is_none() {
            self.fail(path, key);
        }
    }

    fn fail(&mut self, path: &str, key: &str) {
        self.stuck.get_or_insert_with(|| format!("{path}.{key}"));
    }

    /// The edited file.
    ///
    /// # Errors
    ///
    /// A [`Fault`] with the problems of the intended configuration, or if the text does not allow the edit.
    pub(crate) fn finish(self) -> anyhow::Result<Edited> {
        let intended = sidetrack_analysis::plan::parse(&self.node)
            .map_err(|problems| Fault(self.source.describe(&problems)))?;
        let name = &self.source.name;
        let refused = |what: &str| {
            Fault(format!(
                "{name}: {what} cannot be edited in place\n  \
                 hint: write each key on a line of its own, without anchors and merged keys"
            ))
        };
        if let Some(path) = &self.stuck {
            return Err(refused(path).into());
        }
        let text = self.text.finish();
        let edited = self.source.with(text.clone());
        match edited.parse() {
            Ok(loaded) if same(&loaded, &intended) => Ok(Edited { text, loaded }),
            _ => Err(refused("the file").into()),
        }
    }
}

/// Whether a file has the intended meaning: the hash covers everything.
fn same(loaded: &Loaded, (plan, _): &(Plan, Vec<Option<AnalysisPlan>>)) -> bool {
    loaded.plan.hash == plan.hash
}

/// The map at a path such as `experiments[0].variants[1]`.
fn map<'n>(node: &'n mut Node, path: &str) -> Option<&'n mut Vec<(String, Node)>> {
    let mut at = node;
    for part in path.split('.') {
        let (key, index) = match part.split_once('[') {
            Some((key, index)) => (key, Some(index.strip_suffix(']')?.parse::<usize>().ok()?)),
            None => (part, None),
        };
        at = at.get_mut(key)?;
        if let Some(index) = index {
            let Node::List(items) = at else { return None };
            at = items.get_mut(index)?;
        }
    }
    match at {
        Node::Map(entries) => Some(entries),
        _ => None,
    }
}

/// A scalar as a file writes it: plain where YAML reads it as the same text, else in quotes.
fn written(value: &Node) -> String {
    match value {
        Node::Number(number) => number.clone(),
        Node::Bool(value) => value.to_string(),
        Node::Text(text) => crate::yaml::scalar(text),
        Node::Null | Node::List(_) | Node::Map(_) => "null".to_owned(),
    }
}

#[cfg(test)]
mod tests;
