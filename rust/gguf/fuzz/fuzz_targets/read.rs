//! Any bytes as a GGUF file: no panic, no read beyond the end, and all tensors inside the file.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tabagent_gguf::GgufFile;

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = GgufFile::read(Path::new("fuzzed.gguf"), bytes, bytes.len() as u64) else { return };
    for tensor in file.tensors() {
        assert!(file.data_offset() + tensor.offset + tensor.bytes <= bytes.len() as u64);
    }
    let _ = file.summary();
    let _ = file.check_loadable(false);
    let _ = file.check_loadable(true);
});
