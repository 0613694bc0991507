//! Sound and unsound containers: each fault has its own message, with the file's name and the byte.

mod common;

use common::{ARRAY, I32, STRING, U8, U16, U32, U64, Writer, array, open, string, strings};
use tabagent_gguf::{GgufFile, Problem, TensorType, Value};

#[test]
fn reads_a_sound_file() {
    for version in [2, 3] {
        let mut writer = Writer::llama();
        writer.version = version;
        let file = writer.open().unwrap();
        assert_eq!(file.version(), version);
        assert_eq!(file.metadata("llama.block_count"), Some(&Value::U32(1)));
        assert_eq!(
            file.metadata("general.name").and_then(Value::as_str),
            Some("Little")
        );
        assert_eq!(file.metadata("nothing"), None);
        assert_eq!(file.tensors().len(), 3);
        let tensor = file.tensor("blk.0.attn_q.weight").unwrap();
        assert_eq!(
            (tensor.shape(), tensor.elements, tensor.bytes),
            (&[32, 32][..], 1024, 2048)
        );
        assert_eq!(tensor.offset, 160);
        assert_eq!(file.data_offset() % 32, 0);
        file.check_loadable(false).unwrap();
    }
}

#[test]
fn keeps_tokens_that_are_not_utf8() {
    let tokens = strings([&b"\xff\xfe"[..], b"", b"ok"]);
    let file = Writer::llama()
        .with("tokenizer.ggml.tokens", ARRAY, tokens)
        .open()
        .unwrap();
    let tokens = file
        .metadata("tokenizer.ggml.tokens")
        .and_then(Value::as_array)
        .and_then(|a| a.as_strings())
        .unwrap();
    assert_eq!(
        tokens.iter().collect::<Vec<_>>(),
        [&b"\xff\xfe"[..], b"", b"ok"]
    );
}

#[test]
fn accepts_a_file_without_tensors() {
    let mut writer = Writer::llama();
    writer.tensors.clear();
    let file = writer.open().unwrap();
    assert_eq!(file.summary().vocab_size, Some(4));
    file.check_loadable(true).unwrap();
    assert!(
        file.check_loadable(false)
            .unwrap_err()
            .to_string()
            .contains("vocabulary only")
    );
}

#[test]
fn accepts_a_last_tensor_without_padding() {
    let mut writer = Writer::llama().tensor("odd", &[3], 0, 12);
    writer.data = Some(160 + 2048 + 128 + 12);
    writer.open().unwrap();
}

#[test]
fn every_truncation_is_refused() {
    let bytes = Writer::llama().bytes();
    for length in 0..bytes.len() {
        let error = open(&bytes[..length]).expect_err("a truncated file was accepted");
        assert!(
            matches!(
                error.problem,
                Problem::TooSmall { .. }
                    | Problem::Truncated { .. }
                    | Problem::TensorOutsideFile { .. }
            ),
            "{length}: {error}"
        );
    }
}

#[test]
fn says_what_else_the_file_is() {
    let text = open(b"# Notes\n\nThis is a text file that someone called .gguf.")
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("test.gguf") && text.contains("a text file"),
        "{text}"
    );
    let mut html = b"<!doctype html><html><body>".to_vec();
    html.resize(4000, b' ');
    assert!(open(&html).unwrap_err().to_string().contains("HTML"));
    assert!(open(b"").unwrap_err().to_string().contains("empty"));
    assert!(
        open(b"GGUF\x03")
            .unwrap_err()
            .to_string()
            .contains("cut off")
    );
}

#[test]
fn refuses_other_versions_and_byte_orders() {
    let mut writer = Writer::llama();
    for version in [0, 1, 4, 77] {
        writer.version = version;
        assert!(
            matches!(writer.open().unwrap_err().problem, Problem::UnsupportedVersion(v) if v == version)
        );
    }
    writer.version = 3_u32.swap_bytes();
    assert!(writer.refusal().contains("big-endian"));
}

