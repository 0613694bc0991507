//! Where the last tokens of a sequence stood before, and what followed them there.

use std::collections::HashMap;

use crate::backend::Token;

/// Tokens that must be the same before a guess is made.
const GRAM: usize = 3;
/// Longer matches are not told apart.
const LONGEST_MATCH: usize = 32;
/// Places that are compared, the latest first.
const MOST_PLACES: usize = 8;

type Gram = [Token; GRAM];

/// Places of all runs of [`GRAM`] tokens in one sequence.
#[derive(Debug, Default)]
pub(crate) struct Lookup {
    /// By run, the index after the last place where it stands.
    last: HashMap<Gram, usize>,
    /// By such an index, that of the place before of the same run; 0 is none.
    before: Vec<usize>,
}

/// Tokens that may come next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Guess {
    /// The tokens, at least one.
    pub(crate) tokens: Vec<Token>,
    /// How many tokens before them are the same as where they were found.
    pub(crate) matched: usize,
}

impl Lookup {
    /// Up to `most` tokens that followed the longest run like the end of `tokens`. The sequence must be the one of
    /// the last call, continued.
    pub(crate) fn guess(&mut self, tokens: &[Token], most: usize) -> Option<Guess> {
        self.index(tokens);
        let gram = tokens.last_chunk()?;
        let mut place = *self.last.get(gram)?;
        let mut found = (0, 0);
        for _ in 0..MOST_PLACES {
            let matched = common_end(&tokens[..place], tokens);
            // Of equals the latest, which comes first.
            if matched > found.0 {
                found = (matched, place);
            }
            place = self.before[place];
            if place == 0 || matched == LONGEST_MATCH {
                break;
            }
        }
        let (matched, place) = found;
        (most > 0).then(|| Guess {
            tokens: followers(tokens, place, most),
            matched,
        })
    }

    /// Notes the places of runs that something follows.
    fn index(&mut self, tokens: &[Token]) {
        for place in self.before.len()..tokens.len() {
            let gram: Option<&Gram> = tokens[..place].last_chunk();
            let before = gram.and_then(|gram| self.last.insert(*gram, place));
            self.before.push(before.unwrap_or_default());
        }
    }
}

/// The tokens from `place` on; where they run into the end, the repetition goes on.
fn followers(tokens: &[Token], place: usize, most: usize) -> Vec<Token> {
    tokens[place..].iter().copied().cycle().take(most).collect()
}

/// How many last tokens two sequences have in common, up to [`LONGEST_MATCH`].
fn common_end(a: &[Token], b: &[Token]) -> usize {
    let pairs = a.iter().rev().zip(b.iter().rev());
    pairs
        .take(LONGEST_MATCH)
        .take_while(|(a, b)| a == b)
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn guess(tokens: &[Token], most: usize) -> Option<(Vec<Token>, usize)> {
        let guess = Lookup::default().guess(tokens, most)?;
        Some((guess.tokens, guess.matched))
    }

    #[test]
    fn what_followed_comes_again() {
        assert_eq!(
            guess(&[1, 2, 3, 4, 5, 9, 1, 2, 3], 2),
            Some((vec![4, 5], 3))
        );
        assert_eq!(guess(&[1, 2, 3, 4, 5, 9, 2, 3], 2), None);
        assert_eq!(guess(&[1, 2, 3], 2), None);
        assert_eq!(guess(&[], 2), None);
        assert_eq!(guess(&[1, 2, 3, 4, 1, 2, 3], 0), None);
    }

    #[test]
    fn the_longest_match_counts_and_of_equals_the_latest() {
        let long_first = [7, 1, 2, 3, 4, 1, 2, 3, 5, 7, 1, 2, 3];
        assert_eq!(guess(&long_first, 1), Some((vec![4], 4)));
        let equal = [8, 1, 2, 3, 4, 9, 1, 2, 3, 5, 7, 1, 2, 3];
        assert_eq!(guess(&equal, 1), Some((vec![5], 3)));
    }

    #[test]
    fn a_loop_goes_on_past_the_end() {
        assert_eq!(guess(&[5; 4], 4), Some((vec![5; 4], 3)));
        let two = [1, 2, 1, 2, 1, 2];
        assert_eq!(guess(&two, 5), Some((vec![1, 2, 1, 2, 1], 4)));
    }

    proptest! {
        #[test]
        fn it_is_the_same_however_the_sequence_came(
            tokens in proptest::collection::vec(0..4i32, 0..80), most in 1usize..6,
        ) {
            let mut lookup = Lookup::default();
            for length in 0..=tokens.len() {
                let at_once = Lookup::default().guess(&tokens[..length], most);
                let guess = lookup.guess(&tokens[..length], most);
                prop_assert_eq!(&guess, &at_once);
                let ends = (GRAM..length).any(|end| tokens[..end].ends_with(&tokens[length.saturating_sub(GRAM)..length]));
                prop_assert_eq!(guess.is_some(), length > GRAM && ends);
                let Some(guess) = guess else { continue };
                prop_assert_eq!(guess.tokens.len(), most);
                prop_assert!(guess.matched >= GRAM);
            }
        }
    }
}
