//! Whole characters out of bytes that come in any pieces.

/// Collects bytes until they make whole characters. Bytes that can make none become U+FFFD, one for each
/// maximal part of a character, as the Unicode standard recommends (chapter 3, "U+FFFD Substitution") and
/// [`String::from_utf8_lossy`] does: the result does not depend on how the bytes were cut.
#[derive(Debug, Default)]
pub struct Utf8Assembler {
    /// The beginning of a character: at most 3 bytes.
    pending: Vec<u8>,
}

impl Utf8Assembler {
    /// Takes bytes and appends the characters that they complete to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut String) {
        self.pending.extend_from_slice(bytes);
        let mut rest = self.pending.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    out.push_str(text);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    out.push_str(&String::from_utf8_lossy(valid));
                    rest = after;
                    let Some(bad) = error.error_len() else { break };
                    out.push(char::REPLACEMENT_CHARACTER);
                    rest = &rest[bad..];
                }
            }
        }
        let used = self.pending.len() - rest.len();
        self.pending.drain(..used);
    }

    /// Turns the beginning of a character that never was completed into U+FFFD.
    pub fn finish(&mut self, out: &mut String) {
        if !self.pending.is_empty() {
            out.push(char::REPLACEMENT_CHARACTER);
            self.pending.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn assemble(bytes: &[u8], cuts: &[usize]) -> String {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut assembler = Utf8Assembler::default();
        let mut out = String::new();
        for pair in cuts.windows(2) {
            assembler.push(&bytes[pair[0]..pair[1]], &mut out);
            assert!(assembler.pending.len() < 4);
        }
        assembler.finish(&mut out);
        out
    }

    #[test]
    fn a_character_waits_for_its_last_byte() {
        let mut assembler = Utf8Assembler::default();
        let mut out = String::new();
        for byte in "€".bytes().take(2) {
            assembler.push(&[byte], &mut out);
            assert_eq!(out, "");
        }
        assembler.push(&[0xac, b'x'], &mut out);
        assert_eq!(out, "€x");
    }

    #[test]
    fn a_broken_character_does_not_hold_back_what_follows() {
        let mut assembler = Utf8Assembler::default();
        let mut out = String::new();
        assembler.push(b"\xe2\x82", &mut out);
        assembler.push(b"a", &mut out);
        assert_eq!(out, "\u{fffd}a");
    }

    /// Bytes that are rich in lead and continuation bytes.
    fn awkward_bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            any::<u8>(),
            Just(b'a'),
            0x80u8..0xc0,
            Just(0xc3),
            Just(0xe2),
            Just(0xed),
            Just(0xf0),
            Just(0xf4)
        ];
        proptest::collection::vec(byte, 0..40)
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(bytes in awkward_bytes(), cuts in proptest::collection::vec(any::<usize>(), 0..12)) {
            prop_assert_eq!(assemble(&bytes, &cuts), String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn text_comes_out_as_it_went_in(text in "\\PC{0,20}", cuts in proptest::collection::vec(any::<usize>(), 0..12)) {
            prop_assert_eq!(assemble(text.as_bytes(), &cuts), text);
        }
    }
}
