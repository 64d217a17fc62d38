//! A vector that grows by chunks: elements never move, and no growth needs three times the memory for a moment.

use std::io;

use super::plain::Plain;
use super::spill::{In, Out};

/// How many elements are allocated at once.
const CHUNK: usize = 1 << 12;

/// A vector of chunks.
#[derive(Clone, Debug)]
pub(crate) struct Chunks<T>(Vec<Vec<T>>);

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Chunks<T> {
    pub(crate) fn len(&self) -> u32 {
        let full = self.0.len().saturating_sub(1) * CHUNK;
        u32::try_from(full + self.0.last().map_or(0, Vec::len)).unwrap_or(u32::MAX)
    }

    /// This value so many times.
    pub(crate) fn filled(count: u32, value: T) -> Self
    where
        T: Copy,
    {
        let count = count as usize;
        let chunk = |start: usize| {
            let mut chunk = Vec::with_capacity(CHUNK);
            chunk.resize(CHUNK.min(count - start), value);
            chunk
        };
        Self((0..count).step_by(CHUNK).map(chunk).collect())
    }

    /// How many bytes are allocated.
    pub(crate) fn bytes(&self) -> usize {
        self.0.len() * CHUNK * size_of::<T>()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten()
    }

    pub(crate) fn push(&mut self, value: T) {
        if self.0.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.0.push(Vec::with_capacity(CHUNK));
        }
        if let Some(chunk) = self.0.last_mut() {
            chunk.push(value);
        }
    }

    pub(crate) fn get(&self, at: u32) -> Option<&T> {
        let at = at as usize;
        self.0.get(at / CHUNK)?.get(at % CHUNK)
    }

    pub(crate) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        let at = at as usize;
        self.0.get_mut(at / CHUNK)?.get_mut(at % CHUNK)
    }
}

impl<T: Plain> Chunks<T> {
    pub(super) fn store(&self, out: &mut Out) -> io::Result<()> {
        out.put([self.len()])?;
        self.0.iter().try_for_each(|chunk| out.put(chunk.iter().copied()))
    }

    pub(super) fn load(from: &mut In<'_>) -> io::Result<Self> {
        let mut chunks = Self::default();
        let count: u32 = from.one()?;
        from.each(count as usize, |value| chunks.push(value))?;
        Ok(chunks)
    }

    /// Stores several.
    pub(super) fn store_all(all: &[Self], out: &mut Out) -> io::Result<()> {
        out.put([all.len() as u64])?;
        all.iter().try_for_each(|chunks| chunks.store(out))
    }

    pub(super) fn load_all(from: &mut In<'_>) -> io::Result<Vec<Self>> {
        let count: u64 = from.one()?;
        (0..count).map(|_| Self::load(from)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_keep_their_places_over_chunks() {
        let mut chunks = Chunks::default();
        assert_eq!((chunks.len(), chunks.get(0)), (0, None));
        let count = 2 * u32::try_from(CHUNK).unwrap() + 1;
        for number in 0..count {
            chunks.push(number);
            assert_eq!(chunks.len(), number + 1);
        }
        assert!((0..count).all(|at| chunks.get(at) == Some(&at)));
        assert!(chunks.iter().copied().eq(0..count));
        assert!(chunks.get(count).is_none() && chunks.get_mut(count).is_none());
        *chunks.get_mut(count - 2).unwrap() = 0;
        assert_eq!((chunks.get(count - 2), chunks.get(count - 1)), (Some(&0), Some(&(count - 1))));
    }
}
