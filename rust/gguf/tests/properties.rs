//! Whatever the bytes: no panic, no reading beyond the end, and a refusal that names the file.

mod common;

use std::io::{self, Read};
use std::path::Path;

use common::{Writer, open};
use proptest::prelude::*;
use tabagent_gguf::GgufFile;

/// Hands out its bytes and counts them; asking for more than there are is a failure of the reader under test.
struct Counting<'a> {
    bytes: &'a [u8],
}

impl Read for Counting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.bytes.read(buffer)
    }
}

fn exercise(bytes: &[u8]) -> Result<(), TestCaseError> {
    match GgufFile::read(
        Path::new("test.gguf"),
        Counting { bytes },
        bytes.len() as u64,
    ) {
        Ok(file) => {
            let _ = file.check_loadable(false);
            let _ = file.check_loadable(true);
            let summary = file.summary();
            prop_assert_eq!(summary.size_bytes, bytes.len() as u64);
            for tensor in file.tensors() {
                prop_assert!(
                    file.data_offset() + tensor.offset + tensor.bytes <= bytes.len() as u64
                );
                prop_assert!(tensor.offset.is_multiple_of(file.alignment()));
            }
        }
        Err(error) => {
            prop_assert!(error.to_string().starts_with("test.gguf: "));
            prop_assert!(
                error
                    .offset
                    .is_none_or(|offset| offset <= bytes.len() as u64)
            );
        }
    }
    Ok(())
}

fn interesting() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0_u64..64,
        Just(u64::MAX),
        Just(i64::MAX as u64),
        Just(1 << 32),
        Just(u64::MAX / 8)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn changed_bytes(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = Writer::llama().head();
        for (index, value) in changes {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        bytes.resize(bytes.len() + 4096, 0);
        exercise(&bytes)?;
    }

    #[test]
    fn changed_numbers(at in any::<prop::sample::Index>(), value in interesting()) {
        let mut bytes = Writer::llama().bytes();
        let at = at.index(bytes.len() - 8);
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        exercise(&bytes)?;
    }

    #[test]
    fn removed_and_repeated_pieces(from in any::<prop::sample::Index>(), length in 1_usize..64, repeat in 0_usize..3) {
        let bytes = Writer::llama().bytes();
        let from = from.index(bytes.len());
        let to = (from + length).min(bytes.len());
        let piece = bytes[from..to].repeat(repeat);
        exercise(&[&bytes[..from], &piece, &bytes[to..]].concat())?;
    }

    #[test]
    fn any_bytes_after_the_magic(tail in prop::collection::vec(any::<u8>(), 0..512)) {
        exercise(&[&b"GGUF\x03\0\0\0"[..], &tail].concat())?;
        exercise(&tail)?;
    }
}

#[test]
fn a_file_that_shrank_meanwhile_is_truncated() {
    let bytes = Writer::llama().bytes();
    let head = Writer::llama().head().len();
    for length in (0..head).step_by(7) {
        let error = GgufFile::read(Path::new("test.gguf"), &bytes[..length], bytes.len() as u64)
            .unwrap_err();
        assert!(error.to_string().contains("truncated"), "{error}");
    }
    assert!(open(&bytes).is_ok());
}
