//! Computed prefixes: used again by those who may, and never seen by others.

mod common;

use common::{Story, engine, generate, greedy, saying};
use tabagent_engine::toy::{ToyConfig, noise};
use tabagent_engine::{Engine, Request, Token};

fn ask(engine: &Engine, prompt: Vec<Token>, identity: u64, prefix_cache: bool) -> Story {
    generate(
        engine,
        Request {
            identity,
            prefix_cache,
            ..greedy(prompt, 8)
        },
    )
}

fn cached(story: &Story) -> usize {
    assert_eq!(
        story.started.map(|(_, cached)| cached),
        Some(story.usage().cached_tokens)
    );
    story.usage().cached_tokens
}

#[test]
fn the_next_turn_of_a_chat_computes_only_what_is_new() {
    let (engine, control) = engine(ToyConfig::default());
    let first: Vec<Token> = (0..60).collect();
    let story = ask(&engine, first.clone(), 1, true);
    assert_eq!(cached(&story), 0);
    let second = [&first[..], &story.token_ids(), &[70, 71, 72]].concat();
    let before = control.seen().entries;
    let story = ask(&engine, second.clone(), 1, true);
    // The last token of an answer is never computed.
    assert_eq!(cached(&story), second.len() - 4);
    let computed = control.seen().entries - before;
    assert_eq!(computed, 4 + story.usage().completion_tokens - 1);
    assert_eq!(
        engine.stats().totals.cached_tokens,
        story.usage().cached_tokens as u64
    );
}

#[test]
fn the_same_prompt_again_computes_its_last_token() {
    let (engine, _) = engine(ToyConfig::default());
    let story = ask(&engine, vec![9; 30], 1, true);
    let again = ask(&engine, vec![9; 30], 1, true);
    assert_eq!(cached(&again), 29);
    assert_eq!(again.token_ids(), story.token_ids());
}

#[test]
fn others_see_nothing_of_it() {
    let (engine, _) = engine(ToyConfig::default());
    let story = ask(&engine, vec![9; 30], 1, true);
    let other = ask(&engine, vec![9; 30], 2, true);
    assert_eq!(cached(&other), 0);
    assert_eq!(other.token_ids(), story.token_ids());
    assert_eq!(
        cached(&ask(&engine, vec![9; 30], 1, true)),
        0,
        "the second took its place"
    );
}

#[test]
fn it_can_be_declined() {
    let (engine, control) = engine(ToyConfig::default());
    ask(&engine, vec![9; 30], 1, true);
    assert_eq!(cached(&ask(&engine, vec![9; 30], 1, false)), 0);
    assert_eq!(control.seen().cells, 0, "nothing is left behind either");
    assert_eq!(cached(&ask(&engine, vec![9; 30], 1, true)), 0);
}

#[test]
fn models_that_cannot_cut_start_afresh() {
    let (engine, control) = engine(ToyConfig {
        prefix_reuse: false,
        ..saying(30, "abc")
    });
    ask(&engine, vec![9; 30], 1, true);
    assert_eq!(control.seen().cells, 0);
    let again = ask(&engine, vec![9; 30], 1, true);
    assert_eq!((cached(&again), again.text().as_str()), (0, "abc"));
}

#[test]
fn prompts_that_share_a_part_use_that_part() {
    let (engine, _) = engine(ToyConfig::default());
    let mut prompt: Vec<Token> = (0..40).collect();
    ask(&engine, prompt.clone(), 1, true);
    prompt[25] = 200;
    let story = ask(&engine, prompt.clone(), 1, true);
    assert_eq!(cached(&story), 25);
    let first = story.token_ids().first().copied().unwrap_or(257);
    assert_eq!(first, noise(&prompt));
    assert_eq!(cached(&ask(&engine, vec![1, 2], 1, true)), 0);
}
