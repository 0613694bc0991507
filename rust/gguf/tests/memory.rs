//! Memory follows the bytes that are in the file, whatever its numbers announce.

mod common;

use common::{ARRAY, STRING, U64, Writer, open, strings};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The most memory, in bytes, that opening took beside the file's own bytes.
fn peak(bytes: &[u8]) -> usize {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let _ = open(bytes).map(|file| file.check_loadable(false));
    ALLOCATOR.peak_usage() - before
}

// One test, so that no other allocates beside it.
#[test]
fn memory_is_bounded_by_the_file() {
    for length in [1_u64 << 20, 1 << 30, 1 << 50, u64::MAX] {
        let announced = [&U64.to_le_bytes()[..], &length.to_le_bytes()].concat();
        assert!(peak(&Writer::empty().entry("key", ARRAY, announced).bytes()) < 16 << 10);
        assert!(
            peak(
                &Writer::empty()
                    .entry("key", STRING, length.to_le_bytes())
                    .bytes()
            ) < 16 << 10
        );
        let announced = [&STRING.to_le_bytes()[..], &length.to_le_bytes()].concat();
        assert!(peak(&Writer::empty().entry("key", ARRAY, announced).bytes()) < 16 << 10);
        let mut writer = Writer::empty();
        writer.tensor_count = Some(length);
        assert!(peak(&writer.bytes()) < 16 << 10);
    }

    // The worst that honest bytes can do: a great many of the smallest things.
    let mut tensors = Writer::empty();
    for index in 0..50_000 {
        tensors = tensors.tensor(&format!("{index}"), &[], 24, 1);
    }
    tensors.alignment = 1;
    tensors = tensors.u32("general.alignment", 1);
    let bytes = tensors.bytes();
    assert!(
        peak(&bytes) < 16 * bytes.len(),
        "{} for {}",
        peak(&bytes),
        bytes.len()
    );

    let vocabulary = Writer::llama().with(
        "tokenizer.ggml.tokens",
        ARRAY,
        strings((0..150_000).map(|i| i.to_string())),
    );
    let bytes = vocabulary.bytes();
    assert!(
        peak(&bytes) < 8 * bytes.len(),
        "{} for {}",
        peak(&bytes),
        bytes.len()
    );
}
