//! A toy backend for tests: no model, but llama.cpp's rules, kept strictly.
//!
//! The next token is a function of all tokens of the sequence, so that one that is lost, repeated or fed at a
//! wrong place changes all that follows. KV cells are counted, and shared by [`Backend::seq_copy`]. Every breach
//! of the rules of [`Backend`] is a panic. Faults and delays are ordered by a [`ToyControl`] from another thread.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::adapters::AdapterSet;
use crate::backend::{
    AbortFlag, Backend, BackendError, BatchEntry, DecodeOutcome, Limits, ModelInfo, Pos, SeqId,
    Token,
};

/// Begins a text.
pub const BOS: Token = 256;
/// Ends a text.
pub const EOS: Token = 257;
/// Ends a turn.
pub const EOT: Token = 258;
/// The tokens after [`EOT`]: words, and parts of characters. Tokens below 256 are single bytes.
pub const WORDS: [&[u8]; 12] = [
    b" the",
    b" a",
    b"ing",
    b"\n\n",
    "é".as_bytes(),
    b"\xf0\x9f",
    b"\xa6\x80",
    b"</",
    b"s>",
    b"User:",
    b" ",
    b".",
];
/// Bytes of a saved token; enough for one to name what was saved.
pub const SAVED_BYTES: usize = 8;
/// Tokens in the toy's vocabulary.
pub const N_VOCAB: usize = 259 + WORDS.len();

/// Chooses the token that is most likely after a sequence.
pub type Rule = Arc<dyn Fn(&[Token]) -> Token + Send + Sync>;

/// Something that goes wrong in a decode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// There are no cells.
    NoRoom,
    /// It stops after this many entries, though nobody asked for it.
    Aborted(usize),
    /// It fails.
    Error(BackendError),
    /// It panics.
    Panic,
    /// It works, but its logits are NaN.
    Nan,
}

/// What a toy is made of.
#[derive(Clone)]
pub struct ToyConfig {
    /// Its limits.
    pub limits: Limits,
    /// Whether parts of sequences can be cut off.
    pub prefix_reuse: bool,
    /// Whether what comes after a cut can move up.
    pub can_shift: bool,
    /// How many tokens a token sees beside its own; those that nobody sees any more are lost now and then.
    pub window: Option<usize>,
    /// Its next token.
    pub rule: Rule,
}

impl Default for ToyConfig {
    fn default() -> Self {
        Self {
            limits: Limits {
                n_ctx: 256,
                kv_cells: 256,
                n_batch: 16,
                n_seq_max: 1,
                n_outputs_max: 1,
                unified: true,
            },
            prefix_reuse: true,
            can_shift: true,
            window: None,
            rule: Arc::new(noise),
        }
    }
}

/// A rule that says anything at all, and comes to an end now and then.
#[must_use]
pub fn noise(tokens: &[Token]) -> Token {
    let hash = hash(tokens);
    match hash % 100 {
        0 => EOS,
        1..60 => 259 + (hash / 100 % WORDS.len() as u64) as Token,
        60..95 => b'a' as Token + (hash / 100 % 26) as Token,
        _ => (hash / 100 % 256) as Token,
    }
}

/// A rule that says again what was said [`REFRAIN`] tokens before, and now and then anything at all.
#[must_use]
pub fn refrain(tokens: &[Token]) -> Token {
    let before = tokens.len().checked_sub(REFRAIN);
    match before.map(|index| tokens[index]) {
        Some(token) if hash(tokens) >> 60 > 0 && ![EOS, EOT].contains(&token) => token,
        _ => noise(tokens),
    }
}

/// Tokens after which [`refrain`] repeats itself.
pub const REFRAIN: usize = 12;

/// A rule that says `text` byte by byte after a prompt of `prompt` tokens, and then ends.
#[must_use]
pub fn script(prompt: usize, text: impl Into<Vec<u8>>) -> Rule {
    let text = text.into();
    Arc::new(move |tokens| {
        tokens
            .len()
            .checked_sub(prompt)
            .and_then(|at| text.get(at))
            .map_or(EOS, |&b| Token::from(b))
    })
}

