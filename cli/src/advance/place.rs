//! Where an experiment is, and where its change goes.

use std::path::Path;

use anyhow::Context as _;

use super::kube::Plugin;
use super::look::Notes;
use super::{Apply, Args, Look, change};
use crate::edit::Edited;
use crate::git::Repository;
use crate::load::Source;
use crate::set;

/// Who makes the commits.
const BY: &str = "sidetrack advance";

/// The place of an experiment.
pub(super) enum Place<'a> {
    File(&'a Path),
    Git { file: &'a Path, repository: Repository, pushes: bool, is_dry: bool },
    Plugin(&'a Plugin<'a>),
}

impl<'a> Place<'a> {
    pub(super) fn of_file(args: &'a Args) -> anyhow::Result<Self> {
        let file = args.file.as_deref();
        let file = file.context("FILE is missing: pass the path of an experiment file")?;
        Ok(match args.apply {
            Apply::Git => {
                let repository = Repository::of(file)?;
                Self::Git { file, repository, pushes: args.push, is_dry: args.dry_run }
            }
            Apply::File | Apply::Kube => Self::File(file),
        })
    }

    /// What comes before the experiment is read.
    pub(super) fn prepare(&self) -> anyhow::Result<()> {
        match self {
            Self::Git { is_dry: true, .. } | Self::File(_) | Self::Plugin(_) => Ok(()),
            Self::Git { repository, pushes: true, .. } => repository.synchronize(),
            Self::Git { repository, .. } => repository.discard_unfinished(),
        }
    }

    pub(super) fn source(&self) -> anyhow::Result<Source> {
        match self {
            Self::File(file) | Self::Git { file, .. } => set::read(file),
            Self::Plugin(plugin) => plugin.source(),
        }
    }

    /// How to remove a note of a rollback that is not in the file.
    pub(super) fn removal(&self) -> String {
        match self {
            Self::File(_) | Self::Git { .. } => String::new(),
            Self::Plugin(plugin) => plugin.removal(),
        }
    }

    /// The notes of rollbacks, unless they are in the file.
    pub(super) fn notes<'n>(&'n self, removal: &'n str) -> Option<Notes<'n>> {
        match self {
            Self::File(_) | Self::Git { .. } => None,
            Self::Plugin(plugin) => Some(Notes { text: plugin.notes(), removal }),
        }
    }

    /// Writes the change; returns the hash of a commit.
    pub(super) fn write(&self, edited: &Edited, look: &Look) -> anyhow::Result<Option<String>> {
        let was = look.source.bytes();
        match self {
            Self::File(file) => change::write(file, was, &edited.text).map(|()| None),
            Self::Git { repository, .. } => {
                repository.commit(Some(was), &edited.text, &look.message()?, BY).map(Some)
            }
            Self::Plugin(plugin) => plugin.apply(edited, look.note()?.as_deref()).map(|()| None),
        }
    }

    /// What comes after the change.
    pub(super) fn finish(&self) -> anyhow::Result<()> {
        match self {
            Self::Git { repository, pushes: true, is_dry: false, .. } => repository.push(),
            _ => Ok(()),
        }
    }

    /// The file for the next command: for an object, the one that its manifests were rendered from.
    pub(super) fn file<'f>(&self, name: &'f str) -> &'f str {
        if matches!(self, Self::Plugin(_)) { "experiment.yaml" } else { name }
    }
}
