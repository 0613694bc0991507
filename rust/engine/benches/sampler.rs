//! Microseconds that choosing one token takes, for a vocabulary of 152,064.
//!
//! `cargo bench -p tabagent-engine` prints the median of many draws for each set of parameters, on logits that are
//! spread like a model's (a bell curve with a few tokens far above it), and on nearly flat ones.
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::hint::black_box;
use std::time::Instant;

use tabagent_engine::SamplingParams;
use tabagent_engine::sampling::{Sampler, uniform};

const N_VOCAB: usize = 152_064;
const ROWS: u64 = 8;
const DRAWS: u64 = 200;

fn main() {
    let rows: Vec<(&str, Vec<Vec<f32>>)> = vec![
        ("peaked", (0..ROWS).map(peaked).collect()),
        ("flat", (0..ROWS).map(flat).collect()),
    ];
    println!(
        "{:<44} {:>10} {:>10}",
        "median µs a token", rows[0].0, rows[1].0
    );
    for (name, params, logprobs) in cases() {
        let figures: Vec<f64> = rows
            .iter()
            .map(|(_, rows)| median_us(&params, logprobs, rows))
            .collect();
        println!("{name:<44} {:>10.1} {:>10.1}", figures[0], figures[1]);
    }
}

fn cases() -> Vec<(&'static str, SamplingParams, Option<u8>)> {
    let defaults = SamplingParams::default();
    let open = SamplingParams {
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        ..defaults.clone()
    };
    vec![
        (
            "greedy",
            SamplingParams {
                temperature: 0.0,
                ..defaults.clone()
            },
            None,
        ),
        (
            "defaults (top_k 40, top_p 0.95, min_p 0.05)",
            defaults.clone(),
            None,
        ),
        (
            "defaults, penalties",
            SamplingParams {
                repeat_penalty: 1.1,
                ..defaults.clone()
            },
            None,
        ),
        (
            "defaults, one bias",
            SamplingParams {
                logit_bias: vec![(1, 1.0)],
                ..defaults.clone()
            },
            None,
        ),
        ("defaults, 5 logprobs", defaults, Some(5)),
        (
            "min_p 0.05 only",
            SamplingParams {
                min_p: 0.05,
                ..open.clone()
            },
            None,
        ),
        (
            "top_p 0.95 only",
            SamplingParams {
                top_p: 0.95,
                ..open.clone()
            },
            None,
        ),
        (
            "top_k 10,000 only",
            SamplingParams {
                top_k: 10_000,
                ..open.clone()
            },
            None,
        ),
        ("temperature only", open, None),
    ]
}

fn median_us(params: &SamplingParams, logprobs: Option<u8>, rows: &[Vec<f32>]) -> f64 {
    let mut sampler = Sampler::new(params.clone(), &[], logprobs);
    (0..64).for_each(|token| sampler.observe(token * 1000));
    let mut times: Vec<f64> = (0..DRAWS)
        .map(|position| {
            let logits = &rows[(position % ROWS) as usize];
            let start = Instant::now();
            let chosen = sampler.sample(black_box(logits), position);
            let time = start.elapsed().as_secs_f64() * 1e6;
            assert!(black_box(chosen).is_ok());
            time
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// About normal with a deviation of 2, and 30 tokens between 5 and 15 above the middle.
fn peaked(row: u64) -> Vec<f32> {
    let mut logits = flat(row);
    for logit in &mut logits {
        *logit *= 20.0;
    }
    for rank in 0..30u64 {
        let token = (uniform(row, 1_000_000_000 + rank) * N_VOCAB as f64) as usize;
        logits[token] = 15.0 - rank as f32 / 3.0;
    }
    logits
}

/// About normal with a deviation of 0.1.
fn flat(row: u64) -> Vec<f32> {
    let bell = |token: u64| {
        (0..12)
            .map(|term| uniform(row, token * 12 + term))
            .sum::<f64>()
            - 6.0
    };
    (0..N_VOCAB as u64)
        .map(|token| bell(token) as f32 * 0.1)
        .collect()
}
