//! The backend together with what is known of its KV cache: which sequence id holds which tokens, whose they are,
//! and which cells are shared.
//!
//! Everything that changes the KV cache goes through here, so that the books and the cache agree.

use std::ops::Range;

use crate::adapters::AdapterSet;
use crate::backend::{
    AbortFlag, Backend, BackendError, BatchEntry, DecodeOutcome, Pos, SeqId, Token,
};
use crate::scheduler::prefix::{Access, common};
use crate::scheduler::spill::{Spill, SpillTotals};

/// A token is brought back from main memory at least so many times faster than it is computed.
const RESTORING_GAIN: usize = 16;
/// Fewer tokens than these are computed sooner than they are worth being saved.
const WORTH_SAVING: usize = 32;

/// The backend and the books of its KV cache.
pub(crate) struct Kv<B> {
    backend: B,
    /// What the backend computes with; unknown after it refused.
    adapters: Option<AdapterSet>,
    slots: Vec<Slot>,
    cells: Cells,
    /// What had to leave.
    spill: Spill,
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
    /// From where on the tokens were computed with others between them that have been dropped since. They serve
    /// nobody else.
    shifted: Option<usize>,
    last_used: u64,
}

impl Slot {
    /// How many first tokens are as if computed alone.
    fn unshifted(&self) -> usize {
        self.shifted.unwrap_or(self.tokens.len())
    }
}

/// Computed tokens that a prompt begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prefix {
    place: Place,
    /// How many tokens of it.
    pub(crate) length: usize,
}

