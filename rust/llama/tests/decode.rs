//! Decoding on a real llama.cpp: the engine's Backend, as the engine uses it.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use common::gguf::{N_CTX_TRAIN, N_VOCAB};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tabagent_engine::{
    AbortFlag, Backend, BatchEntry, DecodeOutcome, Engine, EngineConfig, Event, Pos, Request,
    SeqId, Speculation, Token,
};
use tabagent_llama::{Context, ContextError, ContextOptions, FlashAttention, KvType, Model};

const PROMPT: [Token; 6] = [1, 80, 90, 100, 110, 120];

fn options() -> ContextOptions {
    ContextOptions {
        n_ctx: 64,
        threads: Some(1),
        ..ContextOptions::default()
    }
}

fn entries(tokens: &[Token], start: Pos, seq: SeqId) -> Vec<BatchEntry> {
    let last = tokens.len() - 1;
    tokens
        .iter()
        .enumerate()
        .map(|(index, token)| BatchEntry {
            token: *token,
            pos: start + index as Pos,
            seq,
            output: index == last,
        })
        .collect()
}

fn decode(context: &mut Context, batch: &[BatchEntry]) -> DecodeOutcome {
    context.decode(batch, &AbortFlag::new()).unwrap()
}

fn greedy(logits: &[f32]) -> Token {
    let mut best = 0;
    for (token, value) in logits.iter().enumerate() {
        if *value > logits[best] {
            best = token;
        }
    }
    best as Token
}

/// Greedy continuation of the prompt, token by token.
fn generate(context: &mut Context, seq: SeqId, count: usize) -> Vec<Token> {
    let mut batch = entries(&PROMPT, 0, seq);
    let mut tokens = Vec::new();
    for _ in 0..count {
        assert_eq!(decode(context, &batch), DecodeOutcome::Done);
        let next = greedy(context.logits(batch.len() - 1).unwrap());
        tokens.push(next);
        batch = entries(&[next], context.seq_max_pos(seq).unwrap() + 1, seq);
    }
    tokens
}

fn context(name: &str, options: &ContextOptions) -> Context {
    Context::new(&common::tiny_model(name), options).unwrap()
}

#[test]
fn facts_of_model_and_context() {
    let context = context(
        "facts",
        &ContextOptions {
            n_seq_max: 3,
            ..options()
        },
    );
    let limits = context.limits();
    assert_eq!((limits.n_ctx, limits.n_seq_max), (64, 3));
    assert!(limits.kv_cells >= 64);
    let info = Backend::model(&context);
    assert_eq!(info.n_vocab, N_VOCAB as usize);
    assert_eq!(info.n_ctx_train, N_CTX_TRAIN);
    assert_eq!(info.n_embd, 64);
    assert_eq!((info.bos, info.eos), (Some(1), Some(2)));
    assert!(info.eog.contains(&2));
    assert!(info.prefix_reuse && info.can_shift);
}

#[test]
fn a_context_is_the_models_own_length_by_default() {
    let context = context(
        "default-length",
        &ContextOptions {
            n_ctx: 0,
            ..options()
        },
    );
    assert_eq!(context.limits().n_ctx, N_CTX_TRAIN);
}

#[test]
fn decoding_in_parts_and_at_once_agree() {
    let model = common::tiny_model("parts");
    let mut whole = Context::new(&model, &options()).unwrap();
    decode(&mut whole, &entries(&PROMPT, 0, 0));
    let expected: Vec<f32> = whole.logits(PROMPT.len() - 1).unwrap().to_vec();

    let mut parts = Context::new(&model, &options()).unwrap();
    decode(&mut parts, &entries(&PROMPT[..2], 0, 0));
    decode(&mut parts, &entries(&PROMPT[2..], 2, 0));
    let found = parts.logits(PROMPT.len() - 3).unwrap();
    let worst = expected
        .iter()
        .zip(found)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(worst < 1e-3, "logits differ by {worst}");
}