/// What a rule says under adapters: now and then another token, a different one for each set.
#[must_use]
pub fn adapted(rule: &Rule, adapters: &AdapterSet, tokens: &[Token]) -> Token {
    let token = rule(tokens);
    if adapters.is_empty() || [EOS, EOT].contains(&token) || !hash(tokens).is_multiple_of(4) {
        return token;
    }
    let salt = adapters.as_slice().iter().fold(1, |salt, (id, scale)| {
        hash(&[salt, id.cast_signed(), scale.to_bits().cast_signed()]) as Token
    });
    (token + 1 + salt.rem_euclid(200)).rem_euclid(250)
}

/// The logits after a sequence of which `next` is the most likely continuation.
#[must_use]
pub fn logits_after(next: Token, tokens: &[Token]) -> Vec<f32> {
    let seed = hash(tokens);
    let noise =
        |index: usize| (hash(&[index as Token, seed as Token & Token::MAX]) % 4096) as f32 / 1024.0;
    let mut logits: Vec<f32> = (0..N_VOCAB).map(noise).collect();
    logits[next as usize] = 5.0;
    logits
}

/// The bytes of a token, as the toy renders it.
#[must_use]
pub fn bytes_of(token: Token) -> Vec<u8> {
    match usize::try_from(token) {
        Ok(byte @ 0..256) => vec![byte as u8],
        Ok(index @ 259..) => WORDS
            .get(index - 259)
            .map_or_else(Vec::new, |word| word.to_vec()),
        _ => Vec::new(),
    }
}

/// FNV-1a over the tokens, with the avalanche of MurmurHash3 at the end.
fn hash(tokens: &[Token]) -> u64 {
    let step = |hash: u64, token: &Token| {
        (hash ^ u64::from(token.unsigned_abs())).wrapping_mul(0x0100_0000_01b3)
    };
    let mut hash = tokens.iter().fold(0xcbf2_9ce4_8422_2325, step);
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    hash ^ (hash >> 33)
}

/// Orders faults and delays, and sees what the toy does. Clones control the same toy.
#[derive(Debug, Clone, Default)]
pub struct ToyControl(Arc<(Mutex<ControlState>, Condvar)>);

#[derive(Debug, Default)]
struct ControlState {
    faults: VecDeque<Option<Fault>>,
    holding: bool,
    /// Decodes that may go on though others are held.
    permits: usize,
    held: bool,
    seen: Seen,
}

/// What a toy has done and holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Calls of decode.
    pub decodes: usize,
    /// Entries of all batches that were computed.
    pub entries: usize,
    /// Entries of the largest batch.
    pub largest_batch: usize,
    /// Decodes that were stopped by the flag.
    pub aborted: usize,
    /// KV cells in use; those that are shared count once.
    pub cells: usize,
    /// How often the adapters were changed.
    pub switches: usize,
    /// Prefixes that were shared with another sequence.
    pub copies: usize,
    /// Whether the toy has been dropped.
    pub dropped: bool,
}

impl ToyControl {
    /// Lets the next decode that has no fault yet go wrong; `None` lets it go well.
    pub fn inject(&self, fault: impl Into<Option<Fault>>) {
        self.lock().faults.push_back(fault.into());
    }

    /// Makes decodes wait at their beginning, until [`Self::release`] or their abort flag.
    pub fn hold(&self) {
        self.lock().holding = true;
    }

    /// Lets held decodes go on.
    pub fn release(&self) {
        self.lock().holding = false;
        self.0.1.notify_all();
    }

    /// Blocks until a decode is held.
    pub fn wait_until_held(&self) {
        let guard = self.0.1.wait_while(self.lock(), |state| !state.held);
        drop(guard.unwrap_or_else(PoisonError::into_inner));
    }