/// Where computed tokens are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Cells(SeqId),
    /// Main memory, by their number there.
    Spilled(u64),
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
    pub(crate) fn new(backend: B, spill_bytes: usize) -> Self {
        let limits = backend.limits();
        let slot = || Slot {
            usage: Usage::Free,
            access: Access::default(),
            tokens: Vec::new(),
            cells: Vec::new(),
            shifted: None,
            last_used: 0,
        };
        Self {
            slots: (0..limits.n_seq_max).map(|_| slot()).collect(),
            cells: Cells::new(limits.kv_cells as usize),
            spill: Spill::new(spill_bytes),
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

    /// What became of sequences that left the cache.
    pub(crate) fn spilled(&self) -> SpillTotals {
        self.spill.totals()
    }

    /// Cells that a request of `length` tokens would have to itself, and those that it can get without taking any
    /// from a request at work.
    pub(crate) fn demand(&self, length: usize, prefix: Option<Prefix>) -> (usize, usize) {
        let running = self.running_cells();
        let shared = match prefix.map(|prefix| (prefix.place, prefix.length)) {
            Some((Place::Cells(seq), shared)) => {
                let cells = &self.slots[seq as usize].cells[..shared];
                cells.iter().filter(|&&cell| running[cell]).count()
            }
            _ => 0,
        };
        (length - shared, spare(&running))
    }

    /// Cells that can be had without taking any from a request at work.
    fn spare_cells(&self) -> usize {
        spare(&self.running_cells())
    }

    /// By cell, whether a request at work holds it.
    fn running_cells(&self) -> Vec<bool> {
        let mut running = vec![false; self.cells.users.len()];
        let at_work = self
            .slots
            .iter()
            .filter(|slot| slot.usage == Usage::Running);
        at_work
            .flat_map(|slot| &slot.cells)
            .for_each(|&cell| running[cell] = true);
        running
    }

    /// Keeps the first `from` tokens of a sequence. Answers false, and leaves it as it is, where the model's memory
    /// cannot be cut there.
    pub(crate) fn cut(&mut self, seq: SeqId, from: usize) -> bool {
        let from_there = position(from);
        if (from > 0 && !self.backend.seq_keeps(seq, from_there))
            || !self.backend.seq_remove(seq, from_there, None)
        {
            return false;
        }
        let slot = &mut self.slots[seq as usize];
        slot.tokens.truncate(from);
        slot.shifted = slot.shifted.filter(|&shifted| shifted < from);
        self.cells
            .give_back(slot.cells.split_off(from.min(slot.cells.len())));
        true
    }

    /// Keeps at most the first `length` tokens of a sequence, or none where its memory cannot be cut there. Answers how
    /// many it holds then.
    pub(crate) fn shorten(&mut self, seq: SeqId, length: usize) -> usize {
        if self.length(seq) > length && !self.cut(seq, length) {
            self.cut(seq, 0);
        }
        self.length(seq)
    }

    /// Drops tokens from the middle of a sequence, and lets what comes after move up. Where that is shared with others,
    /// who need it where it is, it is given up. Answers how many tokens of the sequence are left.
    pub(crate) fn drop_range(&mut self, seq: SeqId, dropped: Range<usize>) -> usize {
        let slot = &mut self.slots[seq as usize];
        slot.access.public = slot.access.public.min(dropped.start);
        let length = slot.tokens.len();
        let (start, end) = (dropped.start.min(length), dropped.end.min(length));
        let alone = self.cells.exclusive(&slot.cells[end..]) == length - end;
        let whole = start == 0 || self.backend.seq_keeps(seq, position(start));
        if alone && whole && self.backend.seq_drop(seq, position(start), position(end)) {
            slot.tokens.drain(start..end);
            if end < length {
                slot.shifted = Some(slot.shifted.map_or(start, |shifted| shifted.min(start)));
            }
            self.cells.give_back(slot.cells.drain(start..end).collect());
            self.length(seq)
        } else {
            self.shorten(seq, start)
        }
    }

    /// Empties an id.
    pub(crate) fn release(&mut self, seq: SeqId) {
        self.cut(seq, 0);
        self.slots[seq as usize].usage = Usage::Free;
    }

    /// Leaves a sequence to those who begin alike, in place of its own beginnings.
    pub(crate) fn keep(&mut self, seq: SeqId, access: Access) {
        self.shorten(seq, self.slots[seq as usize].unshifted());
        let tokens = std::mem::take(&mut self.slots[seq as usize].tokens);
        for other in self.cached() {
            let slot = &self.slots[other as usize];
            if slot.access.within(&access) && tokens.starts_with(&slot.tokens) {
                self.release(other);
            }
        }
        let slot = &mut self.slots[seq as usize];
        slot.tokens = tokens;
        slot.usage = Usage::Cached;
        slot.access = access;
        self.touch(seq);
    }

    /// Empties the cached id that was not used for longest, into main memory if there is room. Answers whether there
    /// was one.
    pub(crate) fn evict(&mut self) -> bool {
        let oldest = self.oldest_cached(None);
        oldest.inspect(|&seq| self.put_out(seq)).is_some()
    }

    /// Takes a sequence out of the cache. It waits in main memory if it is worth that: when most of its cells are
    /// its alone, and there is somebody whom it may serve.
    pub(crate) fn put_out(&mut self, seq: SeqId) {
        self.shorten(seq, self.slots[seq as usize].unshifted());
        let slot = &self.slots[seq as usize];
        let alone = self.cells.exclusive(&slot.cells);
        if slot.access.identity.is_some()
            && self.backend.model().prefix_reuse
            && alone >= WORTH_SAVING
            && alone * 2 >= slot.tokens.len()
        {
            self.spill(seq);
        }
        self.release(seq);
    }

    /// Saves a sequence in main memory, if there is room or can be made.
    fn spill(&mut self, seq: SeqId) {
        let Some(bytes) = self.backend.seq_bytes(seq) else {
            return;
        };
        let slot = &mut self.slots[seq as usize];
        // Room is made first, so that the bound holds at every moment.
        if self.spill.make_room(&slot.access, &slot.tokens, bytes)
            && let Some(state) = self.backend.seq_save(seq, bytes)
        {
            let tokens = std::mem::take(&mut slot.tokens);
            self.spill.put(slot.access.clone(), tokens, state);
        }
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
                .usable(
                    &slot.access,
                    common(&slot.tokens[..slot.unshifted()], tokens),
                )
                .min(tokens.len() - 1);
            let usable = length > 0 && self.backend.seq_keeps(seq, position(length));
            usable.then_some((seq, length))
        });
        // Of equals one that has nothing more, for it can be taken over without a loss.
        let found = found.max_by_key(|&(seq, length)| {
            (
                length,
                self.length(seq) == length,
                self.slots[seq as usize].usage == Usage::Cached,
            )
        });
        let cached = found.map(|(seq, length)| Prefix {
            place: Place::Cells(seq),
            length,
        });
        self.better_spilled(access, tokens, found.map_or(0, |(_, length)| length))
            .or(cached)
    }

    /// A spilled prefix that there can be cells for, and that is brought back sooner than what it has beyond `cached`
    /// tokens is computed.
    fn better_spilled(&self, access: &Access, tokens: &[Token], cached: usize) -> Option<Prefix> {
        let found = self.spill.best(access, tokens)?;
        let length = found.length.min(tokens.len() - 1);
        let more = length.saturating_sub(cached);
        let pays = more >= WORTH_SAVING && more * RESTORING_GAIN >= found.whole;
        (pays && found.whole <= self.spare_cells()).then_some(Prefix {
            place: Place::Spilled(found.id),
            length,
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
            Some(Prefix { place, length }) => match place {
                Place::Cells(seq) if self.is_taken_over(seq, length) => self.take_over(seq, length),
                Place::Cells(seq) => self.copy(seq, length)?,
                Place::Spilled(id) => self.bring_back(id, length)?,
            },
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
    fn is_taken_over(&self, seq: SeqId, length: usize) -> bool {
        let slot = &self.slots[seq as usize];
        if slot.usage != Usage::Cached {
            return false;
        }
        let lost = slot.tokens.len() - length;
        let other = self.vacancy(Some(seq));
        let spared = other.map(|other| &self.slots[other as usize]);
        lost == 0
            || !self.backend.limits().unified
            || spared.is_none_or(|spared| lost < self.cells.exclusive(&spared.cells))
    }

    fn take_over(&mut self, seq: SeqId, length: usize) -> (SeqId, usize) {
        if self.cut(seq, length) {
            return (seq, length);
        }
        self.release(seq);
        (seq, 0)
    }

    fn copy(&mut self, from: SeqId, length: usize) -> Option<(SeqId, usize)> {
        let seq = self.vacate(Some(from))?;
        self.touch(from);
        let source = &self.slots[from as usize];
        let (tokens, cells) = (
            source.tokens[..length].to_vec(),
            source.cells[..length].to_vec(),
        );
        self.backend.seq_copy(from, seq, 0, Some(position(length)));
        self.cells.share(&cells);
        let slot = &mut self.slots[seq as usize];
        (slot.tokens, slot.cells) = (tokens, cells);
        Some((seq, length))
    }

    /// Brings a spilled sequence back and keeps its first `length` tokens; none of them if there is no room. What is
    /// used in part only stays in main memory too.
    fn bring_back(&mut self, id: u64, length: usize) -> Option<(SeqId, usize)> {
        // Making room may spill others, which must not push it out.
        self.spill.pin(Some(id));
        let seq = self.vacate(None);
        let restored = seq.is_some_and(|seq| self.restore(seq, id));
        self.spill.pin(None);
        let seq = seq?;
        if !restored {
            return Some((seq, 0));
        }
        self.spill.brought_back(id, length);
        Some((seq, self.shorten(seq, length)))
    }

    /// Copies a spilled sequence into an id that is empty. Answers whether there was room.
    fn restore(&mut self, seq: SeqId, id: u64) -> bool {
        let length = self.spill.get(id).map_or(0, |spilled| spilled.tokens.len());
        while self.free_cells() < length && self.evict() {}
        let Some(spilled) = self.spill.get(id) else {
            return false;
        };
        if self.free_cells() < length || !self.backend.seq_restore(seq, &spilled.state) {
            return false;
        }
        let slot = &mut self.slots[seq as usize];
        slot.tokens.clone_from(&spilled.tokens);
        slot.cells = slot.tokens.iter().map(|_| self.cells.take()).collect();
        true
    }

    /// Empties the id that can be spared best.
    fn vacate(&mut self, except: Option<SeqId>) -> Option<SeqId> {
        let seq = self.vacancy(except)?;
        self.put_out(seq);
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

fn spare(running: &[bool]) -> usize {
    running.iter().filter(|&&taken| !taken).count()
}

/// An index into a sequence as a position; both are bounded by `n_ctx`.
pub(crate) fn position(index: usize) -> Pos {
    Pos::try_from(index).unwrap_or(Pos::MAX)
}
