//! Guesses at what comes next, so that one step can yield several tokens of a sequence.
//!
//! A text often repeats what stands in it already: code that is edited, a source that is quoted, a list that goes on.
//! So the tokens that followed the last ones when they stood there before are a guess ([`Lookup`]). A step feeds as
//! much of it as pays ([`Gain`]) and keeps as much of that as the sampler chooses anyway: a draw depends on seed and
//! position only, so the answer is the one that would have come without.

mod gain;
mod lookup;
mod trust;

pub(crate) use gain::{Candidate, Gain};
pub(crate) use lookup::{Guess, Lookup};
pub(crate) use trust::Trust;

/// When sequences are continued by guesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Speculation {
    /// Never.
    Off,
    /// As far as it is measured to yield more tokens a second.
    #[default]
    WhenItPays,
    /// Wherever there is a guess; for tests.
    Always,
}