#[test]
fn refuses_huge_counts() {
    for count in [1 << 19, u64::MAX, u64::MAX / 24] {
        let mut writer = Writer::llama();
        writer.tensor_count = Some(count);
        assert!(
            writer.refusal().contains("the number of tensors"),
            "{}",
            writer.refusal()
        );
        let mut writer = Writer::llama();
        writer.entry_count = Some(count);
        assert!(writer.refusal().contains("the number of metadata entries"));
    }
    let mut writer = Writer::llama();
    writer.tensor_count = Some(200_000);
    assert!(matches!(
        writer.open().unwrap_err().problem,
        Problem::Truncated { .. }
    ));
}

#[test]
fn refuses_strings_and_arrays_longer_than_the_file() {
    for length in [1_u64 << 20, 1 << 40, u64::MAX] {
        let refusal = Writer::empty()
            .entry("key", STRING, length.to_le_bytes())
            .refusal();
        assert!(refusal.contains("'key'"), "{refusal}");
        let value = [&U64.to_le_bytes()[..], &length.to_le_bytes()].concat();
        let refusal = Writer::empty().entry("key", ARRAY, value).refusal();
        assert!(refusal.contains("array 'key'"), "{refusal}");
        let value = [
            &STRING.to_le_bytes()[..],
            &length.to_le_bytes(),
            &string("x"),
        ]
        .concat();
        let refusal = Writer::empty().entry("key", ARRAY, value).refusal();
        assert!(refusal.contains("array 'key'"), "{refusal}");
    }
}

#[test]
fn refuses_bad_keys() {
    assert!(
        Writer::empty()
            .u32("twice", 1)
            .u32("other", 1)
            .u32("twice", 2)
            .refusal()
            .contains("'twice' occurs twice")
    );
    assert!(Writer::empty().u32("", 1).refusal().contains("it is empty"));
    assert!(
        Writer::empty()
            .entry(b"\xff", U8, [1])
            .refusal()
            .contains("not UTF-8")
    );
    assert!(
        Writer::empty()
            .u32("a\0b", 1)
            .refusal()
            .contains("control characters")
    );
    assert!(
        Writer::empty()
            .u32(&"x".repeat(70_000), 1)
            .refusal()
            .contains("65535")
    );
}

#[test]
fn refuses_unknown_value_types() {
    assert!(
        Writer::empty()
            .entry("key", 13, [0; 8])
            .refusal()
            .contains("unknown value type 13")
    );
    assert!(
        Writer::empty()
            .entry("key", u32::MAX, [0; 8])
            .refusal()
            .contains("unknown value type")
    );
    let nested = [
        &ARRAY.to_le_bytes()[..],
        &1_u64.to_le_bytes(),
        &array(U32, &[1_u32.to_le_bytes()]),
    ]
    .concat();
    assert!(
        Writer::empty()
            .entry("key", ARRAY, nested)
            .refusal()
            .contains("arrays of arrays")
    );
}

#[test]
fn checks_the_alignment() {
    for bad in [0, 3, 33, 1 << 21] {
        assert!(
            Writer::llama()
                .u32("general.alignment", bad)
                .refusal()
                .contains("power of two")
        );
    }
    assert!(
        Writer::llama()
            .entry("general.alignment", U64, 32_u64.to_le_bytes())
            .refusal()
            .contains("must be u32")
    );
    let mut writer = Writer::llama().u32("general.alignment", 256);
    writer.alignment = 256;
    assert_eq!(writer.open().unwrap().alignment(), 256);
}