#[test]
fn greedy_text_is_the_same_whatever_shares_the_context() {
    let model = common::tiny_model("shared");
    let alone = generate(&mut Context::new(&model, &options()).unwrap(), 0, 12);
    let mut busy = Context::new(
        &model,
        &ContextOptions {
            n_seq_max: 4,
            ..options()
        },
    )
    .unwrap();
    decode(&mut busy, &entries(&[1, 200, 201, 202], 0, 3));
    assert_eq!(generate(&mut busy, 1, 12), alone);
}

/// The tokens of one of many prompts of different lengths.
fn one_of_many(seq: SeqId) -> Vec<Token> {
    let length = 4 + seq * 37 % 90;
    let token = |index: u32| 3 + ((seq * 31 + index * 17 + index * index) % 256).cast_signed();
    (0..length).map(token).collect()
}

#[test]
fn many_sequences_in_one_batch_get_what_each_gets_alone() {
    const CROWD: SeqId = 80;
    const NEWCOMER: SeqId = CROWD;
    let model = common::tiny_model("crowd");
    let options = ContextOptions {
        n_ctx: N_CTX_TRAIN,
        flash_attention: FlashAttention::On,
        ..options()
    };
    let mut alone = Context::new(&model, &options).unwrap();
    let mut crowd = Context::new(
        &model,
        &ContextOptions {
            kv_cells: 8192,
            n_seq_max: CROWD + 1,
            threads_batch: Some(2),
            ..options
        },
    )
    .unwrap();

    let prompts: Vec<Vec<Token>> = (0..CROWD).map(one_of_many).collect();
    for some in (0..).zip(&prompts).collect::<Vec<_>>().chunks(5) {
        let batch = some
            .iter()
            .flat_map(|(seq, prompt)| entries(prompt, 0, *seq));
        decode(&mut crowd, &batch.collect::<Vec<_>>());
    }
    let newcomer: Vec<Token> = (0..70).map(|index| 3 + index * 7 % 256).collect();
    let mut batch: Vec<BatchEntry> = (0..)
        .zip(&prompts)
        .flat_map(|(seq, prompt)| entries(&[7], Pos::try_from(prompt.len()).unwrap(), seq))
        .collect();
    batch.extend(entries(&newcomer, 0, NEWCOMER));
    decode(&mut crowd, &batch);

    let last = batch.len() - 1;
    let rows = (0..prompts.len()).chain([last]);
    let texts = prompts.iter().map(|prompt| [prompt, &[7][..]].concat());
    for (row, text) in rows.zip(texts.chain([newcomer])) {
        assert!(alone.seq_remove(0, 0, None));
        decode(&mut alone, &entries(&text, 0, 0));
        let expected = alone.logits(text.len() - 1).unwrap();
        let found = crowd.logits(row).unwrap();
        let largest = expected.iter().map(|a| a.abs()).fold(0.0, f32::max);
        let differences = expected.iter().zip(found).map(|(a, b)| (a - b).abs());
        let worst = differences.fold(0.0, f32::max);
        assert!(
            worst < 0.01 * largest,
            "row {row}: logits up to {largest} differ by {worst}"
        );
    }
}

#[test]
fn a_copied_prefix_continues_as_its_source() {
    for kv_unified in [true, false] {
        let model = common::tiny_model(&format!("copy-{kv_unified}"));
        let options = ContextOptions {
            n_seq_max: 2,
            kv_unified,
            ..options()
        };
        let mut context = Context::new(&model, &options).unwrap();
        decode(&mut context, &entries(&PROMPT, 0, 0));
        let next: Vec<f32> = context.logits(PROMPT.len() - 1).unwrap().to_vec();
        context.seq_copy(0, 1, 0, Some(4));
        assert_eq!(context.seq_max_pos(1), Some(3));
        decode(&mut context, &entries(&PROMPT[4..], 4, 1));
        let found = context.logits(1).unwrap();
        let worst = next
            .iter()
            .zip(found)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(
            worst < 1e-3,
            "unified {kv_unified}: logits differ by {worst}"
        );
    }
}

