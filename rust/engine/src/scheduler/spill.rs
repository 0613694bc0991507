//! Computed prefixes that had to leave the KV cache and wait in main memory, for as long as there is room for them.

use crate::backend::Token;
use crate::scheduler::prefix::{Access, common};

/// What became of sequences that left the KV cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SpillTotals {
    /// Sequences that were saved.
    pub(crate) saved: u64,
    /// Sequences that were brought back.
    pub(crate) restored: u64,
    /// Bytes that are held now.
    pub(crate) bytes: usize,
}

/// A sequence as it was in the KV cache.
pub(crate) struct Spilled {
    id: u64,
    pub(crate) access: Access,
    pub(crate) tokens: Vec<Token>,
    /// Its keys and values, as the backend wrote them.
    pub(crate) state: Vec<u8>,
}

/// A beginning of a spilled sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) id: u64,
    /// Tokens that it begins like the prompt.
    pub(crate) length: usize,
    /// Tokens of all of it.
    pub(crate) whole: usize,
}

/// Spilled sequences within a bound of bytes.
pub(crate) struct Spill {
    most: usize,
    /// Those that came first first.
    held: Vec<Spilled>,
    next_id: u64,
    totals: SpillTotals,
}

impl Spill {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            held: Vec::new(),
            next_id: 0,
            totals: SpillTotals::default(),
        }
    }

    /// The most bytes that a sequence may have.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    pub(crate) fn totals(&self) -> SpillTotals {
        self.totals
    }

    /// Holds a sequence of at most [`Self::most`] bytes, in place of its own beginnings, and of those that came first
    /// where room is short.
    pub(crate) fn put(&mut self, access: Access, tokens: Vec<Token>, state: Vec<u8>) {
        let spilled = Spilled {
            id: self.next_id,
            access,
            tokens,
            state,
        };
        self.next_id += 1;
        self.totals.saved += 1;
        self.hold(spilled);
    }

    /// Holds again what was taken and could not be brought back.
    pub(crate) fn put_back(&mut self, spilled: Spilled) {
        self.totals.restored -= 1;
        self.hold(spilled);
    }

    fn hold(&mut self, spilled: Spilled) {
        self.held.retain(|held| {
            !(held.access.within(&spilled.access) && spilled.tokens.starts_with(&held.tokens))
        });
        self.held.push(spilled);
        let bytes = |held: &[Spilled]| held.iter().map(|held| held.state.len()).sum::<usize>();
        while bytes(&self.held) > self.most {
            self.held.remove(0);
        }
        self.totals.bytes = bytes(&self.held);
    }

    /// Lets go of a sequence, to be brought back.
    pub(crate) fn take(&mut self, id: u64) -> Option<Spilled> {
        let index = self.held.iter().position(|held| held.id == id)?;
        let taken = self.held.remove(index);
        self.totals.bytes -= taken.state.len();
        self.totals.restored += 1;
        Some(taken)
    }

    /// The one that has most of a prompt's first tokens, the shortest of equals.
    pub(crate) fn best(&self, access: &Access, tokens: &[Token]) -> Option<Match> {
        let matches = self.held.iter().map(|held| Match {
            id: held.id,
            length: access.usable(&held.access, common(&held.tokens, tokens)),
            whole: held.tokens.len(),
        });
        matches.max_by_key(|found| (found.length, std::cmp::Reverse(found.whole)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(identity: u64) -> Access {
        Access {
            identity: Some(identity),
            ..Access::default()
        }
    }

    fn spill(held: &[(u64, &[Token])]) -> Spill {
        let mut spill = Spill::new(10);
        for &(identity, tokens) in held {
            spill.put(access(identity), tokens.to_vec(), vec![0; tokens.len()]);
        }
        spill
    }

    fn tokens(spill: &Spill) -> Vec<&[Token]> {
        spill.held.iter().map(|held| &*held.tokens).collect()
    }

    #[test]
    fn what_came_first_goes_first() {
        let spill = spill(&[(1, &[1; 4]), (1, &[2; 4]), (1, &[3; 4])]);
        assert_eq!(tokens(&spill), [&[2; 4], &[3; 4]]);
        assert_eq!((spill.totals().saved, spill.totals().bytes), (3, 8));
    }

    #[test]
    fn a_longer_one_takes_the_place_of_its_beginnings() {
        let spill = spill(&[(1, &[1, 2]), (2, &[1]), (1, &[1, 2, 3])]);
        assert_eq!(tokens(&spill), [&[1][..], &[1, 2, 3]]);
    }

    #[test]
    fn the_best_is_found_within_an_identity_and_taken_once() {
        let mut spill = spill(&[(1, &[1, 2, 3, 4]), (1, &[1, 2, 9]), (2, &[1, 2, 3])]);
        let best = spill.best(&access(1), &[1, 2, 5]).unwrap();
        assert_eq!((best.length, best.whole), (2, 3));
        assert_eq!(spill.best(&access(3), &[1, 2, 3]).unwrap().length, 0);
        let taken = spill.take(best.id).unwrap();
        assert_eq!(taken.tokens, [1, 2, 9]);
        assert!(spill.take(best.id).is_none());
        spill.put_back(taken);
        assert_eq!((spill.totals().restored, spill.totals().bytes), (0, 10));
    }
}
