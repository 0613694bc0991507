//! Follows one answer through its form.

use std::fmt;

use llguidance::Matcher;
use toktrie::SimpleVob;

use crate::backend::Token;

/// Why an answer could not be followed any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer's form became too complex to follow")]
pub struct FollowError;

/// Says which tokens may come next. Made by [`super::Forms::constrain`], for one answer.
pub struct Constraint {
    /// It is large, and requests are moved about.
    matcher: Box<Matcher>,
    /// The tokens that may come next, where that was worked out already.
    allowed: Option<SimpleVob>,
}

impl Constraint {
    pub(super) fn new(matcher: Matcher) -> Self {
        Self {
            matcher: Box::new(matcher),
            allowed: None,
        }
    }

    /// Works out which tokens may come next, if that is still to be done: tens of microseconds as a rule. It needs
    /// no logits, so it can be done while the model computes them. An error shows when the mask is applied.
    pub fn prepare(&mut self) {
        if self.allowed.is_none() {
            self.allowed = self.matcher.compute_mask_or_eos().ok();
        }
    }

    /// Bans every token that may not come next.
    ///
    /// # Errors
    /// When the answer cannot be followed any further.
    pub fn apply(&mut self, logits: &mut [f32]) -> Result<(), FollowError> {
        self.prepare();
        let allowed = self.allowed.as_ref().ok_or(FollowError)?;
        for (word, part) in allowed.as_slice().iter().zip(logits.chunks_mut(32)) {
            match *word {
                0 => part.fill(f32::NEG_INFINITY),
                u32::MAX => {}
                word => ban(word, part),
            }
        }
        Ok(())
    }

    /// Takes note of the token that came next. Where that cannot be followed, the next mask says so.
    pub fn observe(&mut self, token: Token) {
        self.allowed = None;
        // A failure stays in the matcher, which gives no mask any more.
        let _ = self.matcher.consume_token(token.cast_unsigned());
    }

    /// The tokens that must come next, as the model's tokenizer would write them. They are not observed yet.
    pub(crate) fn forced(&mut self) -> Vec<Token> {
        let forced = self.matcher.compute_ff_tokens();
        forced.into_iter().map(u32::cast_signed).collect()
    }

    /// Whether nothing can follow: the answer is complete.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.matcher.is_stopped() && !self.matcher.is_error()
    }
}

/// Bans the tokens whose bit is not set.
fn ban(allowed: u32, logits: &mut [f32]) {
    for (bit, logit) in logits.iter_mut().enumerate() {
        if allowed & (1 << bit) == 0 {
            *logit = f32::NEG_INFINITY;
        }
    }
}

impl Clone for Constraint {
    fn clone(&self) -> Self {
        Self::new(self.matcher.deep_clone())
    }
}

impl fmt::Debug for Constraint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Constraint").finish_non_exhaustive()
    }
}
