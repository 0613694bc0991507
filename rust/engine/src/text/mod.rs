//! From the bytes of tokens to text that can be delivered: whole characters, and no part of a stop string.

mod stop;
mod utf8;

pub use stop::StopFilter;
pub use utf8::Utf8Assembler;

/// The text of one answer as its tokens come in.
#[derive(Debug)]
pub struct TextStream {
    characters: Utf8Assembler,
    filter: StopFilter,
    whole: String,
}

impl TextStream {
    /// A stream that ends before the first of `stops`.
    #[must_use]
    pub fn new(stops: &[String]) -> Self {
        Self {
            characters: Utf8Assembler::default(),
            filter: StopFilter::new(stops),
            whole: String::new(),
        }
    }

    /// Takes a token's bytes and appends the text that is settled by them to `out`.
    /// Answers true when a stop string is complete; all text before it has been delivered then.
    pub fn push(&mut self, bytes: &[u8], out: &mut String) -> bool {
        self.whole.clear();
        self.characters.push(bytes, &mut self.whole);
        self.filter.push(&self.whole, out)
    }

    /// Delivers what was held back, once no more tokens come. An unfinished character becomes U+FFFD.
    /// Answers true when a stop string is complete, by that or before.
    pub fn finish(&mut self, out: &mut String) -> bool {
        self.whole.clear();
        self.characters.finish(&mut self.whole);
        let stopped = self.filter.push(&self.whole, out);
        self.filter.finish(out);
        stopped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_string_of_split_characters_is_found() {
        let mut stream = TextStream::new(&["é!".into()]);
        let mut out = String::new();
        assert!(!stream.push(b"caf\xc3", &mut out));
        assert!(!stream.push(b"\xa9", &mut out));
        assert_eq!(out, "caf");
        assert!(stream.push(b"!x", &mut out));
        assert!(stream.finish(&mut out));
        assert_eq!(out, "caf");
    }

    #[test]
    fn the_end_delivers_what_was_held() {
        let mut stream = TextStream::new(&["</s>".into()]);
        let mut out = String::new();
        assert!(!stream.push(b"a</\xf0\x9f", &mut out));
        assert_eq!(out, "a");
        assert!(!stream.finish(&mut out));
        assert_eq!(out, "a</\u{fffd}");
    }
}