#[test]
fn sequences_can_be_cut() {
    let mut context = context("cut", &options());
    decode(&mut context, &entries(&PROMPT, 0, 0));
    assert!(context.seq_remove(0, 3, None));
    assert_eq!(context.seq_max_pos(0), Some(2));
    assert!(
        context.seq_remove(0, 2, Some(1)),
        "an empty range is removed at once"
    );
    assert_eq!(context.seq_max_pos(0), Some(2));
    assert!(context.seq_remove(0, 0, None));
    assert_eq!(context.seq_max_pos(0), None);
    assert!(!context.seq_remove(9, 0, None));
    context.seq_copy(0, 9, 0, None);
    assert_eq!(context.seq_max_pos(9), None);
}

#[test]
fn a_full_cache_says_so_and_stays_as_it_was() {
    let options = ContextOptions {
        n_ctx: 256,
        kv_cells: 256,
        n_seq_max: 2,
        ..options()
    };
    let mut context = context("full", &options);
    let long: Vec<Token> = (0..200).map(|index| 10 + index).collect();
    assert_eq!(
        decode(&mut context, &entries(&long, 0, 0)),
        DecodeOutcome::Done
    );
    assert_eq!(
        decode(&mut context, &entries(&long, 0, 1)),
        DecodeOutcome::NoRoom
    );
    assert_eq!(
        (context.seq_max_pos(0), context.seq_max_pos(1)),
        (Some(199), None)
    );
    assert!(context.seq_remove(0, 0, None));
    assert_eq!(
        decode(&mut context, &entries(&long, 0, 1)),
        DecodeOutcome::Done
    );
}

#[test]
fn logits_are_there_for_outputs_only() {
    let mut context = context(
        "outputs",
        &ContextOptions {
            n_seq_max: 1,
            n_outputs_max: 3,
            ..options()
        },
    );
    assert!(context.logits(0).is_err());
    let mut batch = entries(&PROMPT, 0, 0);
    batch[1].output = true;
    decode(&mut context, &batch);
    assert!(context.logits(0).is_err());
    assert_eq!(context.logits(1).unwrap().len(), N_VOCAB as usize);
    assert!(context.logits(5).is_ok());
    assert!(context.logits(6).is_err());
    assert!(context.logits(usize::MAX).is_err());
    batch = entries(&PROMPT, 6, 0);
    batch.iter_mut().for_each(|entry| entry.output = false);
    assert_eq!(decode(&mut context, &batch), DecodeOutcome::Done);
    assert!(context.logits(5).is_err());
}

#[test]
fn as_many_outputs_as_the_budget_allows() {
    let mut context = context(
        "budget",
        &ContextOptions {
            n_seq_max: 2,
            n_outputs_max: 6,
            n_ubatch: 4,
            ..options()
        },
    );
    let mut batch = entries(&PROMPT, 0, 0);
    batch.iter_mut().for_each(|entry| entry.output = true);
    decode(&mut context, &batch);
    assert!((0..6).all(|index| context.logits(index).is_ok()));
    let mut more = entries(&[1, 2, 3, 4, 5, 6, 7], 0, 1);
    more.iter_mut().for_each(|entry| entry.output = true);
    let error = context.decode(&more, &AbortFlag::new()).unwrap_err();
    assert!(
        !error.fatal && error.message.contains("at most 6 outputs"),
        "{error}"
    );
    assert_eq!(context.seq_max_pos(1), None);
}