    /// Lets the held decode go on, and blocks until the next one is held. There must be a next one.
    pub fn step(&self) {
        let mut state = self.lock();
        let decodes = state.seen.decodes;
        state.permits += 1;
        self.0.1.notify_all();
        let coming = |state: &mut ControlState| !(state.held && state.seen.decodes > decodes);
        drop(
            self.0
                .1
                .wait_while(state, coming)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// What the toy has done and holds.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.lock().seen.clone()
    }

    /// Waits while decodes are held; answers whether the flag ended that.
    fn pass(&self, abort: &AbortFlag) -> bool {
        let mut state = self.lock();
        state.seen.decodes += 1;
        while state.holding && state.permits == 0 && !abort.is_raised() {
            if !state.held {
                state.held = true;
                self.0.1.notify_all();
            }
            // The flag has no condition to wait for; llama.cpp asks it between the nodes of a graph.
            let waited = self.0.1.wait_timeout(state, Duration::from_millis(1));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.held = false;
        state.permits = state.permits.saturating_sub(1);
        abort.is_raised()
    }

    fn lock(&self) -> MutexGuard<'_, ControlState> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The toy itself.
pub struct Toy {
    model: ModelInfo,
    config: ToyConfig,
    adapters: AdapterSet,
    control: ToyControl,
    /// By sequence: its cells, in the order of positions.
    sequences: Vec<Vec<usize>>,
    /// By sequence: how many of its first tokens are lost to its window.
    lost: Vec<usize>,
    cells: Vec<Cell>,
    /// What was saved, whose bytes only name it.
    saved: Vec<Vec<Cell>>,
    /// By index of the last batch.
    logits: Vec<Option<Vec<f32>>>,
}

#[derive(Debug, Clone, Default)]
struct Cell {
    token: Token,
    /// What it was computed with.
    adapters: AdapterSet,
    /// Sequences that hold it; 0 is free.
    users: usize,
}

impl Toy {
    /// A toy and what controls it.
    #[must_use]
    pub fn new(config: ToyConfig) -> (Self, ToyControl) {
        let control = ToyControl::default();
        let model = ModelInfo {
            n_vocab: N_VOCAB,
            n_ctx_train: config.limits.n_ctx,
            n_embd: 8,
            bos: Some(BOS),
            eos: Some(EOS),
            eog: vec![EOS, EOT],
            prefix_reuse: config.prefix_reuse,
            can_shift: config.can_shift,
        };
        let toy = Self {
            model,
            adapters: AdapterSet::default(),
            control: control.clone(),
            sequences: vec![Vec::new(); config.limits.n_seq_max as usize],
            lost: vec![0; config.limits.n_seq_max as usize],
            cells: vec![Cell::default(); config.limits.kv_cells as usize],
            saved: Vec::new(),
            logits: Vec::new(),
            config,
        };
        (toy, control)
    }

    fn tokens(&self, seq: SeqId) -> Vec<Token> {
        self.sequences[seq as usize]
            .iter()
            .map(|&cell| self.cells[cell].token)
            .collect()
    }

    fn free_cells(&self) -> usize {
        self.cells.iter().filter(|cell| cell.users == 0).count()
    }

    /// Whether a batch finds cells: in the pool, or in each sequence's own part.
    fn has_room(&self, batch: &[BatchEntry]) -> bool {
        let limits = self.config.limits;
        if limits.unified {
            return self.free_cells() >= batch.len();
        }
        let part = limits.kv_cells / limits.n_seq_max;
        batch.iter().all(|entry| entry.pos.unsigned_abs() < part)
    }

    fn check(&self, batch: &[BatchEntry]) {
        let limits = self.config.limits;
        assert!(
            !batch.is_empty() && batch.len() <= limits.n_batch as usize,
            "a batch of {}",
            batch.len()
        );
        let outputs = batch.iter().filter(|entry| entry.output).count();
        assert!(
            outputs <= limits.n_outputs_max as usize,
            "{outputs} outputs end llama.cpp's process"
        );
        let mut next: Vec<usize> = self.sequences.iter().map(Vec::len).collect();
        for entry in batch {
            assert!(
                entry.seq < limits.n_seq_max,
                "sequence {} of {}",
                entry.seq,
                limits.n_seq_max
            );
            assert!(
                (0..N_VOCAB as Token).contains(&entry.token),
                "token {}",
                entry.token
            );
            let expected = &mut next[entry.seq as usize];
            assert_eq!(
                entry.pos as usize, *expected,
                "position of sequence {}",
                entry.seq
            );
            *expected += 1;
            assert!(
                *expected <= limits.n_ctx as usize,
                "sequence {} is longer than the context",
                entry.seq
            );
        }
    }

    fn compute(&mut self, entry: &BatchEntry) -> Option<Vec<f32>> {
        let sees_all = self.seq_keeps(entry.seq, entry.pos);
        assert!(sees_all, "sequence {} lost what it sees", entry.seq);
        let free = self.cells.iter().position(|cell| cell.users == 0);
        let cell = free.unwrap_or_else(|| unreachable!("room was checked before"));
        self.cells[cell] = Cell {
            token: entry.token,
            adapters: self.adapters.clone(),
            users: 1,
        };
        self.sequences[entry.seq as usize].push(cell);
        entry.output.then(|| {
            let tokens = self.tokens(entry.seq);
            let cells = &self.sequences[entry.seq as usize];
            let mixed = cells
                .iter()
                .any(|&cell| self.cells[cell].adapters != self.adapters);
            assert!(!mixed, "sequence {} is of several adapters", entry.seq);
            logits_after(adapted(&self.config.rule, &self.adapters, &tokens), &tokens)
        })
    }

    fn note(&self, change: impl FnOnce(&mut Seen)) {
        let mut state = self.control.lock();
        state.seen.cells = self.cells.len() - self.free_cells();
        change(&mut state.seen);
    }

    /// New tokens take cells that windows have left behind.
    fn lose_unseen(&mut self) {
        let Some(window) = self.config.window else {
            return;
        };
        let decodes = self.control.seen().decodes as Token;
        for (seq, cells) in self.sequences.iter().enumerate() {
            let unseen = cells.len().saturating_sub(window);
            let chance = hash(&[decodes, seq as Token]);
            if chance.is_multiple_of(3) && unseen > 0 {
                self.lost[seq] = self.lost[seq].max(chance as usize / 3 % (unseen + 1));
            }
        }
    }

    fn compute_all(&mut self, batch: &[BatchEntry]) {
        self.logits = batch.iter().map(|entry| self.compute(entry)).collect();
        self.lose_unseen();
        self.note(|seen| {
            seen.entries += batch.len();
            seen.largest_batch = seen.largest_batch.max(batch.len());
        });
    }
}

impl Backend for Toy {
    fn model(&self) -> &ModelInfo {
        &self.model
    }

    fn limits(&self) -> Limits {
        self.config.limits
    }

    fn token_bytes(&self, token: Token, out: &mut Vec<u8>) {
        out.extend(bytes_of(token));
    }

    fn use_adapters(&mut self, adapters: &AdapterSet) -> Result<(), BackendError> {
        assert_ne!(*adapters, self.adapters, "the adapters are these already");
        self.adapters = adapters.clone();
        self.note(|seen| seen.switches += 1);
        Ok(())
    }

    fn decode(
        &mut self,
        batch: &[BatchEntry],
        abort: &AbortFlag,
    ) -> Result<DecodeOutcome, BackendError> {
        self.check(batch);
        self.logits.clear();
        if self.control.pass(abort) {
            self.note(|seen| seen.aborted += 1);
            return Ok(DecodeOutcome::Aborted);
        }
        let fault = self.control.lock().faults.pop_front().flatten();
        match fault {
            Some(Fault::NoRoom) => return Ok(DecodeOutcome::NoRoom),
            Some(Fault::Error(error)) => return Err(error),
            Some(Fault::Panic) => panic!("the toy was told to panic"),
            Some(Fault::Aborted(after)) => {
                self.compute_all(&batch[..after.min(batch.len())]);
                self.logits.clear();
                return Ok(DecodeOutcome::Aborted);
            }
            Some(Fault::Nan) | None => {}
        }
        if !self.has_room(batch) {
            return Ok(DecodeOutcome::NoRoom);
        }
        self.compute_all(batch);
        if fault == Some(Fault::Nan) {
            self.logits
                .iter_mut()
                .flatten()
                .for_each(|logits| logits.fill(f32::NAN));
        }
        Ok(DecodeOutcome::Done)
    }

    fn logits(&self, batch_index: usize) -> Result<&[f32], BackendError> {
        let row = self.logits.get(batch_index).and_then(Option::as_deref);
        Ok(row.unwrap_or_else(|| panic!("logits of entry {batch_index} were not asked for")))
    }

    fn seq_remove(&mut self, seq: SeqId, from: Pos, to: Option<Pos>) -> bool {
        let length = self.sequences[seq as usize].len();
        let from = (from.max(0) as usize).min(length);
        let to = to.map_or(length, |to| (to.max(0) as usize).min(length));
        if to < length || (from > 0 && from < length && !self.config.prefix_reuse) {
            return false;
        }
        for cell in self.sequences[seq as usize].split_off(from) {
            self.cells[cell].users -= 1;
        }
        self.lost[seq as usize] = self.lost[seq as usize].min(from);
        self.note(|_| {});
        true
    }

    fn seq_keeps(&self, seq: SeqId, length: Pos) -> bool {
        let seen_from = |window| (length.max(0) as usize).saturating_sub(window);
        let window = self.config.window;
        window.is_none_or(|window| self.lost[seq as usize] <= seen_from(window))
    }

    fn seq_copy(&mut self, src: SeqId, dst: SeqId, from: Pos, to: Option<Pos>) {
        assert!(
            self.config.limits.unified && self.config.prefix_reuse,
            "these sequences cannot share"
        );
        assert_ne!(src, dst, "a sequence is copied onto itself");
        let source = &self.sequences[src as usize];
        let to = to.map_or(source.len(), |to| (to.max(0) as usize).min(source.len()));
        let shared = source[from.max(0) as usize..to].to_vec();
        let target = &mut self.sequences[dst as usize];
        assert!(target.is_empty(), "sequence {dst} is not empty");
        assert_eq!(from, 0, "a gap in sequence {dst}");
        target.extend(&shared);
        self.lost[dst as usize] = self.lost[src as usize].min(to);
        shared
            .into_iter()
            .for_each(|cell| self.cells[cell].users += 1);
        self.note(|seen| seen.copies += 1);
    }

    fn seq_drop(&mut self, seq: SeqId, from: Pos, to: Pos) -> bool {
        assert!(self.config.can_shift, "this memory cannot be shifted");
        let cells = &mut self.sequences[seq as usize];
        let (from, to) = (from.unsigned_abs() as usize, to.unsigned_abs() as usize);
        let moves_others = cells[to..].iter().any(|&cell| self.cells[cell].users > 1);
        assert!(!moves_others, "sequence {seq} moves cells of others");
        for cell in cells.drain(from..to) {
            self.cells[cell].users -= 1;
        }
        let lost = &mut self.lost[seq as usize];
        assert!(
            *lost <= from || from == 0,
            "sequence {seq} lost what it keeps"
        );
        *lost = (*lost).min(from).max(lost.saturating_sub(to - from));
        self.note(|_| {});
        true
    }

    fn seq_bytes(&mut self, seq: SeqId) -> Option<usize> {
        let bytes = self.sequences[seq as usize].len() * SAVED_BYTES;
        self.config.window.is_none().then_some(bytes)
    }

    fn seq_save(&mut self, seq: SeqId, bytes: usize) -> Option<Vec<u8>> {
        assert!(self.config.prefix_reuse, "this memory cannot be restored");
        let cells = &self.sequences[seq as usize];
        assert!(!cells.is_empty(), "sequence {seq} has nothing to save");
        assert_eq!(cells.len() * SAVED_BYTES, bytes, "this was not told");
        let saved = cells.iter().map(|&cell| self.cells[cell].clone()).collect();
        self.saved.push(saved);
        let name = (self.saved.len() as u64).to_ne_bytes();
        Some(
            name.into_iter()
                .cycle()
                .take(cells.len() * SAVED_BYTES)
                .collect(),
        )
    }

    fn seq_restore(&mut self, seq: SeqId, state: &[u8]) -> bool {
        assert!(
            self.sequences[seq as usize].is_empty(),
            "sequence {seq} is not empty"
        );
        let name = state
            .first_chunk()
            .map_or(0, |name| u64::from_ne_bytes(*name));
        let saved: Vec<Cell> = self.saved[name as usize - 1].clone();
        assert_eq!(
            state.len(),
            saved.len() * SAVED_BYTES,
            "this is not what was saved"
        );
        if self.free_cells() < saved.len() {
            return false;
        }
        for cell in saved {
            let free = self.cells.iter().position(|cell| cell.users == 0);
            let free = free.unwrap_or_else(|| unreachable!("room was checked before"));
            self.cells[free] = Cell { users: 1, ..cell };
            self.sequences[seq as usize].push(free);
        }
        self.note(|_| {});
        true
    }

    fn seq_max_pos(&self, seq: SeqId) -> Option<Pos> {
        self.sequences[seq as usize]
            .len()
            .checked_sub(1)
            .map(|last| last as Pos)
    }
}

impl Drop for Toy {
    fn drop(&mut self) {
        self.control.lock().seen.dropped = true;
    }
}
