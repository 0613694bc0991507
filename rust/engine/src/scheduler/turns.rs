//! A batch is computed with one set of adapters. Requests of several sets have turns, about a step's target long,
//! so that changing over (which makes llama.cpp plan its graphs anew) is rare, and nobody waits for long.

use std::time::Duration;

use crate::adapters::AdapterSet;
use crate::backend::Backend;
use crate::scheduler::Scheduler;

/// Whose turn it is.
pub(super) struct Turn {
    adapters: AdapterSet,
    /// How long it may be while others wait.
    length: Duration,
    /// How long it has been.
    spent: Duration,
}

impl Turn {
    pub(super) fn new(length: Duration) -> Self {
        Self {
            adapters: AdapterSet::default(),
            length,
            spent: Duration::ZERO,
        }
    }

    /// What is computed with now.
    pub(super) fn adapters(&self) -> &AdapterSet {
        &self.adapters
    }

    /// Notes how long a step took.
    pub(super) fn spend(&mut self, took: Duration) {
        self.spent += took;
    }

    fn pass_to(&mut self, adapters: AdapterSet) {
        if self.adapters != adapters {
            self.adapters = adapters;
            self.spent = Duration::ZERO;
        }
    }
}

impl<B: Backend> Scheduler<B> {
    /// Passes the turn on if it is over, to those of whom one has waited longest.
    pub(super) fn take_turns(&mut self) {
        // A set whose prompts went first in batches of their own has its tokens first, or two sets could pass the turn
        // to and fro so that one only ever computes prompts.
        let over = self.turn.spent >= self.turn.length && !self.owes_decodes;
        if self.in_turn().next().is_some() && !over {
            return;
        }
        let waited = |&index: &usize| (self.sequences[index].served, self.rank(index));
        let others = self
            .at_work()
            .filter(|&index| self.sequences[index].access.adapters != self.turn.adapters);
        if let Some(index) = others.min_by_key(waited) {
            self.give_turn(index);
        }
    }

    /// Lets a request be computed now.
    pub(super) fn give_turn(&mut self, index: usize) {
        let adapters = self.sequences[index].access.adapters.clone();
        self.turn.pass_to(adapters);
    }

    /// Requests that wait for a token while others have their turn.
    pub(super) fn decodes_out_of_turn(&self) -> usize {
        let decodes = |&index: &usize| {
            let sequence = &self.sequences[index];
            sequence.pending() == 1 && sequence.access.adapters != self.turn.adapters
        };
        self.at_work().filter(decodes).count()
    }
}