#[test]
fn guesses_change_no_answer() {
    let text = |speculation| {
        let options = ContextOptions {
            n_ctx: 200,
            n_outputs_max: 16,
            ..options()
        };
        let config = EngineConfig {
            speculation,
            ..EngineConfig::default()
        };
        let engine = Engine::spawn(context(&format!("{speculation:?}"), &options), config).unwrap();
        // A loop, which the guesses follow and the random weights soon do not.
        let mut request = Request::new([PROMPT; 6].concat(), 120);
        request.sampling.temperature = 0.0;
        request.ignore_eos = true;
        engine.submit(request).unwrap();
        let mut tokens: Vec<Token> = Vec::new();
        loop {
            let _ = engine.wait(None);
            for event in engine.drain() {
                match event {
                    Event::Piece { tokens: more, .. } => {
                        tokens.extend(more.iter().map(|info| info.token));
                    }
                    Event::Finished { .. } => return (tokens, engine.stats().totals.drafted),
                    Event::Failed { error, .. } => panic!("{error}"),
                    Event::Started { .. } => {}
                }
            }
        }
    };
    let (without, none) = text(Speculation::Off);
    let (with, drafted) = text(Speculation::Always);
    assert_eq!(with, without);
    assert!(without.len() == 120 && none == 0 && drafted > 0);
}

#[test]
fn a_raised_flag_aborts() {
    let mut context = context("abort", &options());
    let flag = AbortFlag::new();
    flag.raise();
    assert_eq!(
        context.decode(&entries(&PROMPT, 0, 0), &flag),
        Ok(DecodeOutcome::Aborted)
    );
    assert_eq!(context.seq_max_pos(0), None);
    flag.clear();
    assert_eq!(
        context.decode(&entries(&PROMPT, 0, 0), &flag),
        Ok(DecodeOutcome::Done)
    );
}

#[test]
fn wrong_batches_are_errors_and_change_nothing() {
    let mut context = context(
        "wrong",
        &ContextOptions {
            n_seq_max: 2,
            ..options()
        },
    );
    decode(&mut context, &entries(&PROMPT, 0, 0));
    let entry = |token, pos, seq| BatchEntry {
        token,
        pos,
        seq,
        output: true,
    };
    let too_long: Vec<Token> = vec![5; 600];
    let wrong: Vec<Vec<BatchEntry>> = vec![
        vec![],
        vec![entry(-1, 6, 0)],
        vec![entry(N_VOCAB as Token, 6, 0)],
        vec![entry(i32::MAX, 6, 0)],
        vec![entry(5, 7, 0)],
        vec![entry(5, 5, 0)],
        vec![entry(5, -1, 1)],
        vec![entry(5, 0, 2)],
        vec![entry(5, 0, u32::MAX)],
        entries(&too_long, 0, 1),
        entries(&too_long[..70], 0, 1),
    ];
    for batch in wrong {
        let error = context.decode(&batch, &AbortFlag::new()).unwrap_err();
        assert!(!error.fatal, "{error}");
    }
    assert_eq!(
        (context.seq_max_pos(0), context.seq_max_pos(1)),
        (Some(5), None)
    );
    assert_eq!(
        decode(&mut context, &entries(&[7], 6, 0)),
        DecodeOutcome::Done
    );
}

#[test]
fn wrong_options_are_errors() {
    let model = common::tiny_model("options");
    let refused = |options: ContextOptions| Context::new(&model, &options).unwrap_err();
    let invalid = |options| matches!(refused(options), ContextError::Invalid { .. });
    assert!(invalid(ContextOptions {
        n_ctx: u32::MAX,
        ..options()
    }));
    assert!(invalid(ContextOptions {
        n_seq_max: 0,
        ..options()
    }));
    assert!(invalid(ContextOptions {
        n_seq_max: 257,
        ..options()
    }));
    assert!(invalid(ContextOptions {
        n_batch: 0,
        ..options()
    }));
    assert!(invalid(ContextOptions {
        n_ubatch: 0,
        ..options()
    }));
    assert!(invalid(ContextOptions {
        threads: Some(0),
        ..options()
    }));
    assert!(invalid(ContextOptions {
        threads: Some(1 << 20),
        ..options()
    }));
    assert!(invalid(ContextOptions {
        n_seq_max: 4,
        n_outputs_max: 3,
        ..options()
    }));
    let off = ContextOptions {
        kv_type: KvType::Q8_0,
        flash_attention: FlashAttention::Off,
        ..options()
    };
    assert!(matches!(refused(off), ContextError::Incompatible(_)));
}

