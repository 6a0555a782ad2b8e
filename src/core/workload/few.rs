//! A set that mostly has at most one element.
//!
//! Responsible for keeping one element in place: most units have one instance, and what is looked at
//! with each event should be in one piece. Of many elements it is an ordinary ordered set.

use std::collections::BTreeSet;

/// An ordered set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Few<T> {
    #[default]
    None,
    One(T),
    /// At least two.
    Many(BTreeSet<T>),
}

impl<T: Ord> Few<T> {
    /// Adds an element, if it is not there.
    pub(super) fn insert(&mut self, new: T) {
        *self = match std::mem::take(self) {
            Few::None => Few::One(new),
            Few::One(old) if old == new => Few::One(old),
            Few::One(old) => Few::Many(BTreeSet::from([old, new])),
            Few::Many(mut all) => {
                all.insert(new);
                Few::Many(all)
            }
        };
    }

    /// Takes an element away, if it is there.
    pub(super) fn remove(&mut self, gone: &T) {
        match self {
            Few::One(one) if one == gone => *self = Few::None,
            Few::None | Few::One(_) => {}
            Few::Many(all) => {
                all.remove(gone);
                if all.len() == 1
                    && let Some(last) = all.pop_first()
                {
                    *self = Few::One(last);
                }
            }
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Few::None => 0,
            Few::One(_) => 1,
            Few::Many(all) => all.len(),
        }
    }

    /// All, in order.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        let (one, many) = match self {
            Few::None => (None, None),
            Few::One(one) => (Some(one), None),
            Few::Many(all) => (None, Some(all)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_set(steps in proptest::collection::vec((any::<bool>(), 0u8..5), 0..40)) {
            let (mut few, mut set) = (Few::default(), BTreeSet::new());
            for (insert, value) in steps {
                if insert {
                    few.insert(value);
                    set.insert(value);
                } else {
                    few.remove(&value);
                    set.remove(&value);
                }
                prop_assert_eq!(few.len(), set.len());
                prop_assert!(few.iter().eq(set.iter()));
                prop_assert!(few.iter().rev().eq(set.iter().rev()));
                let mut anew = Few::default();
                set.iter().for_each(|value| anew.insert(*value));
                prop_assert_eq!(&few, &anew, "two of the same elements are equal");
            }
        }
    }
}
