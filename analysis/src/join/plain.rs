//! Values of fixed width as bytes: what temporary files contain. A file is read by the process that wrote it, and every bit
//! of a number comes back.

use crate::short::Short;

/// A value of fixed width.
pub(crate) trait Plain: Copy {
    /// Its bytes.
    const WIDTH: usize;

    /// Appends it.
    fn put(self, to: &mut Vec<u8>);

    /// Takes it from the front. `None` if there are too few bytes.
    fn take(from: &mut &[u8]) -> Option<Self>;
}

macro_rules! numbers {
    ($($number:ty),+) => {$(
        impl Plain for $number {
            const WIDTH: usize = size_of::<Self>();

            fn put(self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.to_le_bytes());
            }

            fn take(from: &mut &[u8]) -> Option<Self> {
                let (bytes, rest) = from.split_first_chunk()?;
                *from = rest;
                Some(Self::from_le_bytes(*bytes))
            }
        }
    )+};
}

numbers!(u8, u32, u64, f64);

impl Plain for bool {
    const WIDTH: usize = 1;

    fn put(self, to: &mut Vec<u8>) {
        u8::from(self).put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        Some(u8::take(from)? != 0)
    }
}

impl Plain for Short {
    const WIDTH: usize = u32::WIDTH;

    fn put(self, to: &mut Vec<u8>) {
        self.number().put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        u32::take(from).map(Self::of)
    }
}

impl<A: Plain, B: Plain> Plain for (A, B) {
    const WIDTH: usize = A::WIDTH + B::WIDTH;

    fn put(self, to: &mut Vec<u8>) {
        self.0.put(to);
        self.1.put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        Some((A::take(from)?, B::take(from)?))
    }
}

impl<T: Plain + Default> Plain for Option<T> {
    const WIDTH: usize = 1 + T::WIDTH;

    fn put(self, to: &mut Vec<u8>) {
        self.is_some().put(to);
        self.unwrap_or_default().put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        let (is_some, value) = <(bool, T)>::take(from)?;
        Some(is_some.then_some(value))
    }
}

/// Makes a struct plain: all its fields, one after another.
macro_rules! plain {
    ($type:ty { $($field:ident: $of:ty),+ $(,)? }) => {
        impl $crate::join::plain::Plain for $type {
            const WIDTH: usize = 0 $(+ <$of as $crate::join::plain::Plain>::WIDTH)+;

            fn put(self, to: &mut Vec<u8>) {
                // A field that is missing here does not compile.
                let Self { $($field),+ } = self;
                $($crate::join::plain::Plain::put($field, to);)+
            }

            fn take(from: &mut &[u8]) -> Option<Self> {
                Some(Self { $($field: <$of as $crate::join::plain::Plain>::take(from)?),+ })
            }
        }
    };
}

pub(super) use plain;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Both {
        number: f64,
        known: Option<u32>,
        is_late: bool,
        pair: (u8, u64),
    }

    plain!(Both { number: f64, known: Option<u32>, is_late: bool, pair: (u8, u64) });

    #[test]
    fn every_bit_comes_back() {
        let all = [
            Both { number: -0.0, known: None, is_late: true, pair: (255, u64::MAX) },
            Both { number: 0.1 + 0.2, known: Some(u32::MAX), is_late: false, pair: (0, 7) },
            Both { number: f64::NEG_INFINITY, known: Some(0), is_late: true, pair: (1, 0) },
        ];
        let mut bytes = Vec::new();
        all.iter().for_each(|both| both.put(&mut bytes));
        assert_eq!(bytes.len(), all.len() * Both::WIDTH);
        let mut rest = bytes.as_slice();
        for both in all {
            let found = Both::take(&mut rest).unwrap();
            assert_eq!((found, found.number.to_bits()), (both, both.number.to_bits()));
        }
        assert!(rest.is_empty() && Both::take(&mut rest).is_none());
        let mut nan = Vec::new();
        f64::from_bits(0x7ff8_dead_beef_0001).put(&mut nan);
        assert_eq!(f64::take(&mut nan.as_slice()).unwrap().to_bits(), 0x7ff8_dead_beef_0001);
    }
}
