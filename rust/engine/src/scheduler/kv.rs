//! The backend together with what is known of its KV cache: which sequence id holds which tokens, whose they are,
//! and which cells are shared.
//!
//! Everything that changes the KV cache goes through here, so that the books and the cache agree.

use crate::adapters::AdapterSet;
use crate::backend::{
    AbortFlag, Backend, BackendError, BatchEntry, DecodeOutcome, Pos, SeqId, Token,
};
use crate::scheduler::prefix::{Access, common};

/// The backend and the books of its KV cache.
pub(crate) struct Kv<B> {
    backend: B,
    /// What the backend computes with; unknown after it refused.
    adapters: Option<AdapterSet>,
    slots: Vec<Slot>,
    cells: Cells,
    /// Counts uses of slots, for their age.
    uses: u64,
}

/// What a sequence id is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Usage {
    Free,
    /// A request at work.
    Running,
    /// A prefix that may be used again.
    Cached,
}

/// A sequence id and what the KV cache holds under it.
struct Slot {
    usage: Usage,
    access: Access,
    tokens: Vec<Token>,
    /// By token, its cell.
    cells: Vec<usize>,
    last_used: u64,
}

/// Computed tokens that a prompt begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prefix {
    seq: SeqId,
    /// How many tokens of it.
    pub(crate) length: usize,
}

/// Cells by number of their users. Which cell is which does not matter, only who shares it.
struct Cells {
    users: Vec<usize>,
    free: Vec<usize>,
}

impl Cells {
    fn new(count: usize) -> Self {
        Self {
            users: vec![0; count],
            free: (0..count).collect(),
        }
    }

    fn take(&mut self) -> usize {
        let cell = self.free.pop().unwrap_or(self.users.len());
        if cell == self.users.len() {
            // The backend found room where the books had none; they follow it.
            self.users.push(0);
        }
        self.users[cell] = 1;
        cell
    }

    fn share(&mut self, cells: &[usize]) {
        cells.iter().for_each(|&cell| self.users[cell] += 1);
    }

    /// How many of a sequence's cells are its alone.
    fn exclusive(&self, cells: &[usize]) -> usize {
        cells.iter().filter(|&&cell| self.users[cell] == 1).count()
    }

    fn give_back(&mut self, cells: Vec<usize>) {
        for cell in cells {
            self.users[cell] -= 1;
            if self.users[cell] == 0 {
                self.free.push(cell);
            }
        }
    }
}

impl<B: Backend> Kv<B> {
    pub(crate) fn new(backend: B) -> Self {
        let limits = backend.limits();
        let slot = || Slot {
            usage: Usage::Free,
            access: Access::default(),
            tokens: Vec::new(),
            cells: Vec::new(),
            last_used: 0,
        };
        Self {
            slots: (0..limits.n_seq_max).map(|_| slot()).collect(),
            cells: Cells::new(limits.kv_cells as usize),
            uses: 0,
            adapters: Some(AdapterSet::default()),
            backend,
        }
    }

    pub(crate) fn backend(&self) -> &B {
        &self.backend
    }

    /// Computes a batch with adapters. Follow it with [`Self::commit`] unless nothing was computed.
    pub(crate) fn decode(
        &mut self,
        adapters: &AdapterSet,
        batch: &[BatchEntry],
        abort: &AbortFlag,
    ) -> Result<DecodeOutcome, BackendError> {
        if self.adapters.as_ref() != Some(adapters) {
            self.adapters = None;
            self.backend.use_adapters(adapters)?;
            self.adapters = Some(adapters.clone());
        }
        self.backend.decode(batch, abort)
    }

    /// Books what the backend kept of a batch: all of it, or its leading entries.
    pub(crate) fn commit(&mut self, batch: &[BatchEntry]) {
        for entry in batch {
            let kept = self
                .backend
                .seq_max_pos(entry.seq)
                .is_some_and(|last| last >= entry.pos);
            if kept {
                let slot = &mut self.slots[entry.seq as usize];
                slot.tokens.push(entry.token);
                slot.cells.push(self.cells.take());
            }
        }
    }

