//! Continues sequences by guesses, and takes back what did not come true.

use std::time::Duration;

use crate::backend::{Backend, BatchEntry, Token};
use crate::engine::EngineConfig;
use crate::request::longest_sequence;
use crate::scheduler::budget::Shape;
use crate::scheduler::kv::position;
use crate::scheduler::{Fatal, Scheduler, Span};
use crate::speculation::{Candidate, Gain, Guess, Speculation};

/// Decides on guesses and counts what becomes of them.
pub(super) struct Drafter {
    speculation: Speculation,
    /// Most guessed tokens of a sequence in a step.
    longest: usize,
    gain: Gain,
    /// Whether the next step is to go without.
    held_back: bool,
    fed: u64,
    kept: u64,
}

/// A guess about one sequence and how much of it to feed.
#[derive(Default)]
pub(super) struct Draft {
    guess: Option<Guess>,
    fed: usize,
}

impl Drafter {
    pub(super) fn new(config: &EngineConfig) -> Self {
        Self {
            speculation: config.speculation,
            longest: config.longest_draft as usize,
            gain: Gain::default(),
            held_back: false,
            fed: 0,
            kept: 0,
        }
    }

    /// Guessed tokens that were fed, and those that came true.
    pub(super) fn totals(&self) -> (u64, u64) {
        (self.fed, self.kept)
    }

    /// Learns from a step.
    pub(super) fn observe(&mut self, shape: Shape, took: Duration) {
        self.fed += shape.drafts as u64;
        if shape.prefill == 0 && shape.decodes > 0 {
            self.gain.observe(shape.decodes, shape.drafts, took);
        }
    }

    /// Lets the next step go without guesses, if this one had any.
    pub(super) fn hold_back(&mut self, shape: Shape) -> bool {
        self.held_back = shape.drafts > 0;
        self.held_back
    }

    /// How many tokens of each guess to feed, at most `most` in all.
    fn lengths(&mut self, sequences: usize, candidates: &[Candidate], most: usize) -> Vec<usize> {
        match self.speculation {
            Speculation::Off => vec![0; candidates.len()],
            Speculation::WhenItPays => self.gain.drafts(sequences, candidates, most),
            Speculation::Always => {
                let mut left = most;
                let lengths = candidates.iter().map(|candidate| {
                    let length = candidate.length.min(left);
                    left -= length;
                    length
                });
                lengths.collect()
            }
        }
    }
}

impl<B: Backend> Scheduler<B> {
    /// Guesses about sequences that are about to be continued.
    pub(super) fn drafts(&mut self, waiting: &[usize]) -> Vec<Draft> {
        let most = self.draft_room(waiting.len());
        let longest = longest_sequence(&self.kv.backend().limits());
        let length = self.drafter.longest.min(most);
        let guesses: Vec<Option<Guess>> = waiting
            .iter()
            .map(|&index| match length {
                0 => None,
                length => self.sequences[index].guess(length, longest),
            })
            .collect();
        let candidates: Vec<Candidate> = waiting
            .iter()
            .zip(&guesses)
            .map(|(&index, guess)| Candidate {
                rate: guess
                    .as_ref()
                    .map_or(0.0, |guess| self.sequences[index].trust(guess)),
                length: guess.as_ref().map_or(0, |guess| guess.tokens.len()),
            })
            .collect();
        let fed = self.drafter.lengths(waiting.len(), &candidates, most);
        let drafts = guesses.into_iter().zip(fed);
        drafts.map(|(guess, fed)| Draft { guess, fed }).collect()
    }

    /// Most guessed tokens of a step beside so many sequences. They take only what nobody else needs, and wait while
    /// prompts do.
    fn draft_room(&mut self, sequences: usize) -> usize {
        let held_back = std::mem::take(&mut self.drafter.held_back);
        let backend = self.kv.backend();
        let prompts = self
            .in_turn()
            .any(|index| self.sequences[index].pending() > 1);
        if held_back
            || prompts
            || self.drafter.speculation == Speculation::Off
            || !backend.model().prefix_reuse
        {
            return 0;
        }
        let limits = backend.limits();
        let room = limits.n_outputs_max.min(limits.n_batch) as usize;
        room.min(self.kv.free_cells()).saturating_sub(sequences)
    }

    /// Adds a guess after what was added last.
    pub(super) fn add_draft(&mut self, draft: Draft) {
        let (Some(guess), Some(span)) = (draft.guess, self.spans.last_mut()) else {
            return;
        };
        let entry = |(nth, &token): (usize, &Token)| BatchEntry {
            token,
            pos: position(span.tokens.end + nth),
            seq: span.seq,
            output: true,
        };
        let fed = &guess.tokens[..draft.fed];
        self.batch.extend(fed.iter().enumerate().map(entry));
        self.shape.drafts += draft.fed;
        span.drafted = draft.fed;
        span.guess = Some(guess);
    }

    /// A sequence is computed: chooses tokens for as long as the guess foresaw them, and takes the rest of the guess
    /// back.
    pub(super) fn go_on(&mut self, span: &Span) -> Result<(), Fatal> {
        let mut foreseen = 0;
        while let Some(index) = self.index_of(span.id)
            && let Some(token) = self.choose(index, span.last + foreseen)?
        {
            let sequence = &mut self.sequences[index];
            let Some(guess) = &span.guess else {
                break;
            };
            let Some(&guessed) = guess.tokens.get(foreseen) else {
                break;
            };
            sequence.judge(guess, guessed == token);
            if foreseen == span.drafted || guessed != token {
                break;
            }
            foreseen += 1;
            sequence.set_computed(span.tokens.end + foreseen);
        }
        self.drafter.kept += foreseen as u64;
        if let Some(index) = self.index_of(span.id) {
            let computed = self.sequences[index].computed();
            let left = self.kv.shorten(span.seq, computed);
            self.sequences[index].set_computed(left);
        }
        self.add_forced(span.id);
        self.shift_context(span.id);
        Ok(())
    }
}
