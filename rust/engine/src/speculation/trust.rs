//! How often guesses about one sequence come true.

/// What it was before counts this much after each guess.
const MEMORY: f64 = 0.9;
/// Guesses that the first estimates are worth.
const PRIOR: f64 = 4.0;
/// Lengths of matches from which on guesses are told apart, and how often they come true until something is known.
const CLASSES: [(usize, f64); 3] = [(0, 0.4), (6, 0.6), (12, 0.8)];

/// A running measure, by the length of the match that a guess is based on. It is taken whether or not a guess was
/// fed: what the sampler chooses shows in any case whether it would have come true.
#[derive(Debug)]
pub(crate) struct Trust {
    classes: [Class; CLASSES.len()],
}

#[derive(Debug, Clone, Copy)]
struct Class {
    true_ones: f64,
    all: f64,
}

impl Default for Trust {
    fn default() -> Self {
        Self {
            classes: CLASSES.map(|(_, rate)| Class {
                true_ones: rate * PRIOR,
                all: PRIOR,
            }),
        }
    }
}

impl Trust {
    /// Notes whether the next token of a guess came true.
    pub(crate) fn note(&mut self, matched: usize, came_true: bool) {
        let class = &mut self.classes[class(matched)];
        class.true_ones = MEMORY * class.true_ones + f64::from(u8::from(came_true));
        class.all = MEMORY * class.all + 1.0;
    }

    /// How likely the next token of a guess comes true.
    pub(crate) fn rate(&self, matched: usize) -> f64 {
        let class = self.classes[class(matched)];
        class.true_ones / class.all
    }
}

fn class(matched: usize) -> usize {
    let above = CLASSES.iter().take_while(|(least, _)| matched >= *least);
    above.count() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_what_happens_by_length_of_match() {
        let mut trust = Trust::default();
        let (before, long) = (trust.rate(3), trust.rate(12));
        (0..30).for_each(|_| trust.note(5, false));
        assert!(before > 0.3 && trust.rate(3) < 0.05);
        assert_eq!(trust.rate(40).to_bits(), long.to_bits());
        (0..30).for_each(|_| trust.note(3, true));
        assert!(trust.rate(5) > 0.9);
    }
}