#[test]
fn a_context_beyond_this_machines_memory_is_refused() {
    let model = wide_model("too-large");
    let huge = ContextOptions {
        n_ctx: 1 << 24,
        ..options()
    };
    let error = Context::new(&model, &huge).unwrap_err();
    assert!(
        matches!(error, ContextError::TooLarge { needed_bytes, available_bytes, .. } if needed_bytes > available_bytes),
        "{error}"
    );
}

/// 16 layers of 2 × 512 values: 32 KiB of keys and values a token in F16.
fn wide_model(name: &str) -> Arc<Model> {
    let path = common::scratch(name).join("wide.gguf");
    let shape = common::gguf::TinyLlama {
        n_embd: 512,
        n_head: 8,
        n_head_kv: 8,
        n_ff: 32,
        n_layer: 16,
        ..Default::default()
    };
    shape.write(&path);
    common::load(&path)
}

#[test]
fn quantized_caches_and_every_kind_of_attention_work() {
    // Heads of 32 values, so that the blocks fit.
    let model = common::tiny_model("kv-types");
    let plain = generate(&mut Context::new(&model, &options()).unwrap(), 0, 4);
    for name in KvType::names() {
        let kv_type = KvType::from_name(name).unwrap();
        let mut context = Context::new(
            &model,
            &ContextOptions {
                kv_type,
                ..options()
            },
        )
        .unwrap();
        let text = generate(&mut context, 0, 4);
        assert_eq!(text.len(), 4);
        if matches!(kv_type, KvType::F32) {
            assert_eq!(text, plain, "{name}");
        }
    }
    for flash_attention in [FlashAttention::On, FlashAttention::Off] {
        let mut context = Context::new(
            &model,
            &ContextOptions {
                flash_attention,
                ..options()
            },
        )
        .unwrap();
        assert_eq!(generate(&mut context, 0, 4), plain, "{flash_attention:?}");
    }
}

#[test]
fn a_quantized_cache_needs_wide_heads() {
    let path = common::scratch("narrow").join("narrow.gguf");
    common::gguf::TinyLlama {
        n_head: 4,
        ..Default::default()
    }
    .write(&path);
    let error = Context::new(
        &common::load(&path),
        &ContextOptions {
            kv_type: KvType::Q8_0,
            ..options()
        },
    )
    .unwrap_err();
    assert!(matches!(error, ContextError::Incompatible(_)), "{error}");
}

#[test]
fn memory_is_told_and_predicted() {
    let model = wide_model("memory");
    let options = ContextOptions {
        n_ctx: 1024,
        ..options()
    };
    let real = Context::new(&model, &options).unwrap().memory_use();
    let sum =
        |parts: &[tabagent_llama::MemoryUse]| parts.iter().map(|part| part.context).sum::<u64>();
    // 1024 cells × 32 KiB, and the logits.
    assert!(sum(&real) >= 1024 * 32 * 1024, "{real:?}");
    let predicted =
        Context::predict_memory(model.runtime(), model.path(), model.options(), &options)
            .unwrap()
            .unwrap();
    assert_eq!(sum(&predicted.memory), sum(&real));
}

#[test]
fn a_context_moves_to_another_thread_and_outlives_its_model() {
    let model = common::tiny_model("moves");
    let mut context = Context::new(&model, &options()).unwrap();
    drop(model);
    let text = std::thread::spawn(move || generate(&mut context, 0, 3))
        .join()
        .unwrap();
    assert_eq!(text.len(), 3);
}

/// Equal but for the order of sums: other cells are other lanes of a vector.
fn assert_near(found: &[f32], expected: &[f32]) {
    let wrong = furthest(found, expected);
    let largest = expected.iter().map(|a| a.abs()).fold(0.0, f32::max);
    assert!(
        wrong <= 0.01 * largest,
        "logits up to {largest} differ by {wrong}"
    );
}

fn furthest(a: &[f32], b: &[f32]) -> f32 {
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f32::max)
}