    /// Tokens that the KV cache holds under an id.
    pub(crate) fn length(&self, seq: SeqId) -> usize {
        self.slots[seq as usize].tokens.len()
    }

    /// Cells that nobody uses.
    pub(crate) fn free_cells(&self) -> usize {
        self.cells.free.len()
    }

    /// Cells that a request of `length` tokens would have to itself, and those that it can get without taking any
    /// from a request at work.
    pub(crate) fn demand(&self, length: usize, prefix: Option<Prefix>) -> (usize, usize) {
        let mut running = vec![false; self.cells.users.len()];
        let at_work = self
            .slots
            .iter()
            .filter(|slot| slot.usage == Usage::Running);
        at_work
            .flat_map(|slot| &slot.cells)
            .for_each(|&cell| running[cell] = true);
        let shared = prefix.map_or(0, |prefix| {
            let cells = &self.slots[prefix.seq as usize].cells[..prefix.length];
            cells.iter().filter(|&&cell| running[cell]).count()
        });
        let taken = running.iter().filter(|&&taken| taken).count();
        (length - shared, self.cells.users.len() - taken)
    }

    /// Keeps the first `from` tokens of a sequence. Answers false, and leaves it as it is, where the model's memory
    /// cannot be cut.
    pub(crate) fn cut(&mut self, seq: SeqId, from: usize) -> bool {
        if !self.backend.seq_remove(seq, position(from), None) {
            return false;
        }
        let slot = &mut self.slots[seq as usize];
        slot.tokens.truncate(from);
        self.cells
            .give_back(slot.cells.split_off(from.min(slot.cells.len())));
        true
    }

    /// Keeps at most the first `length` tokens of a sequence whose memory can be cut.
    pub(crate) fn shorten(&mut self, seq: SeqId, length: usize) {
        if self.length(seq) > length {
            self.cut(seq, length);
        }
    }

    /// Empties an id.
    pub(crate) fn release(&mut self, seq: SeqId) {
        self.cut(seq, 0);
        self.slots[seq as usize].usage = Usage::Free;
    }

    /// Leaves a sequence to those who begin alike, in place of its own beginnings.
    pub(crate) fn keep(&mut self, seq: SeqId, access: Access) {
        let tokens = std::mem::take(&mut self.slots[seq as usize].tokens);
        for other in self.cached() {
            let slot = &self.slots[other as usize];
            let theirs = &slot.access;
            let within = theirs.identity == access.identity
                && theirs.adapters == access.adapters
                && theirs.public <= access.public;
            if within && tokens.starts_with(&slot.tokens) {
                self.release(other);
            }
        }
        let slot = &mut self.slots[seq as usize];
        slot.tokens = tokens;
        slot.usage = Usage::Cached;
        slot.access = access;
        self.touch(seq);
    }

    /// Empties the cached id that was not used for longest. Answers whether there was one.
    pub(crate) fn evict(&mut self) -> bool {
        let oldest = self.oldest_cached(None);
        oldest.inspect(|&seq| self.release(seq)).is_some()
    }

    /// The most computed tokens that a prompt may begin with. Its last token is not among them: it must be computed
    /// in any case, for its logits.
    pub(crate) fn best_prefix(&self, access: &Access, tokens: &[Token]) -> Option<Prefix> {
        if !self.backend.model().prefix_reuse {
            return None;
        }
        let sharing = self.backend.limits().unified;
        let found = self.ids().filter_map(|seq| {
            let slot = &self.slots[seq as usize];
            if slot.usage == Usage::Free || (slot.usage == Usage::Running && !sharing) {
                return None;
            }
            let length = access
                .usable(&slot.access, common(&slot.tokens, tokens))
                .min(tokens.len() - 1);
            (length > 0).then_some(Prefix { seq, length })
        });
        // Of equals one that has nothing more, for it can be taken over without a loss.
        found.max_by_key(|prefix| {
            (
                prefix.length,
                self.length(prefix.seq) == prefix.length,
                self.slots[prefix.seq as usize].usage == Usage::Cached,
            )
        })
    }

