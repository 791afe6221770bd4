//! What few requests have. Those that have none of it pay for one word.

use std::ops::{Deref, DerefMut};

/// Something that as a rule is not there.
pub trait Seldom: Default + 'static {
    /// What is read where it is not.
    const NONE: &'static Self;
}

/// Is read as [`Seldom::NONE`] until something is written to it; to reach for it with `&mut` makes it.
#[derive(Clone, Debug)]
pub struct Rare<T>(Option<Box<T>>);

impl<T> Default for Rare<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Seldom> Deref for Rare<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::NONE)
    }
}

impl<T: Seldom> DerefMut for Rare<T> {
    #[cold]
    #[inline(never)]
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}

impl<T: Seldom + PartialEq> PartialEq for Rare<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Seldom + Eq> Eq for Rare<T> {}
