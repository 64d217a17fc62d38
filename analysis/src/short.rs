//! Short digests: the first eight hexadecimal digits by which the log names a trial, a plan or a configuration.

use std::fmt;
use std::str::FromStr;

/// A short digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Short(u32);

impl Short {
    /// Its number.
    pub(crate) const fn number(self) -> u32 {
        self.0
    }

    /// The digest with a number.
    pub(crate) const fn of(number: u32) -> Self {
        Self(number)
    }
}

impl FromStr for Short {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u32::from_str_radix(text, 16).ok().filter(|_| digits);
        number.map(Self).ok_or_else(|| {
            let text = crate::figures::visible(text);
            format!("\"{text}\" is not a short digest; expected eight hexadecimal digits")
        })
    }
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_digest_is_eight_hexadecimal_digits() {
        for text in ["5cda82bb", "00000000", "0a1b2c3d", "ffffffff"] {
            assert_eq!(text.parse::<Short>().unwrap().to_string(), text);
        }
        for text in ["", "5cda82b", "5cda82bbb", "5cda82bg", "+cda82bb", " 5cda82b", "premium!"] {
            assert!(text.parse::<Short>().is_err(), "{text}");
        }
        let error = "x\u{1b}".parse::<Short>().unwrap_err();
        assert!(!error.contains('\u{1b}'), "{error}");
    }
}
