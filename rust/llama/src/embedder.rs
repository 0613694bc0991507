//! Vectors of texts, and scores of pairs, on a context of its own beside those that generate.
//!
//! Models that read a text as a whole (encoders) must have all of its tokens in one computation; the others are fed
//! in small chunks, because llama.cpp keeps a row of logits for every token of one. So the context is made as large
//! as the longest text so far needs, and made anew, larger, when a longer one comes.

use crate::batch::Batch;
use crate::context::{ContextError, MAX_THREADS, available_memory};
use crate::model::{LoadError, Model, ModelOptions};
use crate::pooling::{Pool, Pooling};
use crate::raw_context::{MemoryUse, RawContext};
use crate::runtime::Runtime;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use tabagent_engine::{BatchEntry, Token};

/// Short texts are computed together up to this many tokens, which is as fast as any more.
const GROUP_TOKENS: usize = 512;
/// Most texts that are computed together.
const GROUP_TEXTS: usize = 64;
/// Most tokens of one computation where texts may be divided.
const CHUNK_TOKENS: usize = 128;
/// `LLAMA_POOLING_TYPE_NONE` and `_RANK` (llama.h).
const POOLING_NONE: i32 = 0;
const POOLING_RANK: i32 = 4;

/// How texts are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbedderOptions {
    /// How the vector of a text is made; [`Pooling::Rank`] for models that score pairs.
    pub pooling: Pooling,
    /// Most tokens of a text.
    pub longest: u32,
}

/// Why texts have no vectors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    /// A text has more tokens than the model can read.
    #[error("text {index} has {tokens} tokens; the model reads at most {limit}")]
    TooLong {
        index: usize,
        tokens: usize,
        limit: usize,
    },
    /// A text has no tokens.
    #[error("text {index} is empty")]
    Empty { index: usize },
    /// A token is not in the vocabulary.
    #[error("text {index}: token {token} is not in the vocabulary of {n_vocab}")]
    InvalidToken {
        index: usize,
        token: Token,
        n_vocab: usize,
    },
    /// There is no context to compute in.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// llama.cpp failed.
    #[error("llama.cpp failed to compute the vectors (code {code}): {reason}")]
    Failed { code: i32, reason: String },
    /// The caller wanted no more.
    #[error("the computation was stopped")]
    Stopped,
}

/// Asked before each computation: how many threads it may have, or `None` to stop.
pub type Pace<'a> = dyn FnMut() -> Option<u32> + 'a;

/// Computes vectors of texts, or scores of pairs, on the weights of a model. Its context is made when it is first
/// needed.
pub struct Embedder {
    model: Arc<Model>,
    options: EmbedderOptions,
    made: Option<Made>,
}

/// A context and what it was made for.
struct Made {
    raw: RawContext,
    plan: Plan,
    batch: Batch,
}

impl Embedder {
    /// For a model; nothing is allocated yet.
    ///
    /// # Errors
    /// When the model was loaded without weights.
    pub fn new(model: &Arc<Model>, options: EmbedderOptions) -> Result<Self, ContextError> {
        if model.options().vocab_only {
            return Err(ContextError::VocabOnly);
        }
        Ok(Self {
            model: Arc::clone(model),
            options,
            made: None,
        })
    }

    /// What loading the model and making the context for texts of `tokens` tokens would take, without doing either.
    ///
    /// # Errors
    /// The outer error is the model's, the inner one the context's.
    pub fn predict_memory(
        runtime: &Arc<Runtime>,
        path: &Path,
        model: &ModelOptions,
        options: &EmbedderOptions,
        tokens: usize,
    ) -> Result<Result<Vec<MemoryUse>, ContextError>, LoadError> {
        let shapes = Model::load_shapes(runtime, path, model)?;
        Ok(predict(&shapes, &Plan::new(&shapes, options, tokens)))
    }

    /// A vector for each text, as long as the model's embeddings are.
    ///
    /// # Errors
    /// An [`EmbedError`] for each reason.
    pub fn embed(
        &mut self,
        texts: &[Vec<Token>],
        normalize: bool,
        pace: &mut Pace<'_>,
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
        let pools = self.compute_all(texts, pace)?;
        let vectors = pools.into_iter();
        Ok(vectors.map(|pool| pool.finish(normalize)).collect())
    }