#[test]
fn what_was_saved_goes_on_in_another_sequence() {
    for (kv_type, flash_attention) in [
        (KvType::F16, FlashAttention::Off),
        (KvType::F16, FlashAttention::On),
        (KvType::Q8_0, FlashAttention::On),
    ] {
        let options = ContextOptions {
            n_seq_max: 3,
            kv_type,
            flash_attention,
            ..options()
        };
        let mut context = context(&format!("save-{kv_type:?}-{flash_attention:?}"), &options);
        decode(&mut context, &entries(&PROMPT[..5], 0, 0));
        let bytes = context.seq_bytes(0).unwrap();
        assert_eq!(context.seq_save(0, 100), None, "that is too little");
        let state = context.seq_save(0, bytes).unwrap();
        decode(&mut context, &entries(&PROMPT[5..], 5, 0));
        let expected = context.logits(0).unwrap().to_vec();
        assert!(context.seq_remove(0, 0, None));
        // Other cells than before.
        decode(&mut context, &entries(&[1, 200, 201], 0, 1));
        assert!(context.seq_restore(2, &state));
        assert_eq!(context.seq_max_pos(2), Some(4));
        decode(&mut context, &entries(&PROMPT[5..], 5, 2));
        assert_near(context.logits(0).unwrap(), &expected);
        assert!(!context.seq_restore(9, &state));
    }
}

#[test]
fn what_has_no_room_is_not_restored() {
    let options = ContextOptions {
        n_ctx: 256,
        n_seq_max: 2,
        ..options()
    };
    let mut context = context("no-room", &options);
    let long: Vec<Token> = (0..200).map(|index| 10 + index).collect();
    decode(&mut context, &entries(&long, 0, 0));
    let bytes = context.seq_bytes(0).unwrap();
    let state = context.seq_save(0, bytes).unwrap();
    assert!(!context.seq_restore(1, &state));
    assert_eq!(
        (context.seq_max_pos(0), context.seq_max_pos(1)),
        (Some(199), None)
    );
    decode(&mut context, &entries(&[7], 200, 0));
}

/// With one layer, keys and values do not depend on the tokens before, so those that moved up are the same as if
/// computed where they are now.
#[test]
fn what_comes_after_a_gap_moves_up() {
    let path = common::scratch("drop").join("one.gguf");
    let shape = common::gguf::TinyLlama {
        n_layer: 1,
        ..Default::default()
    };
    shape.write(&path);
    let model = common::load(&path);
    let options = ContextOptions {
        kv_type: KvType::F32,
        n_seq_max: 2,
        ..options()
    };
    let mut context = Context::new(&model, &options).unwrap();
    decode(&mut context, &entries(&PROMPT, 0, 0));
    decode(&mut context, &entries(&PROMPT[..2], 0, 1));
    assert!(context.seq_drop(0, 1, 4));
    assert_eq!(context.seq_max_pos(0), Some(2));
    decode(&mut context, &entries(&[50], 3, 0));
    let shifted = context.logits(0).unwrap().to_vec();
    let left = [&PROMPT[..1], &PROMPT[4..], &[50]].concat();
    let mut fresh = Context::new(&model, &options).unwrap();
    decode(&mut fresh, &entries(&left, 0, 0));
    let wrong = furthest(&shifted, fresh.logits(left.len() - 1).unwrap());
    assert!(wrong < 1e-3, "logits differ by {wrong}");
    // The other one is where it was.
    decode(&mut context, &entries(&PROMPT[2..], 2, 1));
    let mut other = Context::new(&model, &options).unwrap();
    decode(&mut other, &entries(&PROMPT, 0, 0));
    let wrong = furthest(
        context.logits(3).unwrap(),
        other.logits(PROMPT.len() - 1).unwrap(),
    );
    assert!(wrong < 1e-3, "logits of the other differ by {wrong}");
}

