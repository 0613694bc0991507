//! Who may use a computed prefix, and how much of it a prompt has.

use crate::adapters::AdapterSet;
use crate::backend::Token;

/// Whom computed tokens may serve.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Access {
    /// Whose they are; `None` when they serve nobody else.
    pub(crate) identity: Option<u64>,
    /// How many of the first tokens everybody may use.
    pub(crate) public: usize,
    /// What they are computed with: they serve nobody who has other adapters.
    pub(crate) adapters: AdapterSet,
}

impl Access {
    /// How many of `common` equal first tokens one may take from the other.
    pub(crate) fn usable(&self, other: &Self, common: usize) -> usize {
        if self.adapters != other.adapters {
            return 0;
        }
        match (self.identity, other.identity) {
            (Some(a), Some(b)) if a == b => common,
            (Some(_), Some(_)) => common.min(self.public).min(other.public),
            _ => 0,
        }
    }

    /// Whether whoever may use the one may use the other as well.
    pub(crate) fn within(&self, other: &Self) -> bool {
        self.identity == other.identity
            && self.adapters == other.adapters
            && self.public <= other.public
    }
}

/// How many first tokens two sequences have in common.
pub(crate) fn common(a: &[Token], b: &[Token]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(identity: Option<u64>, public: usize) -> Access {
        Access {
            identity,
            public,
            adapters: AdapterSet::default(),
        }
    }

    #[test]
    fn prefixes_stay_within_an_identity_except_for_their_public_part() {
        let own = access(Some(1), 3);
        assert_eq!(own.usable(&access(Some(1), 0), 9), 9);
        assert_eq!(own.usable(&access(Some(2), 5), 9), 3);
        assert_eq!(own.usable(&access(Some(2), 5), 2), 2);
        assert_eq!(own.usable(&access(Some(2), 0), 9), 0);
        assert_eq!(own.usable(&access(None, 5), 9), 0);
        assert_eq!(access(None, 5).usable(&access(None, 5), 9), 0);
    }

    #[test]
    fn not_even_the_public_part_passes_from_one_set_of_adapters_to_another() {
        let with = |scale| Access {
            adapters: AdapterSet::new([(0, scale)]).unwrap(),
            ..access(Some(1), 3)
        };
        assert_eq!(with(1.0).usable(&with(1.0), 9), 9);
        assert_eq!(with(1.0).usable(&with(0.5), 9), 0);
        assert_eq!(with(1.0).usable(&access(Some(1), 3), 9), 0);
    }

    #[test]
    fn common_tokens_are_counted_from_the_front() {
        assert_eq!(common(&[1, 2, 3], &[1, 2, 4]), 2);
        assert_eq!(common(&[1, 2], &[1, 2, 4]), 2);
        assert_eq!(common(&[2], &[1, 2]), 0);
        assert_eq!(common(&[], &[]), 0);
    }
}
