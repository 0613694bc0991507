//! Microseconds that working out the tokens which a form allows takes, and banning the others.
//!
//! `cargo bench -p tabagent-engine --bench masks` follows random answers to the schemas of `tests/forms/schemas.json`,
//! for vocabularies of 32,000 and 152,064 tokens.
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::error::Error;
use std::time::Instant;

use serde_json::Value;
use tabagent_engine::form::{Form, Forms, VocabularyBytes};
use tabagent_engine::sampling::uniform;

const SIZES: [usize; 2] = [32_000, 152_064];
/// Tokens of an answer that are followed.
const LENGTH: u64 = 60;
const SCHEMAS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/forms/schemas.json"
);
const END: usize = 256;

fn main() -> Result<(), Box<dyn Error>> {
    let schemas: Value = serde_json::from_str(&std::fs::read_to_string(SCHEMAS)?)?;
    let schemas = schemas["answered"].as_object().ok_or("no schemas")?;
    println!(
        "{:<10} {:<8} {:>8} {:>8} {:>8} {:>8}",
        "tokens", "µs", "p50", "p99", "max", "masks"
    );
    for size in SIZES {
        let forms = Forms::new(vocabulary(size))?;
        let mut made = Vec::new();
        let mut banned = Vec::new();
        for (seed, schema) in (0_u64..).zip(schemas.values()) {
            follow(&forms, schema, seed, size, (&mut made, &mut banned))?;
        }
        show(size, "to make", &mut made);
        show(size, "to apply", &mut banned);
    }
    Ok(())
}

/// Follows one answer of random tokens.
fn follow(
    forms: &Forms,
    schema: &Value,
    seed: u64,
    size: usize,
    (made, banned): (&mut Vec<f64>, &mut Vec<f64>),
) -> Result<(), Box<dyn Error>> {
    let mut constraint = forms.constrain(&Form::JsonSchema(schema.to_string()))?;
    let mut logits = vec![0.0_f32; size];
    for position in 0..LENGTH {
        if constraint.is_complete() {
            break;
        }
        let began = Instant::now();
        constraint.prepare();
        made.push(began.elapsed().as_secs_f64() * 1e6);
        logits.fill(0.0);
        let began = Instant::now();
        constraint.apply(&mut logits)?;
        banned.push(began.elapsed().as_secs_f64() * 1e6);
        let allowed = || (0_i32..).zip(&logits).filter(|(_, logit)| **logit == 0.0);
        let chosen = (uniform(seed, position) * allowed().count() as f64) as usize;
        let (token, _) = allowed().nth(chosen).ok_or("nothing is allowed")?;
        constraint.observe(token);
    }
    Ok(())
}

/// Single bytes, an end, and words of two to nine letters, half of them after a blank, some with a sign of JSON.
fn vocabulary(size: usize) -> VocabularyBytes {
    let mut tokens: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte]).collect();
    tokens.push(Vec::new());
    tokens.extend((0_u64..).map(word).take(size - tokens.len()));
    VocabularyBytes {
        tokens,
        ends: vec![END as i32],
        tokenize: None,
    }
}

fn word(number: u64) -> Vec<u8> {
    let draw = |position, below: f64| (uniform(number, position) * below) as usize;
    let mut word = Vec::new();
    if draw(0, 2.0) == 0 {
        word.push(b' ');
    }
    for letter in 0..2 + draw(1, 8.0) {
        let letters: &[u8] = if letter % 2 == 0 {
            b"bcdfghklmnprstvw"
        } else {
            b"aeiou"
        };
        word.push(letters[draw(2 + letter as u64, letters.len() as f64)]);
    }
    match draw(20, 20.0) {
        0 => word.insert(0, b'"'),
        1 => word.extend(b"\":"),
        2 => word.extend(b"\","),
        3 => word = number.to_string().into_bytes(),
        _ => {}
    }
    word
}

fn show(size: usize, what: &str, times: &mut [f64]) {
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!(
        "{size:<10} {what:<8} {:>8.1} {:>8.1} {:>8.1} {:>8}",
        at(0.5),
        at(0.99),
        at(1.0),
        times.len()
    );
}
