//! Fills a batch: the tokens that somebody waits for first, then prompts, in turns.

use std::cmp::Reverse;

use crate::backend::{Backend, BatchEntry};
use crate::request::RequestId;
use crate::scheduler::budget::{Chunk, Demand, Shape};
use crate::scheduler::kv::position;
use crate::scheduler::{Scheduler, Span};

/// Prompts that need least go first, which gives most of them their first token soonest; but in one of so many steps
/// the one goes first that waited longest, so that long ones go on too.
const FAIR_TURN: u64 = 4;
/// Once in so many steps with prompts the decodes have a step of their own, which tells what they cost by now.
const DECODES_ALONE: u64 = 32;
/// A prompt that waited this many steps has its turn as if its priority were one higher.
const AGEING: u64 = 4;

impl<B: Backend> Scheduler<B> {
    /// Fills the next batch and answers whose it is.
    pub(crate) fn plan(&mut self) -> Vec<RequestId> {
        self.step += 1;
        self.batch.clear();
        self.spans.clear();
        self.shape = Shape::default();
        if let Some(index) = self.next_alone() {
            self.plan_alone(index);
        } else if let Some(index) = self.next_suspect() {
            self.plan_suspect(index);
        } else {
            self.admit_parked();
            self.take_turns();
            self.plan_turn();
            // Those whose turn it is may have given way to the one that never does, who then goes on in their place.
            if self.batch.is_empty()
                && let Some(first) = self.first_at_work()
            {
                self.give_turn(first);
                self.plan_turn();
            }
        }
        self.spans.iter().map(|span| span.id).collect()
    }

    /// Decodes and prompts in one batch, or, where that is slower, in batches of their own by turns.
    fn plan_turn(&mut self) {
        let owes = std::mem::take(&mut self.owes_decodes);
        let decodes = self.waiting_decodes().len();
        if owes && decodes > 0 {
            return self.plan_decodes(self.batch_size());
        }
        let chunk = self.chunk(decodes);
        if !chunk.apart || decodes == 0 {
            self.plan_decodes(self.decode_room());
            self.plan_prefills(chunk);
            self.owes_decodes =
                self.shape.prefill > 0 && self.prompt_steps.is_multiple_of(DECODES_ALONE);
            return;
        }
        self.add_prefills(chunk, decodes);
        self.owes_decodes = !self.batch.is_empty();
        if self.batch.is_empty() {
            self.plan_decodes(self.batch_size());
        }
    }

    /// What the next step may compute of prompts while so many in turn wait for a token.
    fn chunk(&self, decodes: usize) -> Chunk {
        let waiting = decodes + self.decodes_out_of_turn();
        let prompts = self.waiting_prompts();
        match prompts.first() {
            Some(&first) if waiting > 0 => self.budget.chunk(Demand {
                decodes: decodes.min(self.decode_room()),
                waiting,
                prompts: prompts.len(),
                context: self.sequences[first].computed(),
                room: self.batch_size(),
            }),
            _ => Chunk {
                tokens: self.batch_size(),
                apart: false,
            },
        }
    }

    /// The request that has the machine to itself now. One that is to have it waits until all others have ended.
    fn next_alone(&self) -> Option<usize> {
        let active = (0..self.sequences.len()).filter(|&index| !self.sequences[index].paused);
        let alone = active
            .clone()
            .filter(|&index| self.sequences[index].deterministic)
            .min_by_key(|&index| (self.sequences[index].seq.is_none(), index))?;
        let begun = self.sequences[alone].seq.is_some();
        let others = active
            .into_iter()
            .any(|index| !self.sequences[index].deterministic);
        (begun || !others).then_some(alone)
    }

    /// Plans what would be planned on an engine that does nothing else.
    fn plan_alone(&mut self, index: usize) {
        if self.sequences[index].seq.is_none() {
            while self.kv.evict() {}
            (0..self.sequences.len()).for_each(|other| self.park(other));
            self.begin(index, None);
        }
        self.give_turn(index);
        // After a stop, what was generated is fed token by token again, as it was the first time.
        let sequence = &self.sequences[index];
        let prompt = sequence
            .prompt_tokens()
            .saturating_sub(sequence.computed())
            .max(1);
        let chunk = prompt.min(self.batch_size());
        self.add(index, chunk);
    }

    fn next_suspect(&self) -> Option<usize> {
        let mut suspects = self.suspects.iter().filter_map(|&id| self.index_of(id));
        suspects.find(|&index| self.sequences[index].seq.is_some() && !self.sequences[index].paused)
    }

    fn plan_suspect(&mut self, index: usize) {
        self.give_turn(index);
        let wanted = self.sequences[index].pending().min(self.batch_size());
        while self.kv.free_cells() < wanted && self.kv.evict() {}
        while self.kv.free_cells() == 0 && self.preempt(index) {}
        self.add(index, wanted.min(self.kv.free_cells()).max(1));
    }

    /// Requests in turn with one token to compute.
    fn waiting_decodes(&self) -> Vec<usize> {
        self.in_turn()
            .filter(|&index| self.sequences[index].pending() == 1)
            .collect()
    }