    /// The score of each pair, by the first output of the model's classification head.
    ///
    /// # Errors
    /// An [`EmbedError`] for each reason.
    pub fn score(
        &mut self,
        pairs: &[Vec<Token>],
        pace: &mut Pace<'_>,
    ) -> Result<Vec<f32>, EmbedError> {
        let pools = self.compute_all(pairs, pace)?;
        let scores = pools.into_iter();
        Ok(scores.map(|pool| pool.finish(false)[0]).collect())
    }

    fn compute_all(
        &mut self,
        texts: &[Vec<Token>],
        pace: &mut Pace<'_>,
    ) -> Result<Vec<Pool>, EmbedError> {
        self.check(texts)?;
        let mut pools = Vec::with_capacity(texts.len());
        for group in groups(texts, self.most_together()) {
            pools.extend(self.compute(&texts[group], pace)?);
        }
        Ok(pools)
    }

    fn check(&self, texts: &[Vec<Token>]) -> Result<(), EmbedError> {
        let limit = self.options.longest as usize;
        let n_vocab = self.model.info().n_vocab;
        for (index, text) in texts.iter().enumerate() {
            if text.is_empty() {
                return Err(EmbedError::Empty { index });
            }
            if text.len() > limit {
                return Err(EmbedError::TooLong {
                    index,
                    tokens: text.len(),
                    limit,
                });
            }
            let known = |token: &Token| usize::try_from(*token).is_ok_and(|id| id < n_vocab);
            if let Some(&token) = text.iter().find(|token| !known(token)) {
                return Err(EmbedError::InvalidToken {
                    index,
                    token,
                    n_vocab,
                });
            }
        }
        Ok(())
    }

    /// Recurrent models keep a state for each sequence, so that several texts would cost more memory.
    fn most_together(&self) -> usize {
        if self.model.cuttable() {
            GROUP_TEXTS
        } else {
            1
        }
    }

    fn compute(
        &mut self,
        texts: &[Vec<Token>],
        pace: &mut Pace<'_>,
    ) -> Result<Vec<Pool>, EmbedError> {
        let width = match self.options.pooling {
            Pooling::Rank => 1,
            _ => self.model.n_embd_out(),
        };
        let mut pools: Vec<Pool> = texts
            .iter()
            .map(|text| Pool::new(self.options.pooling, text.len(), width))
            .collect();
        let entries = entries(texts);
        let made = self.made_for(entries.len())?;
        made.clear();
        for chunk in entries.chunks(made.plan.chunk) {
            let threads = pace().ok_or(EmbedError::Stopped)?;
            if let Err(error) = made.run(chunk, threads) {
                self.made = None;
                return Err(error);
            }
            for (index, entry) in chunk.iter().enumerate() {
                let pool = &mut pools[entry.seq as usize];
                let last = entry.pos as usize + 1 == texts[entry.seq as usize].len();
                match made.vector(index, entry, last, width) {
                    Some(vector) => pool.add(entry.pos as usize, vector),
                    None if made.plan.pooling == POOLING_RANK && !last => {}
                    None => {
                        let reason = "a vector is missing".to_owned();
                        return Err(EmbedError::Failed { code: 0, reason });
                    }
                }
            }
        }
        Ok(pools)
    }

    /// The context, with room for so many tokens at once.
    fn made_for(&mut self, tokens: usize) -> Result<&mut Made, ContextError> {
        let made = match self.made.take() {
            Some(made) if made.plan.tokens >= tokens => made,
            smaller => {
                drop(smaller); // first, so that both need not fit
                Made::new(&self.model, &self.options, tokens)?
            }
        };
        Ok(self.made.insert(made))
    }
}

impl Made {
    fn new(
        model: &Arc<Model>,
        options: &EmbedderOptions,
        tokens: usize,
    ) -> Result<Self, ContextError> {
        let plan = Plan::new(model, options, tokens);
        plan.check_memory(model)?;
        let raw = RawContext::new(model, &plan.params(model))?;
        if !raw.has_memory() && !plan.whole_texts {
            return Err(ContextError::Incompatible(
                "this model keeps no KV cache and is not known to read texts as a whole".to_owned(),
            ));
        }
        Ok(Self {
            raw,
            batch: Batch::new(plan.chunk),
            plan,
        })
    }

