//! Releases of Istio, and what the manifests need from them.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, ensure};

/// A release of Istio 1: `1.30` or `1.30.3`. Without a patch, the first one of the minor release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Release {
    minor: u16,
    patch: u16,
}

impl Release {
    /// The oldest release that the manifests are tested with.
    const OLDEST: Self = Self::new(28, 0);
    /// TrafficExtension.
    pub(super) const TRAFFIC_EXTENSION: Self = Self::new(30, 0);
    /// A filter of a service whose waypoint is in another namespace. In older releases, the waypoint waits for the
    /// filter forever and serves nothing.
    pub(super) const WAYPOINT_ELSEWHERE: Self = Self::new(30, 3);

    const fn new(minor: u16, patch: u16) -> Self {
        Self { minor, patch }
    }
}

impl FromStr for Release {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let expected = || format!("expected a release such as {} or 1.30.3", Self::OLDEST);
        let rest = text.strip_prefix("1.").with_context(expected)?;
        let (minor, patch) = rest.split_once('.').unwrap_or((rest, "0"));
        let release = Self {
            minor: minor.parse().ok().with_context(expected)?,
            patch: patch.parse().ok().with_context(expected)?,
        };
        ensure!(
            release >= Self::OLDEST,
            "Istio {release} is older than {}, the oldest release that these manifests are tested with",
            Self::OLDEST
        );
        Ok(release)
    }
}

/// `1.30`, or `1.30.3`.
impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.minor)?;
        if self.patch > 0 {
            write!(f, ".{}", self.patch)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_without_a_patch_is_the_first_of_its_minor_release() {
        let release = |text: &str| text.parse::<Release>().unwrap();
        assert_eq!(release("1.30"), Release::TRAFFIC_EXTENSION);
        assert!(release("1.30") < Release::WAYPOINT_ELSEWHERE);
        assert!(release("1.30.3") >= Release::WAYPOINT_ELSEWHERE);
        assert!(release("1.31") >= Release::WAYPOINT_ELSEWHERE);
        assert_eq!([release("1.28"), release("1.30.3")].map(|r| r.to_string()), ["1.28", "1.30.3"]);
    }

    #[test]
    fn releases_that_are_not_tested_are_refused() {
        for text in ["1.27.9", "2.0", "30", "1.x", "1.30.3-alpha", "", "1."] {
            assert!(text.parse::<Release>().is_err(), "{text}");
        }
    }
}