    /// Adds up to `room` tokens that somebody waits for, those who waited longest first.
    fn plan_decodes(&mut self, room: usize) {
        loop {
            let mut waiting = self.waiting_decodes();
            waiting.sort_by_key(|&index| (self.sequences[index].served, self.rank(index)));
            waiting.truncate(room);
            let makes_room = self.kv.free_cells() < waiting.len()
                && (self.kv.evict()
                    || self
                        .first_at_work()
                        .is_some_and(|first| self.preempt(first)));
            if !makes_room {
                self.shape.decodes = waiting.len();
                let drafts = self.drafts(&waiting);
                for (index, draft) in waiting.into_iter().zip(drafts) {
                    self.add(index, 1);
                    self.add_draft(draft);
                }
                return;
            }
        }
    }

    /// Entries that decodes may take beside prompts, which get some in any case.
    fn decode_room(&self) -> usize {
        let prompts = self
            .in_turn()
            .any(|index| self.sequences[index].pending() > 1);
        let size = self.batch_size();
        size - if prompts { size / 4 } else { 0 }
    }

    /// Adds prompt tokens, at least one if there is nothing else.
    fn plan_prefills(&mut self, chunk: Chunk) {
        loop {
            let waiting = self.add_prefills(chunk, 0);
            // When cells are short the prompts wait for the decodes to end, but somebody must go on.
            let stuck = self.batch.is_empty() && waiting;
            let first = self.first_at_work().filter(|_| stuck);
            if !first.is_some_and(|first| self.preempt(first)) {
                return;
            }
        }
    }

    /// Adds prompt tokens as far as there are cells beside those that so many decodes are about to take. Answers
    /// whether there are prompts.
    fn add_prefills(&mut self, chunk: Chunk, decodes: usize) -> bool {
        let waiting = self.waiting_prompts();
        let mut left = chunk.tokens.min(self.batch_size() - self.batch.len());
        for &index in &waiting {
            let count = self.sequences[index].pending().min(left);
            self.add_prefill(index, count, decodes);
            left -= count;
        }
        self.prompt_steps += u64::from(!waiting.is_empty());
        !waiting.is_empty()
    }

    /// Requests with more than one token to compute, in the order of their turns.
    fn waiting_prompts(&self) -> Vec<usize> {
        let mut waiting: Vec<usize> = self
            .in_turn()
            .filter(|&index| self.sequences[index].pending() > 1)
            .collect();
        let fair = is_fair(self.prompt_steps);
        waiting.sort_by_key(|&index| {
            let sequence = &self.sequences[index];
            let (risen, needs) = match fair {
                true => ((self.step - sequence.served) / AGEING, 0),
                false => (0, sequence.pending()),
            };
            let urgency = i64::from(sequence.priority).saturating_add_unsigned(risen);
            (Reverse(urgency), needs, sequence.served, sequence.id)
        });
        waiting
    }

    /// Adds up to `count` tokens of a prompt, as far as there are cells that nobody at work needs, and none of so many
    /// decodes.
    fn add_prefill(&mut self, index: usize, count: usize, decodes: usize) {
        let needed = self.batch.len() + decodes;
        while self.kv.free_cells() < needed + count && self.kv.evict() {}
        let count = count.min(self.kv.free_cells().saturating_sub(needed));
        if count == 0 {
            return;
        }
        let (before, shape) = (self.sequences[index].computed(), &mut self.shape);
        let sum = shape.context * shape.prefill + (before + count / 2) * count;
        shape.prefill += count;
        shape.context = sum / shape.prefill;
        self.add(index, count);
    }

    /// Adds the next tokens of a request to the batch.
    fn add(&mut self, index: usize, count: usize) {
        let sequence = &mut self.sequences[index];
        let Some(seq) = sequence.seq else {
            return;
        };
        sequence.served = self.step;
        let tokens = sequence.next_chunk(count);
        let last = sequence.tokens().len() - 1;
        self.batch.extend(tokens.clone().map(|index| BatchEntry {
            token: sequence.tokens()[index],
            pos: position(index),
            seq,
            output: index == last,
        }));
        self.spans.push(Span {
            id: sequence.id,
            seq,
            tokens,
            last: self.batch.len() - 1,
            guess: None,
            drafted: 0,
        });
    }

    fn batch_size(&self) -> usize {
        self.kv.backend().limits().n_batch as usize
    }
}

/// Whether this step is one of those in which the prompt that waited longest goes first. In no regular order: sets of
/// adapters have turns, and one of two would have none of every fourth step.
fn is_fair(step: u64) -> bool {
    const GOLDEN_RATIO: u64 = 0x9E37_79B9_7F4A_7C15; // of 2^64: its multiples are spread evenly, whatever the stride
    step.wrapping_mul(GOLDEN_RATIO) >> 32 < (1 << 32) / FAIR_TURN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_four_steps_is_fair_whichever_of_them_one_has() {
        for stride in 1..=8 {
            for first in 0..stride {
                let mine = (0..400).map(|turn| is_fair(first + stride * turn));
                let fair = mine.filter(|&fair| fair).count();
                assert!(
                    (60..=140).contains(&fair),
                    "{fair} of 400, each {stride}th from {first}"
                );
            }
        }
    }
}
