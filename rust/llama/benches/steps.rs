//! What a step costs by its shape, on a real model: milliseconds of one `llama_decode`.
//!
//!     cargo bench -p tabagent-llama --bench steps -- MODEL.gguf [decodes] [chunks] [mixed]
//!
//! - decodes: one token of each of 1, 4, 16, 64 sequences of 96 tokens, beside as many cells as nobody reads any more
//!   (finished requests' prefixes), in one KV cache for all and in one for each.
//! - chunks: prompt tokens, by their number and the context before them, by attention and type of the KV cache.
//! - mixed: four sequences' next tokens and a chunk of a prompt, in one batch and in two.
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![allow(clippy::unwrap_used, reason = "a benchmark ends by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use tabagent_engine::{AbortFlag, Backend, BatchEntry, DecodeOutcome, SeqId};
use tabagent_llama::{
    Context, ContextOptions, FlashAttention, KvType, Model, ModelOptions, Runtime,
};

const BATCH: usize = 512;
/// Tokens that a sequence holds when its next one is computed.
const HELD: usize = 96;
const ROUNDS: usize = 3;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let path = PathBuf::from(arguments.first().map_or("model.gguf", String::as_str));
    let wants = |name: &str| arguments.len() < 2 || arguments[1..].iter().any(|each| each == name);
    let pack = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../model-bindings/python/tabagent_model/runtime/libllama.so");
    let runtime = Runtime::open(&pack).unwrap();
    let model = Model::load(&runtime, &path, &ModelOptions::default(), |_| true).unwrap();
    if wants("decodes") {
        decodes(&model);
    }
    if wants("chunks") {
        chunks(&model);
    }
    if wants("mixed") {
        mixed(&model);
    }
}

fn decodes(model: &Arc<Model>) {
    println!("decodes: sequences, cells of others, flash attention, one cache or one each: ms");
    for flash_attention in [FlashAttention::On, FlashAttention::Off] {
        for (sequences, kv_unified) in [
            (1, true),
            (4, true),
            (16, true),
            (16, false),
            (64, true),
            (64, false),
        ] {
            let options = ContextOptions {
                n_ctx: if kv_unified { 16_384 } else { 256 },
                n_seq_max: sequences + u32::from(kv_unified),
                flash_attention,
                kv_unified,
                ..ContextOptions::default()
            };
            let mut bench = Bench::new(model, &options);
            for others in [0, 2048, 6144] {
                if others > 0 && !kv_unified {
                    continue;
                }
                bench.clear();
                bench.feed(sequences, others);
                (0..sequences).for_each(|seq| bench.feed(seq, HELD));
                let batch: Vec<BatchEntry> = (0..sequences)
                    .flat_map(|seq| bench.next(seq, 1, true))
                    .collect();
                let took = bench.time(&[&batch]);
                println!(
                    "{sequences:>3} {others:>5} {flash_attention:?} {} {took:8.2}",
                    if kv_unified { "one" } else { "each" }
                );
            }
        }
    }
}

fn chunks(model: &Arc<Model>) {
    const CONTEXTS: [usize; 3] = [0, 500, 4000];
    println!("chunks: attention, KV, tokens: ms after {CONTEXTS:?} tokens");
    for (flash_attention, kv_type) in [
        (FlashAttention::On, KvType::F16),
        (FlashAttention::Off, KvType::F16),
        (FlashAttention::On, KvType::Q8_0),
    ] {
        let options = ContextOptions {
            n_ctx: 8192,
            flash_attention,
            kv_type,
            ..ContextOptions::default()
        };
        let mut bench = Bench::new(model, &options);
        for count in [16, 21, 32, 64, 128, 512] {
            let mut row = Vec::new();
            for context in CONTEXTS {
                bench.resize(0, context);
                let batch = bench.next(0, count, false);
                row.push(format!("{:8.1}", bench.time(&[&batch])));
            }
            println!(
                "{flash_attention:?} {kv_type:?} {count:>4} {}",
                row.concat()
            );
        }
    }
}

fn mixed(model: &Arc<Model>) {
    println!(
        "mixed: decodes, context, chunk: ms of decodes alone, chunk alone, both in one, in two"
    );
    for decodes in [4, 15, 40] {
        let options = ContextOptions {
            n_ctx: 8192,
            n_seq_max: decodes + 1,
            flash_attention: FlashAttention::On,
            ..ContextOptions::default()
        };
        let mut bench = Bench::new(model, &options);
        (0..decodes).for_each(|seq| bench.feed(seq, HELD));
        for (context, count) in [
            (0, 20),
            (0, 48),
            (0, 64),
            (0, 128),
            (0, 256),
            (1000, 64),
            (1000, 128),
        ] {
            bench.resize(decodes, context);
            let single: Vec<BatchEntry> = (0..decodes)
                .flat_map(|seq| bench.next(seq, 1, true))
                .collect();
            let chunk = bench.next(decodes, count, false);
            let both = [&single[..], &chunk[..]].concat();
            let times = [
                bench.time(&[&single]),
                bench.time(&[&chunk]),
                bench.time(&[&both]),
                bench.time(&[&single, &chunk]),
            ];
            println!(
                "{decodes:>3} {context:>5} {count:>4} {}",
                times.map(|ms| format!("{ms:8.1}")).concat()
            );
        }
    }
}

struct Bench {
    context: Context,
    held: Vec<usize>,
}

impl Bench {
    fn new(model: &Arc<Model>, options: &ContextOptions) -> Self {
        Self {
            context: Context::new(model, options).unwrap(),
            held: vec![0; options.n_seq_max as usize],
        }
    }

    fn clear(&mut self) {
        (0..self.held.len()).for_each(|seq| self.resize(seq as SeqId, 0));
    }

    /// Entries that continue a sequence.
    fn next(&self, seq: SeqId, count: usize, output: bool) -> Vec<BatchEntry> {
        let held = self.held[seq as usize];
        let entry = |pos: usize| BatchEntry {
            token: 300 + ((seq as usize * 7919 + pos * 31) % 1700) as i32,
            pos: pos as i32,
            seq,
            output: output || pos + 1 == held + count,
        };
        (held..held + count).map(entry).collect()
    }

    fn feed(&mut self, seq: SeqId, count: usize) {
        let mut left = count;
        while left > 0 {
            let batch = self.next(seq, left.min(BATCH), false);
            self.decode(&batch);
            self.held[seq as usize] += batch.len();
            left -= batch.len();
        }
    }

    fn resize(&mut self, seq: SeqId, length: usize) {
        let held = self.held[seq as usize];
        if held > length {
            assert!(self.context.seq_remove(seq, length as i32, None));
            self.held[seq as usize] = length;
        }
        self.feed(seq, length.saturating_sub(held));
    }

    fn decode(&mut self, batch: &[BatchEntry]) {
        let outcome = self.context.decode(batch, &AbortFlag::new()).unwrap();
        assert_eq!(outcome, DecodeOutcome::Done);
    }

    /// The least time of some rounds, in milliseconds; the KV cache is afterwards as it was before.
    fn time(&mut self, batches: &[&[BatchEntry]]) -> f64 {
        let mut least = f64::INFINITY;
        for _ in 0..ROUNDS {
            let began = Instant::now();
            for batch in batches {
                self.decode(batch);
            }
            least = least.min(began.elapsed().as_secs_f64() * 1e3);
            for seq in 0..self.held.len() {
                let held = self.held[seq] as i32;
                assert!(self.context.seq_remove(seq as SeqId, held, None));
            }
        }
        least
    }
}