/// An abort while the keys of moved cells are turned to their new places would leave some to be turned twice.
#[test]
fn what_moves_up_is_turned_once_though_the_decode_is_to_stop() {
    let path = common::scratch("drop-stopped").join("deep.gguf");
    let shape = common::gguf::TinyLlama {
        n_layer: 8,
        ..Default::default()
    };
    shape.write(&path);
    let model = common::load(&path);
    // All cells are looked at, so turning takes much longer than the token that is computed.
    let options = ContextOptions {
        n_ctx: 16_384,
        kv_type: KvType::F32,
        ..options()
    };
    let after_a_drop = |stopped_after: Option<Duration>| {
        let mut context = Context::new(&model, &options).unwrap();
        decode(&mut context, &entries(&PROMPT, 0, 0));
        assert!(context.seq_drop(0, 1, 4));
        let (abort, next) = (AbortFlag::new(), entries(&[50], 3, 0));
        let outcome = thread::scope(|scope| {
            if let Some(time) = stopped_after {
                let abort = &abort;
                scope.spawn(move || {
                    thread::sleep(time);
                    abort.raise();
                });
            }
            context.decode(&next, &abort).unwrap()
        });
        if outcome == DecodeOutcome::Aborted {
            decode(&mut context, &next);
        }
        context.logits(0).unwrap().to_vec()
    };
    let expected = after_a_drop(None);
    for stopped_after in [0, 200, 1000, 3000, 10_000].map(Duration::from_micros) {
        assert_near(&after_a_drop(Some(stopped_after)), &expected);
    }
}

#[test]
fn an_engine_goes_on_past_the_end_of_its_context() {
    let engine =
        Engine::spawn(context("past-the-end", &options()), EngineConfig::default()).unwrap();
    let mut request = Request::new(PROMPT.to_vec(), 200);
    request.ignore_eos = true;
    request.context_shift = Some(4);
    engine.submit(request).unwrap();
    let usage = loop {
        assert!(engine.wait(None));
        let ended = engine.drain().into_iter().find_map(|event| match event {
            Event::Finished { usage, .. } => Some(usage),
            Event::Failed { error, .. } => panic!("{error}"),
            _ => None,
        });
        if let Some(usage) = ended {
            break usage;
        }
    };
    assert_eq!((usage.prompt_tokens, usage.completion_tokens), (6, 200));
    assert!(engine.stats().totals.shifts >= 4);
}

/// A model whose first layers see the last eight tokens only, and caches of so many cells.
fn windowed(name: &str, cells: u32) -> (Arc<Model>, ContextOptions) {
    let path = common::scratch(name).join("window.gguf");
    let shape = common::gguf::TinyLlama {
        window: Some(8),
        n_layer: 4,
        ..Default::default()
    };
    shape.write(&path);
    let options = ContextOptions {
        n_ctx: cells,
        n_seq_max: 4,
        kv_type: KvType::F32,
        ..options()
    };
    (common::load(&path), options)
}

fn text(who: i32, length: i32) -> Vec<Token> {
    (0..length)
        .map(|index| 3 + (who * 37 + index * 11) % 250)
        .collect()
}

/// Logits after a text in a cache of its own.
fn alone(model: &Arc<Model>, options: &ContextOptions, tokens: &[Token]) -> Vec<f32> {
    let mut context = Context::new(model, options).unwrap();
    decode(&mut context, &entries(tokens, 0, 0));
    context.logits(tokens.len() - 1).unwrap().to_vec()
}

#[test]
fn beginnings_of_two_that_were_computed_by_turns_serve_others_past_a_window() {
    let (model, options) = windowed("window", 256);
    let mut context = Context::new(&model, &options).unwrap();
    assert!(Backend::model(&context).prefix_reuse);
    let texts = [text(1, 40), text(2, 40)];
    for start in (0..40).step_by(10) {
        let chunks =
            [0, 1].map(|seq| entries(&texts[seq][start..start + 10], start as Pos, seq as SeqId));
        decode(&mut context, &chunks.concat());
    }
    // One is cut in the middle and goes on otherwise, the middle of the other is shared.
    assert!(context.seq_remove(0, 20, None));
    context.seq_copy(1, 2, 0, Some(20));
    let other = text(3, 2);
    decode(
        &mut context,
        &[entries(&other, 20, 0), entries(&other, 20, 2)].concat(),
    );
    for (seq, last) in [(0, 1), (1, 3)] {
        let whole = [&texts[seq][..20], &other].concat();
        assert_near(
            context.logits(last).unwrap(),
            &alone(&model, &options, &whole),
        );
    }
}