    /// Gives an id to a request and the computed prefix to the id. Answers it and how many tokens it holds, or
    /// `None` when all ids are at work.
    pub(crate) fn claim(
        &mut self,
        prefix: Option<Prefix>,
        access: Access,
    ) -> Option<(SeqId, usize)> {
        let claimed = match prefix {
            Some(prefix) if self.is_taken_over(prefix) => self.take_over(prefix),
            Some(prefix) => self.copy(prefix)?,
            None => self.vacate(None).map(|seq| (seq, 0))?,
        };
        let slot = &mut self.slots[claimed.0 as usize];
        slot.usage = Usage::Running;
        slot.access = access;
        self.touch(claimed.0);
        Some(claimed)
    }

    /// Whether the id that holds a prefix is given away with it, rather than copied from: when nothing is lost by
    /// that, or less than with the id that would be emptied for a copy.
    fn is_taken_over(&self, prefix: Prefix) -> bool {
        let slot = &self.slots[prefix.seq as usize];
        if slot.usage != Usage::Cached {
            return false;
        }
        let lost = slot.tokens.len() - prefix.length;
        let other = self.vacancy(Some(prefix.seq));
        let spared = other.map(|other| &self.slots[other as usize]);
        lost == 0
            || !self.backend.limits().unified
            || spared.is_none_or(|spared| lost < self.cells.exclusive(&spared.cells))
    }

    fn take_over(&mut self, prefix: Prefix) -> (SeqId, usize) {
        if self.cut(prefix.seq, prefix.length) {
            return (prefix.seq, prefix.length);
        }
        self.release(prefix.seq);
        (prefix.seq, 0)
    }

    fn copy(&mut self, prefix: Prefix) -> Option<(SeqId, usize)> {
        let seq = self.vacate(Some(prefix.seq))?;
        self.touch(prefix.seq);
        let source = &self.slots[prefix.seq as usize];
        let (tokens, cells) = (
            source.tokens[..prefix.length].to_vec(),
            source.cells[..prefix.length].to_vec(),
        );
        self.backend
            .seq_copy(prefix.seq, seq, 0, Some(position(prefix.length)));
        self.cells.share(&cells);
        let slot = &mut self.slots[seq as usize];
        (slot.tokens, slot.cells) = (tokens, cells);
        Some((seq, prefix.length))
    }

    /// Empties the id that can be spared best.
    fn vacate(&mut self, except: Option<SeqId>) -> Option<SeqId> {
        let seq = self.vacancy(except)?;
        self.release(seq);
        Some(seq)
    }

    /// A free id, or else the cached one that was not used for longest.
    fn vacancy(&self, except: Option<SeqId>) -> Option<SeqId> {
        let free = self
            .ids()
            .find(|&seq| self.slots[seq as usize].usage == Usage::Free);
        free.or_else(|| self.oldest_cached(except))
    }

    fn oldest_cached(&self, except: Option<SeqId>) -> Option<SeqId> {
        let others = self.cached().into_iter().filter(|&seq| Some(seq) != except);
        others.min_by_key(|&seq| self.slots[seq as usize].last_used)
    }

    fn cached(&self) -> Vec<SeqId> {
        self.ids()
            .filter(|&seq| self.slots[seq as usize].usage == Usage::Cached)
            .collect()
    }

    fn ids(&self) -> impl Iterator<Item = SeqId> + use<B> {
        0..self.backend.limits().n_seq_max
    }

    fn touch(&mut self, seq: SeqId) {
        self.uses += 1;
        self.slots[seq as usize].last_used = self.uses;
    }
}

/// An index into a sequence as a position; both are bounded by `n_ctx`.
pub(crate) fn position(index: usize) -> Pos {
    Pos::try_from(index).unwrap_or(Pos::MAX)
}
