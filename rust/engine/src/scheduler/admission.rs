//! Which parked requests begin: those whose tokens fit into free cells, in their order, each on the longest prefix
//! that is computed already, or about to be.

use crate::backend::Backend;
use crate::scheduler::Scheduler;
use crate::scheduler::kv::Prefix;
use crate::scheduler::prefix::common;

/// It is worth waiting for another request to compute this many tokens.
const WORTH_WAITING: usize = 32;
/// Cells that are left to each request at work, lest it lose one to a newcomer at once.
const RESERVE: usize = 16;
/// The reserve is never more than this part of all cells.
const RESERVE_PART: usize = 8;

/// What is to become of a parked request.
enum Verdict {
    Begin(Option<Prefix>),
    /// Another one is computing the prefix that it needs.
    Later,
    /// There are no cells, or no ids.
    NoRoom,
}

impl<B: Backend> Scheduler<B> {
    /// Lets parked requests begin.
    pub(super) fn admit_parked(&mut self) {
        self.crowded = false;
        let mut parked: Vec<usize> = (0..self.sequences.len())
            .filter(|&index| {
                let sequence = &self.sequences[index];
                sequence.seq.is_none() && !sequence.paused && !sequence.deterministic
            })
            .collect();
        parked.sort_by_key(|&index| self.rank(index));
        for index in parked {
            match self.judge(index) {
                Verdict::Begin(prefix) if self.begin(index, prefix) => {}
                Verdict::Later => {}
                Verdict::Begin(_) | Verdict::NoRoom => {
                    self.crowded = true;
                    return;
                }
            }
        }
    }

    fn judge(&self, index: usize) -> Verdict {
        let sequence = &self.sequences[index];
        let prefix = self.kv.best_prefix(&sequence.access, sequence.tokens());
        let length = prefix.map_or(0, |prefix| prefix.length);
        if self.coming_prefix(index) >= length + WORTH_WAITING {
            return Verdict::Later;
        }
        // When nobody is at work it must begin: those that are paused give way.
        if self.at_work().next().is_none() || self.fits(index, prefix) {
            Verdict::Begin(prefix)
        } else {
            Verdict::NoRoom
        }
    }

    /// Whether there are cells for all tokens of a request beside those that requests at work are about to take.
    fn fits(&self, index: usize, prefix: Option<Prefix>) -> bool {
        let (wanted, spare) = self
            .kv
            .demand(self.sequences[index].tokens().len() + 1, prefix);
        let promised: usize = self
            .at_work()
            .map(|other| self.sequences[other].pending())
            .sum();
        let cells = self.kv.backend().limits().kv_cells as usize;
        let reserve = (self.at_work().count() * RESERVE).min(cells / RESERVE_PART);
        wanted + promised + reserve <= spare
    }

    /// The longest prefix of a request that another one will have computed soon.
    fn coming_prefix(&self, index: usize) -> usize {
        let backend = self.kv.backend();
        if !backend.limits().unified || !backend.model().prefix_reuse {
            return 0;
        }
        let sequence = &self.sequences[index];
        let tokens = &sequence.tokens()[..sequence.tokens().len() - 1];
        let coming = self.at_work().map(|other| {
            let other = &self.sequences[other];
            let shared = sequence
                .access
                .usable(&other.access, common(tokens, other.tokens()));
            if shared > other.computed() { shared } else { 0 }
        });
        coming.max().unwrap_or(0)
    }

    /// Gives a request an id. A paused one gives way if there is none.
    pub(super) fn begin(&mut self, index: usize, prefix: Option<Prefix>) -> bool {
        let access = self.sequences[index].access.clone();
        let mut claimed = self.kv.claim(prefix, access.clone());
        if claimed.is_none()
            && let Some(paused) = self.paused_longest()
        {
            self.park(paused);
            self.preemptions += 1;
            // The prefix may have been in what was given up.
            let prefix = self.kv.best_prefix(&access, self.sequences[index].tokens());
            claimed = self.kv.claim(prefix, access);
        }
        let Some((seq, cached)) = claimed else {
            return false;
        };
        let sequence = &mut self.sequences[index];
        sequence.seq = Some(seq);
        self.events.extend(sequence.start(cached));
        true
    }

    fn paused_longest(&self) -> Option<usize> {
        let paused = (0..self.sequences.len()).filter(|&index| {
            let sequence = &self.sequences[index];
            sequence.paused && sequence.seq.is_some()
        });
        paused.min_by_key(|&index| self.sequences[index].served)
    }
}
