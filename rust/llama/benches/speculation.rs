//! Tokens a second with guesses from the request's own text against without, on a real model.
//!
//!     cargo bench -p tabagent-llama --bench speculation -- [MODEL.gguf [LIBLLAMA]]
//!
//! What is computed is the model's, but what is chosen is a known text: the model's own weights need not be able to
//! write it. `copy` repeats 400 tokens of the prompt with a change after every 40; `loop` says the same 30 tokens
//! again and again; `fresh` says words of a language that it draws at random, as often as a language has them, so that
//! runs of three come up again but mean nothing. Runs with and without take turns; what counts is the median ratio.
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![allow(clippy::unwrap_used, reason = "a benchmark ends by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use tabagent_engine::sampling::uniform;
use tabagent_engine::{
    AbortFlag, Backend, BackendError, BatchEntry, DecodeOutcome, Engine, EngineConfig, Event,
    Limits, ModelInfo, Pos, Request, SeqId, Speculation, Token,
};
use tabagent_llama::{Context, ContextOptions, Model, ModelOptions, Runtime};

const PROMPT: usize = 500;
const ANSWER: usize = 240;
const ROUNDS: usize = 5;
const OUTPUTS: u32 = 16;

fn main() {
    let paths: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let model = PathBuf::from(paths.first().map_or("model.gguf", String::as_str));
    let library = paths.get(1).map_or_else(pack, PathBuf::from);
    let runtime = Runtime::open(&library).unwrap();
    let model = Model::load(&runtime, &model, &ModelOptions::default(), |_| true).unwrap();
    println!(
        "{:<8} {:>8} {:>10} {:>10} {:>7} {:>8} {:>6}",
        "text", "streams", "without/s", "with/s", "ratio", "guessed", "true"
    );
    for (name, text) in [("copy", copy()), ("loop", rounds()), ("fresh", fresh())] {
        for streams in [1, 4] {
            compare(&model, name, &text, streams);
        }
    }
}

fn pack() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../model-bindings/python/tabagent_model/runtime/libllama.so")
}

fn compare(model: &Arc<Model>, name: &str, text: &[Token], streams: usize) {
    let mut ratios = Vec::new();
    let mut last = (0.0, 0.0, 0, 0);
    let engines = [Speculation::Off, Speculation::WhenItPays].map(|speculation| {
        let config = EngineConfig {
            speculation,
            ..EngineConfig::default()
        };
        let options = ContextOptions {
            n_ctx: 1024,
            kv_cells: 1024 * streams as u32,
            n_seq_max: streams as u32,
            n_outputs_max: OUTPUTS,
            ..ContextOptions::default()
        };
        let context = Context::new(model, &options).unwrap();
        Engine::spawn(Told::new(context, text), config).unwrap()
    });
    for _ in 0..ROUNDS {
        let [without, with] = [&engines[0], &engines[1]].map(|engine| speed(engine, text, streams));
        ratios.push(with / without);
        let totals = engines[1].stats().totals;
        last = (without, with, totals.drafted, totals.drafts_kept);
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "{name:<8} {streams:>8} {:>10.1} {:>10.1} {:>7.3} {:>8} {:>6}",
        last.0,
        last.1,
        ratios[ROUNDS / 2],
        last.2,
        last.3
    );
}

/// Tokens a second of all streams together, from the first token of the first to the last of the last.
fn speed(engine: &Engine, text: &[Token], streams: usize) -> f64 {
    for who in 0..streams {
        let mut request = Request::new(text[..PROMPT].to_vec(), ANSWER as u32);
        request.sampling.temperature = 0.0;
        request.ignore_eos = true;
        request.identity = who as u64;
        engine.submit(request).unwrap();
    }
    let (mut began, mut left, mut tokens) = (None, streams, 0);
    while left > 0 {
        let _ = engine.wait(None);
        for event in engine.drain() {
            match event {
                Event::Piece { tokens: more, .. } => {
                    began.get_or_insert_with(Instant::now);
                    tokens += more.len();
                }
                Event::Finished { .. } => left -= 1,
                Event::Failed { error, .. } => panic!("{error}"),
                Event::Started { .. } => {}
            }
        }
    }
    tokens as f64 / began.unwrap().elapsed().as_secs_f64()
}

fn word(of: u64, index: usize, words: f64) -> Token {
    // The n-th word of a language comes up about 1/n as often as the first.
    300 + words.powf(uniform(of, index as u64)) as Token
}

fn fresh() -> Vec<Token> {
    (0..PROMPT + ANSWER)
        .map(|index| word(1, index, 20_000.0))
        .collect()
}

fn copy() -> Vec<Token> {
    let mut text: Vec<Token> = fresh()[..PROMPT].to_vec();
    let changed = |index: usize| index % 40 == 39;
    for index in 0..ANSWER {
        let token = text[50 + index];
        text.push(if changed(index) { token + 1 } else { token });
    }
    text
}

fn rounds() -> Vec<Token> {
    let mut text: Vec<Token> = fresh()[..PROMPT].to_vec();
    (0..ANSWER).for_each(|index| text.push(400 + (index % 30) as Token));
    text
}

/// A context whose most likely token is always the next of a text.
struct Told {
    context: Context,
    text: Vec<Token>,
    rows: Vec<Vec<f32>>,
}

impl Told {
    fn new(context: Context, text: &[Token]) -> Self {
        Self {
            context,
            text: text.to_vec(),
            rows: Vec::new(),
        }
    }
}

impl Backend for Told {
    fn model(&self) -> &ModelInfo {
        self.context.model()
    }

    fn limits(&self) -> Limits {
        self.context.limits()
    }

    fn token_bytes(&self, token: Token, out: &mut Vec<u8>) {
        self.context.token_bytes(token, out);
    }

    fn decode(
        &mut self,
        batch: &[BatchEntry],
        abort: &AbortFlag,
    ) -> Result<DecodeOutcome, BackendError> {
        let outcome = self.context.decode(batch, abort)?;
        self.rows.clear();
        for (index, entry) in batch.iter().enumerate() {
            let mut row = Vec::new();
            if entry.output {
                row.extend_from_slice(self.context.logits(index)?);
                let next = entry.pos as usize + 1;
                if let Some(&token) = self.text.get(next) {
                    row[token as usize] = 1e6;
                }
            }
            self.rows.push(row);
        }
        Ok(outcome)
    }

    fn logits(&self, batch_index: usize) -> Result<&[f32], BackendError> {
        Ok(&self.rows[batch_index])
    }

    fn seq_remove(&mut self, seq: SeqId, from: Pos, to: Option<Pos>) -> bool {
        self.context.seq_remove(seq, from, to)
    }

    fn seq_copy(&mut self, src: SeqId, dst: SeqId, from: Pos, to: Option<Pos>) {
        self.context.seq_copy(src, dst, from, to);
    }

    fn seq_max_pos(&self, seq: SeqId) -> Option<Pos> {
        self.context.seq_max_pos(seq)
    }
}