/// llama.cpp puts new tokens into cells that the windows of others have left behind, even where there are free ones.
#[test]
fn a_beginning_that_lost_its_cells_to_others_is_known_to_be_lost() {
    let (model, options) = windowed("window-lost", 256);
    let mut context = Context::new(&model, &options).unwrap();
    let kept = text(1, 40);
    decode(&mut context, &entries(&text(2, 10), 0, 1));
    decode(&mut context, &entries(&kept, 0, 0));
    assert!(context.seq_keeps(0, 20));
    context.seq_remove(1, 0, None);
    decode(&mut context, &entries(&text(3, 20), 0, 2));
    // Ten went into free cells and ten into the first of the other, whose token 17 sees 10 to 16.
    assert!(!context.seq_keeps(0, 1) && !context.seq_keeps(0, 16));
    assert!(context.seq_keeps(0, 17) && context.seq_keeps(0, 40));
    let other = text(4, 2);
    context.seq_copy(0, 3, 0, Some(17));
    decode(&mut context, &entries(&other, 17, 3));
    let whole = [&kept[..17], &other].concat();
    assert_near(context.logits(1).unwrap(), &alone(&model, &options, &whole));
}

#[test]
fn what_is_foreseen_says_what_a_context_will_do() {
    let (windowed, options) = windowed("window-foreseen", 256);
    for (model, saves) in [(windowed, false), (common::tiny_model("foreseen"), true)] {
        let made =
            Context::predict_memory(model.runtime(), model.path(), model.options(), &options);
        let made = made.unwrap().unwrap();
        let mut context = Context::new(&model, &options).unwrap();
        decode(&mut context, &entries(&PROMPT, 0, 0));
        assert_eq!((made.saves_sequences, made.shifts), (saves, true));
        assert_eq!(context.seq_bytes(0).is_some(), saves);
        assert!(context.seq_drop(0, 1, 2));
    }
}

#[test]
fn an_engine_computes_a_lost_beginning_anew() {
    let (model, options) = windowed("window-engine", 256);
    let context = Context::new(&model, &options).unwrap();
    let engine = Engine::spawn(context, EngineConfig::default()).unwrap();
    let ask = |tokens: &[Token], identity| {
        let mut request = Request::new(tokens.to_vec(), 4);
        request.identity = identity;
        request.ignore_eos = true;
        request.sampling.temperature = 0.0;
        engine.submit(request).unwrap();
        answered(&engine)
    };
    let beginning = text(1, 60);
    let asked = |own| [&beginning[..20], &text(own, 2)].concat();
    let expected = [5, 6].map(|own| ask(&asked(own), 99).0);
    ask(&text(2, 30), 2);
    ask(&beginning, 1);
    assert_eq!(ask(&asked(5), 1), (expected[0].clone(), 20));
    for who in 7..20 {
        ask(&text(who, 50), who as u64);
        let (said, _) = ask(&asked(6), 1);
        assert_eq!(said, expected[1], "after {who}");
    }
}

/// What an engine's only request said, and how many tokens of its prompt were computed before.
fn answered(engine: &Engine) -> (Vec<Token>, usize) {
    let mut said = Vec::new();
    loop {
        assert!(engine.wait(None));
        for event in engine.drain() {
            match event {
                Event::Piece { tokens, .. } => said.extend(tokens.iter().map(|info| info.token)),
                Event::Finished { usage, .. } => return (said, usage.cached_tokens),
                Event::Failed { error, .. } => panic!("{error}"),
                Event::Started { .. } => {}
            }
        }
    }
}
