//! The fuzz target starts from sound files; they must stay sound.

mod common;

use common::{Writer, open};

const SEED: &str = "fuzz/seeds/little-llama.seed";

#[test]
fn the_seed_is_the_little_llama() {
    if std::env::var_os("WRITE_FUZZ_SEED").is_some() {
        std::fs::write(SEED, Writer::llama().bytes()).unwrap();
    }
    let bytes = std::fs::read(SEED).unwrap();
    assert_eq!(bytes, Writer::llama().bytes());
    open(&bytes).unwrap().check_loadable(false).unwrap();
}
