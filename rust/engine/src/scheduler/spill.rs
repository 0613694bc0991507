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
    /// The one that is being brought back, which does not go for others.
    pinned: Option<u64>,
    next_id: u64,
    totals: SpillTotals,
}

impl Spill {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            held: Vec::new(),
            pinned: None,
            next_id: 0,
            totals: SpillTotals::default(),
        }
    }

    pub(crate) fn totals(&self) -> SpillTotals {
        self.totals
    }

    /// Makes room for a sequence of so many bytes: its own beginnings go, and those that came first where room is still
    /// short. Answers whether there is room; where there cannot be, all stay.
    pub(crate) fn make_room(&mut self, access: &Access, tokens: &[Token], bytes: usize) -> bool {
        let pinned = self.pinned;
        let stays = |held: &Spilled| Some(held.id) == pinned;
        let staying = self.held.iter().filter(|held| stays(held));
        let fixed: usize = staying.map(|held| held.state.len()).sum();
        if fixed + bytes > self.most {
            return false;
        }
        self.held.retain(|held| {
            stays(held) || !(held.access.within(access) && tokens.starts_with(&held.tokens))
        });
        while self.bytes() + bytes > self.most
            && let Some(first) = self.held.iter().position(|held| !stays(held))
        {
            self.held.remove(first);
        }
        self.totals.bytes = self.bytes();
        true
    }

    /// Holds a sequence for which room was made.
    pub(crate) fn put(&mut self, access: Access, tokens: Vec<Token>, state: Vec<u8>) {
        let id = self.next_id;
        self.next_id += 1;
        self.totals.saved += 1;
        self.held.push(Spilled {
            id,
            access,
            tokens,
            state,
        });
        self.totals.bytes = self.bytes();
        debug_assert!(self.totals.bytes <= self.most, "room was made for less");
    }

    /// Keeps a sequence, or none, from going for others.
    pub(crate) fn pin(&mut self, id: Option<u64>) {
        self.pinned = id;
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Spilled> {
        self.held.iter().find(|held| held.id == id)
    }

    /// Notes that the first `used` tokens of a sequence are in the KV cache again, and lets go of it unless there is more
    /// to it. Its last token is computed anew in any case.
    pub(crate) fn brought_back(&mut self, id: u64, used: usize) {
        self.totals.restored += 1;
        self.held
            .retain(|held| held.id != id || used + 1 < held.tokens.len());
        self.totals.bytes = self.bytes();
    }

    fn bytes(&self) -> usize {
        self.held.iter().map(|held| held.state.len()).sum()
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

    fn save(spill: &mut Spill, identity: u64, tokens: &[Token]) -> bool {
        let room = spill.make_room(&access(identity), tokens, tokens.len());
        if room {
            assert!(
                spill.totals().bytes + tokens.len() <= 10,
                "the bound holds before it is saved"
            );
            spill.put(access(identity), tokens.to_vec(), vec![0; tokens.len()]);
        }
        room
    }

    fn spill(held: &[(u64, &[Token])]) -> Spill {
        let mut spill = Spill::new(10);
        for &(identity, tokens) in held {
            assert!(save(&mut spill, identity, tokens));
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
    fn what_has_no_room_puts_nobody_out() {
        let mut spill = spill(&[(1, &[1; 4]), (1, &[2; 4])]);
        assert!(!save(&mut spill, 1, &[3; 11]));
        assert_eq!(tokens(&spill), [&[1; 4], &[2; 4]]);
        // The first is being brought back meanwhile.
        spill.pin(Some(0));
        assert!(!save(&mut spill, 1, &[3; 7]));
        assert!(save(&mut spill, 1, &[3; 6]));
        assert_eq!(tokens(&spill), [&[1; 4][..], &[3; 6]]);
    }

    #[test]
    fn the_best_is_found_within_an_identity_and_goes_when_it_is_used_up() {
        let mut spill = spill(&[(1, &[1, 2, 3, 4]), (1, &[1, 2, 9]), (2, &[1, 2, 3])]);
        let best = spill.best(&access(1), &[1, 2, 5]).unwrap();
        assert_eq!((best.length, best.whole), (2, 3));
        assert_eq!(spill.best(&access(3), &[1, 2, 3]).unwrap().length, 0);
        assert_eq!(spill.get(best.id).unwrap().tokens, [1, 2, 9]);
        spill.brought_back(best.id, 1);
        assert_eq!(spill.totals().bytes, 10, "there is more to it");
        spill.brought_back(best.id, 2);
        assert!(spill.get(best.id).is_none());
        assert_eq!((spill.totals().restored, spill.totals().bytes), (2, 7));
    }
}