    /// Forgets the texts before.
    fn clear(&mut self) {
        if self.raw.has_memory() {
            // SAFETY: the memory is this context's.
            unsafe { (self.raw.api().llama_memory_clear)(self.raw.memory(), false) }
        }
    }

    fn run(&mut self, chunk: &[BatchEntry], threads: u32) -> Result<(), EmbedError> {
        let threads = threads.clamp(1, MAX_THREADS).cast_signed();
        // SAFETY: the context lives, and nothing is computed meanwhile.
        unsafe { (self.raw.api().llama_set_n_threads)(self.raw.as_ptr(), threads, threads) };
        // Tokens are in the vocabulary, positions begin at 0 in a cleared memory and follow each other, sequence ids
        // are below n_seq_max, every token is an output and there are no more than n_outputs_max.
        let batch = self.batch.fill(chunk);
        match self.raw.decode(&batch) {
            (0, _) => Ok(()),
            (code, reason) => Err(EmbedError::Failed { code, reason }),
        }
    }

    /// The vector of an entry just computed; of a pair, its score, once its last token was computed.
    fn vector(&self, index: usize, entry: &BatchEntry, last: bool, width: usize) -> Option<&[f32]> {
        let (api, context) = (self.raw.api(), self.raw.as_ptr());
        // SAFETY: the index and the sequence are those of the batch just decoded.
        let row = unsafe {
            match self.plan.pooling {
                POOLING_RANK if last => {
                    (api.llama_get_embeddings_seq)(context, entry.seq.cast_signed())
                }
                POOLING_RANK => std::ptr::null_mut(),
                _ => (api.llama_get_embeddings_ith)(context, i32::try_from(index).ok()?),
            }
        };
        // SAFETY: not null, so llama.cpp wrote `width` floats there (n_embd_out, or at least one score), and keeps
        // them until the next decode, which needs `&mut self`.
        (!row.is_null()).then(|| unsafe { std::slice::from_raw_parts(row, width) })
    }
}

/// What llama.cpp is asked for.
struct Plan {
    /// Tokens that there is room for.
    tokens: usize,
    /// Most tokens of one computation.
    chunk: usize,
    sequences: usize,
    pooling: i32,
    whole_texts: bool,
}

impl Plan {
    fn new(model: &Model, options: &EmbedderOptions, tokens: usize) -> Self {
        let most = GROUP_TOKENS.max(options.longest as usize);
        let tokens = tokens.next_power_of_two().clamp(GROUP_TOKENS, most);
        let whole_texts = reads_whole_texts(model);
        Self {
            tokens,
            chunk: if whole_texts { tokens } else { CHUNK_TOKENS },
            sequences: if model.cuttable() { GROUP_TEXTS } else { 1 },
            pooling: match options.pooling {
                Pooling::Rank => POOLING_RANK,
                _ => POOLING_NONE,
            },
            whole_texts,
        }
    }

    fn params(&self, model: &Model) -> crate::sys::ContextParams {
        // SAFETY: takes nothing; the layout was proved when the runtime was opened.
        let mut params = unsafe { (model.runtime().api().llama_context_default_params)() };
        let count = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        params.n_ctx = count(self.tokens);
        params.n_batch = count(self.chunk);
        params.n_ubatch = count(self.chunk);
        params.n_seq_max = count(self.sequences);
        params.n_outputs_max = count(self.chunk);
        params.n_outputs_max_per_seq = 0;
        params.pooling_type = self.pooling;
        params.embeddings = true;
        params.kv_unified = true;
        params.swa_full = true;
        params
    }

