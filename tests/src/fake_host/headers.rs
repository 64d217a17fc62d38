//! A header map as Envoy keeps it: ordered, repeatable, names in lower case, values any bytes.

use std::fmt;

/// One header line: lower-case name and raw value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// An ordered list of header lines. Also built from arrays, slices and vectors of pairs.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HeaderMap(Vec<Pair>);

impl HeaderMap {
    /// The value of the first line of that name.
    #[must_use]
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        let name = name.as_ref().to_ascii_lowercase();
        self.0.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_slice())
    }

    /// The first value of that name as text, broken UTF-8 replaced.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|v| String::from_utf8_lossy(v).into_owned())
    }

    /// Every value of that name, in order.
    #[must_use]
    pub fn all(&self, name: impl AsRef<[u8]>) -> Vec<Vec<u8>> {
        let name = name.as_ref().to_ascii_lowercase();
        self.0.iter().filter(|(n, _)| *n == name).map(|(_, v)| v.clone()).collect()
    }

    /// All lines, in order.
    #[must_use]
    pub fn pairs(&self) -> &[Pair] {
        &self.0
    }

    /// Appends a line.
    pub fn add(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.0.push((name.as_ref().to_ascii_lowercase(), value.as_ref().to_vec()));
    }

    /// Sets the first line of that name and drops its other copies; appends if there was none.
    pub fn replace(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let name = name.as_ref().to_ascii_lowercase();
        let mut value = Some(value.as_ref().to_vec());
        self.0.retain_mut(|(n, v)| {
            if *n != name {
                return true;
            }
            value.take().is_some_and(|new| {
                *v = new;
                true
            })
        });
        if let Some(value) = value {
            self.0.push((name, value));
        }
    }

    /// Removes every line of that name.
    pub fn remove(&mut self, name: impl AsRef<[u8]>) {
        let name = name.as_ref().to_ascii_lowercase();
        self.0.retain(|(n, _)| *n != name);
    }

    /// The ABI's form: count, lengths, then every name and value with a zero byte after it. Nothing if empty.
    pub(super) fn encode(&self) -> Vec<u8> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let mut out = word(self.0.len()).to_le_bytes().to_vec();
        for (name, value) in &self.0 {
            out.extend(word(name.len()).to_le_bytes());
            out.extend(word(value.len()).to_le_bytes());
        }
        for part in self.0.iter().flat_map(|(name, value)| [name, value]) {
            out.extend(part);
            out.push(0);
        }
        out
    }

    /// Reads the ABI's form; like Envoy, whatever is malformed reads as an empty list.
    pub(super) fn decode(bytes: &[u8]) -> Self {
        Self::try_decode(bytes).unwrap_or_default()
    }

    fn try_decode(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| {
            Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
        };
        let count = number(0)? as usize;
        let mut at = count.checked_mul(8)?.checked_add(4)?;
        let mut take = |len: u32| {
            let part = bytes.get(at..at.checked_add(len as usize)?)?.to_vec();
            at += len as usize + 1;
            Some(part)
        };
        let mut map = Self::default();
        for line in 0..count {
            let (name, value) = (take(number(4 + line * 8)?)?, take(number(8 + line * 8)?)?);
            map.add(name, value);
        }
        Some(map)
    }
}

/// Readable in a failing test: names and values as text where they are text, escaped where not.
impl fmt::Debug for HeaderMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line =
            |(name, value): &Pair| format!("{}: {}", name.escape_ascii(), value.escape_ascii());
        f.debug_list().entries(self.0.iter().map(line)).finish()
    }
}

/// A length as the ABI's 32-bit word.
pub(super) fn word(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl<K: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(K, V)> for HeaderMap {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(lines: I) -> Self {
        let mut map = Self::default();
        lines.into_iter().for_each(|(name, value)| map.add(name, value));
        map
    }
}

impl<K: AsRef<[u8]>, V: AsRef<[u8]>> From<Vec<(K, V)>> for HeaderMap {
    fn from(lines: Vec<(K, V)>) -> Self {
        lines.into_iter().collect()
    }
}

impl<K: AsRef<[u8]>, V: AsRef<[u8]>, const N: usize> From<[(K, V); N]> for HeaderMap {
    fn from(lines: [(K, V); N]) -> Self {
        lines.into_iter().collect()
    }
}

impl<K: AsRef<[u8]>, V: AsRef<[u8]>> From<&[(K, V)]> for HeaderMap {
    fn from(lines: &[(K, V)]) -> Self {
        lines.iter().map(|(name, value)| (name, value)).collect()
    }
}
