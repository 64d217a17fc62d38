//! Identifiers of experiments and variants, and the lists that they index.
//!
//! Only the plan makes an identifier, from a list that it makes with it: so looking one up in a list
//! of the same plan cannot fail, and callers need no fallback. Mixing up the two kinds, or an
//! identifier with a plain number, does not compile. An identifier of one plan (or one experiment)
//! must not be used with another.
//!
//! The lists are not slices (no `Deref`): lints against indexing then still hold for slices, and not
//! for these lists.

use core::ops::{Index, IndexMut};

macro_rules! id {
    ($(#[doc = $doc:literal])* $id:ident, $(#[doc = $list_doc:literal])* $list:ident) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $id(usize);

        impl $id {
            /// The position in the file, from 0.
            #[must_use]
            pub const fn index(self) -> usize {
                self.0
            }

            pub(crate) const fn new(index: usize) -> Self {
                Self(index)
            }
        }

        $(#[doc = $list_doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $list<T>(Vec<T>);

        impl<T> $list<T> {
            pub(crate) const fn new(items: Vec<T>) -> Self {
                Self(items)
            }

            /// The items in the order of the file.
            #[must_use]
            pub const fn as_slice(&self) -> &[T] {
                self.0.as_slice()
            }

            /// The items in the order of the file, to change.
            pub const fn as_mut_slice(&mut self) -> &mut [T] {
                self.0.as_mut_slice()
            }

            /// The items in the order of the file.
            pub fn iter(&self) -> core::slice::Iter<'_, T> {
                self.0.iter()
            }

            /// The first item.
            #[must_use]
            pub fn first(&self) -> Option<&T> {
                self.0.first()
            }

            /// The number of items.
            #[must_use]
            pub const fn len(&self) -> usize {
                self.0.len()
            }

            /// Whether there are no items.
            #[must_use]
            pub const fn is_empty(&self) -> bool {
                self.0.is_empty()
            }

            /// All identifiers, in the order of the file.
            pub fn ids(&self) -> impl DoubleEndedIterator<Item = $id> + ExactSizeIterator + use<T> {
                (0..self.0.len()).map($id)
            }

            /// All items with their identifiers, in the order of the file.
            pub fn entries(&self) -> impl DoubleEndedIterator<Item = ($id, &T)> + ExactSizeIterator {
                self.0.iter().enumerate().map(|(index, item)| ($id(index), item))
            }

            /// The identifier of the first item that satisfies the predicate.
            pub fn find(&self, predicate: impl FnMut(&T) -> bool) -> Option<$id> {
                self.0.iter().position(predicate).map($id)
            }

            /// A list of other items, made from these.
            pub fn map<U>(&self, mut make: impl FnMut($id, &T) -> U) -> $list<U> {
                $list(self.entries().map(|(id, item)| make(id, item)).collect())
            }
        }

        #[expect(clippy::indexing_slicing, reason = "the plan makes an identifier with its list")]
        impl<T> Index<$id> for $list<T> {
            type Output = T;

            fn index(&self, id: $id) -> &T {
                &self.0[id.0]
            }
        }

        #[expect(clippy::indexing_slicing, reason = "the plan makes an identifier with its list")]
        impl<T> IndexMut<$id> for $list<T> {
            fn index_mut(&mut self, id: $id) -> &mut T {
                &mut self.0[id.0]
            }
        }

        impl<T> IntoIterator for $list<T> {
            type Item = T;
            type IntoIter = std::vec::IntoIter<T>;

            fn into_iter(self) -> Self::IntoIter {
                self.0.into_iter()
            }
        }

        impl<'a, T> IntoIterator for &'a $list<T> {
            type Item = &'a T;
            type IntoIter = core::slice::Iter<'a, T>;

            fn into_iter(self) -> Self::IntoIter {
                self.0.iter()
            }
        }
    };
}

id! {
    /// One experiment of a plan.
    ExperimentId,
    /// One item for each experiment of a plan.
    PerExperiment
}

id! {
    /// One variant of an experiment.
    VariantId,
    /// One item for each variant of an experiment.
    PerVariant
}