    /// As for contexts that generate: one that looks large is predicted exactly before it is made.
    fn check_memory(&self, model: &Arc<Model>) -> Result<(), ContextError> {
        let Some(available) = available_memory() else {
            return Ok(());
        };
        if self.rough_bytes(model) < available / 4 {
            return Ok(());
        }
        let Ok(shapes) = Model::load_shapes(model.runtime(), model.path(), model.options()) else {
            return Ok(()); // the file is gone or changed; the model in memory still works
        };
        let needed: u64 = predict(&shapes, self)?
            .iter()
            .filter(|part| part.is_host)
            .map(|part| part.context + part.compute)
            .sum();
        if needed > available {
            return Err(ContextError::TooLarge {
                n_ctx: u32::try_from(self.tokens).unwrap_or(u32::MAX),
                needed_bytes: needed,
                available_bytes: available,
            });
        }
        Ok(())
    }

    /// More than the logits, the attention and the vectors of any usual model.
    fn rough_bytes(&self, model: &Model) -> u64 {
        let (chunk, tokens) = (self.chunk as u64, self.tokens as u64);
        let logits = chunk * model.info().n_vocab as u64 * 2;
        let attention = chunk * tokens * model.n_head() as u64 * 2;
        let vectors = tokens * model.info().n_embd as u64 * (u64::from(model.n_layer()) * 2 + 16);
        (logits + attention + vectors) * 4
    }
}

fn predict(shapes: &Arc<Model>, plan: &Plan) -> Result<Vec<MemoryUse>, ContextError> {
    let mut parts = RawContext::new(shapes, &plan.params(shapes))?.memory_use();
    parts.push(MemoryUse::of_outputs(shapes, plan.chunk));
    Ok(parts)
}

/// Whether every token of a text sees those after it, so that a text cannot be divided. `gemma-embedding` and
/// `t5encoder` do not say so in their metadata; `llama-embed` computes without its cache (src/models).
fn reads_whole_texts(model: &Model) -> bool {
    let architecture = model
        .metadata_value("general.architecture")
        .unwrap_or_default();
    let causal = model.metadata_value(&format!("{architecture}.attention.causal"));
    causal.as_deref() == Some("false")
        || ["gemma-embedding", "t5encoder", "llama-embed"].contains(&architecture.as_str())
}

/// Divides texts into runs that are computed together.
fn groups(texts: &[Vec<Token>], most: usize) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut tokens = 0;
    for (index, text) in texts.iter().enumerate() {
        match groups.last_mut() {
            Some(group) if group.len() < most && tokens + text.len() <= GROUP_TOKENS => {
                group.end = index + 1;
                tokens += text.len();
            }
            _ => {
                groups.push(index..index + 1);
                tokens = text.len();
            }
        }
    }
    groups
}

/// All tokens of some texts, each text a sequence.
fn entries(texts: &[Vec<Token>]) -> Vec<BatchEntry> {
    let mut entries = Vec::with_capacity(texts.iter().map(Vec::len).sum());
    for (seq, text) in (0..).zip(texts) {
        entries.extend((0..).zip(text).map(|(pos, token)| BatchEntry {
            token: *token,
            pos,
            seq,
            output: true,
        }));
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lengths: &[usize]) -> Vec<Vec<Token>> {
        lengths.iter().map(|length| vec![1; *length]).collect()
    }

    #[test]
    fn short_texts_go_together_and_long_ones_alone() {
        let ends = |lengths: &[usize], most| -> Vec<usize> {
            let groups = groups(&texts(lengths), most);
            let starts = groups.iter().map(|group| group.start);
            assert!(
                starts.skip(1).eq(groups
                    .iter()
                    .map(|group| group.end)
                    .take(groups.len().saturating_sub(1)))
            );
            groups.iter().map(|group| group.end).collect()
        };
        assert_eq!(ends(&[], 9), [0; 0]);
        assert_eq!(ends(&[10, 20, 30], 9), [3]);
        assert_eq!(ends(&[10, 20, 30], 2), [2, 3]);
        assert_eq!(ends(&[10, 9000, 30], 9), [1, 2, 3]);
        assert_eq!(ends(&[500, 12, 1], 9), [2, 3]);
    }

    #[test]
    fn every_token_of_every_text_is_an_output() {
        let entries = entries(&texts(&[2, 1]));
        let places: Vec<_> = entries.iter().map(|entry| (entry.seq, entry.pos)).collect();
        assert_eq!(places, [(0, 0), (0, 1), (1, 0)]);
        assert!(entries.iter().all(|entry| entry.output));
    }
}
