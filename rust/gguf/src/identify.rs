//! What a file that is not GGUF seems to be, so that the message can say more than "wrong magic".

/// Names what a file seems to be by its first bytes (a few hundred are enough); `None` if nothing fits.
#[must_use]
pub fn identify(start: &[u8]) -> Option<&'static str> {
    if start.is_empty() {
        return Some("an empty file");
    }
    by_magic(start).or_else(|| by_text(start))
}

fn by_magic(start: &[u8]) -> Option<&'static str> {
    const MAGICS: &[(&[u8], &str)] = &[
        (b"GGUF", "the beginning of a GGUF file that was cut off"),
        (b"FUGG", "a GGUF file with its byte order reversed"),
        (
            b"lmgg",
            "a GGML file, GGUF's predecessor: convert it again from the original weights",
        ),
        (
            b"tjgg",
            "a GGJT file, GGUF's predecessor: convert it again from the original weights",
        ),
        (
            b"fmgg",
            "a GGMF file, GGUF's predecessor: convert it again from the original weights",
        ),
        (
            b"PK\x03\x04",
            "a zip archive (PyTorch checkpoints are zip archives)",
        ),
        (b"\x80\x02", "a Python pickle (an old PyTorch checkpoint)"),
        (b"\x80\x04", "a Python pickle (an old PyTorch checkpoint)"),
        (b"\x1f\x8b", "a gzip archive"),
        (b"\x28\xb5\x2f\xfd", "a zstd archive"),
        (b"\xfd7zXZ\x00", "an xz archive"),
        (b"7z\xbc\xaf", "a 7-zip archive"),
        (b"\x7fELF", "a program or library (ELF)"),
        (b"MZ", "a program or library (Windows)"),
        (b"\x89HDF", "an HDF5 file (Keras weights)"),
        (b"\x89PNG", "a PNG image"),
        (b"%PDF", "a PDF document"),
        (b"SQLite format 3", "an SQLite database"),
    ];
    if let Some((_, name)) = MAGICS.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Some(name);
    }
    // SafeTensors: the length of a JSON header, then the header.
    let header = start.get(8..)?;
    let length = u64::from_le_bytes(start.get(..8)?.try_into().ok()?);
    if length < 100 << 20 && header.starts_with(b"{\"") {
        return Some("a SafeTensors file: its folder can be loaded as a Transformers model");
    }
    // ONNX is a protocol buffer: field 1 (the version), then field 2 (the producer) or 7 (the graph).
    if start.first() == Some(&0x08) && matches!(start.get(2), Some(0x12 | 0x3a)) {
        return Some("an ONNX model");
    }
    if start.iter().all(|byte| *byte == 0) {
        return Some("a file of zeros (an unfinished download?)");
    }
    None
}

fn by_text(start: &[u8]) -> Option<&'static str> {
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        // The last character may have been cut in two.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&start[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if text
        .chars()
        .any(|c| c.is_control() && !c.is_ascii_whitespace() && c != '\u{1b}')
    {
        return None;
    }
    let lower: String = text
        .chars()
        .take(100)
        .collect::<String>()
        .to_ascii_lowercase();
    Some(if lower.starts_with("version https://git-lfs") {
        "a Git LFS pointer: the model itself was not downloaded ('git lfs pull' gets it)"
    } else if lower.starts_with("<!doctype html") || lower.starts_with("<html") {
        "an HTML page: the download got a web page in place of the model"
    } else if lower.starts_with('{') || lower.starts_with('[') {
        "a JSON document"
    } else {
        "a text file"
    })
}

#[cfg(test)]
mod tests {
    use super::identify;

    #[test]
    fn names_what_people_mistake_for_a_model() {
        let cases: &[(&[u8], &str)] = &[
            (b"", "empty"),
            (b"hello there\nthis is text", "text"),
            ("Grüße, Jürgen".as_bytes(), "text"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
                "Git LFS",
            ),
            (b"<!DOCTYPE html><html>", "HTML"),
            (b"\n <html lang=en>", "HTML"),
            (b"{\"error\": \"not found\"}", "JSON"),
            (b"PK\x03\x04\x14\0\0\0", "zip"),
            (b"\x80\x02}q\x00", "pickle"),
            (b"\x40\0\0\0\0\0\0\0{\"__metadata__\":{}", "SafeTensors"),
            (b"\x7fELF\x02\x01\x01\0", "ELF"),
            (b"\x08\x08\x12\x07pytorch", "ONNX"),
            (b"\0\0\0\0\0\0\0\0", "zeros"),
            (b"lmgg\x01\0\0\0", "GGML"),
        ];
        for (start, expected) in cases {
            let name = identify(start).unwrap_or("nothing");
            assert!(name.contains(expected), "{start:?}: {name}");
        }
    }

    #[test]
    fn admits_not_knowing() {
        assert_eq!(identify(b"\xff\xfe\xfd\xfc\x01\x02"), None);
    }

    #[test]
    fn a_character_cut_in_two_is_still_text() {
        assert_eq!(identify(&"Ende: ü".as_bytes()[..7]), Some("a text file"));
    }
}