#[test]
fn refuses_bad_tensors() {
    let edited = |edit: fn(&mut common::Tensor)| Writer::llama().edit_tensor(1, edit).refusal();
    assert!(edited(|t| t.name = b"token_embd.weight".to_vec()).contains("occurs twice"));
    assert!(edited(|t| t.name = vec![b'n'; 64]).contains("63"));
    assert!(edited(|t| t.name = vec![0xff]).contains("not UTF-8"));
    assert!(edited(|t| t.rank = Some(5)).contains("dimensions"));
    assert!(edited(|t| t.shape = vec![1 << 40, 1 << 40]).contains("too many elements"));
    assert!(edited(|t| t.shape = vec![0, u64::MAX]).contains("too many elements"));
    assert!(edited(|t| t.shape = vec![1 << 62]).contains("ends at byte"));
    assert!(edited(|t| t.kind = 43).contains("unknown type 43"));
    assert!(edited(|t| t.kind = 36).contains("I2_S"));
    assert!(edited(|t| t.kind = 31).contains("Q4_0"));
    assert!(
        edited(|t| {
            t.kind = 8;
            t.shape = vec![33, 32]
        })
        .contains("blocks")
    );
    assert!(edited(|t| t.offset = Some(0)).contains("where it belongs"));
    assert!(edited(|t| t.offset = Some(161)).contains("where it belongs"));
    assert!(edited(|t| t.offset = Some(u64::MAX)).contains("where it belongs"));
    assert!(edited(|t| t.shape = vec![32, 16]).contains("where it belongs"));
}

#[test]
fn the_types_are_those_of_ggml() {
    assert_eq!(TensorType::all().count(), 35);
    let q4_k = TensorType::all().find(|kind| kind.name == "Q4_K").unwrap();
    assert_eq!(
        (q4_k.number, q4_k.block_elements, q4_k.block_bytes),
        (12, 256, 144)
    );
}

#[test]
fn paths_that_are_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let missing = GgufFile::open(folder.path().join("missing.gguf")).unwrap_err();
    assert!(matches!(missing.problem, Problem::NotFound));
    assert!(missing.to_string().contains("missing.gguf: no such file"));
    assert!(matches!(
        GgufFile::open(folder.path()).unwrap_err().problem,
        Problem::IsDirectory
    ));
    let model = folder.path().join("model.gguf");
    std::fs::write(&model, Writer::llama().bytes()).unwrap();
    assert_eq!(GgufFile::open(&model).unwrap().path(), model);
    assert!(matches!(
        GgufFile::open(model.join("below")).unwrap_err().problem,
        Problem::NotFound
    ));
    #[cfg(unix)]
    assert!(matches!(
        GgufFile::open("/dev/null").unwrap_err().problem,
        Problem::NotAFile
    ));
}

#[test]
fn parts_of_a_split_model() {
    let folder = tempfile::tempdir().unwrap();
    let part = |index: u16| {
        Writer::llama()
            .entry("split.count", U16, 2_u16.to_le_bytes())
            .entry("split.no", U16, index.to_le_bytes())
    };
    let path = |index: u16| {
        folder
            .path()
            .join(format!("big-{:05}-of-00002.gguf", index + 1))
    };
    std::fs::write(path(0), part(0).bytes()).unwrap();
    let first = GgufFile::open(path(0)).unwrap();
    assert!(matches!(
        first.open_other_splits().unwrap_err().problem,
        Problem::NotFound
    ));
    std::fs::write(path(1), part(1).bytes()).unwrap();
    assert_eq!(first.open_other_splits().unwrap().len(), 1);
    let second = GgufFile::open(path(1)).unwrap();
    assert!(
        second
            .open_other_splits()
            .unwrap_err()
            .to_string()
            .contains("first part")
    );
    std::fs::write(path(1), part(0).bytes()).unwrap();
    assert!(
        first
            .open_other_splits()
            .unwrap_err()
            .to_string()
            .contains("part 1")
    );
    let wrong = Writer::llama()
        .entry("split.count", I32, 2_i32.to_le_bytes())
        .open()
        .unwrap();
    assert!(
        wrong
            .split()
            .unwrap_err()
            .to_string()
            .contains("must be u16")
    );
}
