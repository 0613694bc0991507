//! Stop strings that never show, wherever tokens cut them.
//!
//! Each stop string is followed by a Knuth-Morris-Pratt automaton (SIAM J. Comput. 6(2), 1977): its state is the
//! length of the longest end of the text that is a beginning of the stop string. So the longest state is what must
//! be held back, and work is one step for each byte and stop string.

/// Lets text through up to the first stop string that is completed.
///
/// Of several that are completed by the same character, the longest counts, that is, the one that begins first.
#[derive(Debug)]
pub struct StopFilter {
    matchers: Vec<Matcher>,
    /// Text that may be the beginning of a stop string.
    held: String,
    stopped: bool,
}

impl StopFilter {
    /// A filter for these strings; empty ones are left out, since they would stop everything.
    #[must_use]
    pub fn new(stops: &[String]) -> Self {
        let matchers = stops
            .iter()
            .filter(|stop| !stop.is_empty())
            .map(|stop| Matcher::new(stop))
            .collect();
        Self {
            matchers,
            held: String::new(),
            stopped: false,
        }
    }

    /// Takes text and appends what is settled to `out`. Answers true when a stop string is complete;
    /// nothing comes out after that.
    pub fn push(&mut self, text: &str, out: &mut String) -> bool {
        if self.stopped {
            return true;
        }
        if self.matchers.is_empty() {
            out.push_str(text);
            return false;
        }
        let before = self.held.len();
        self.held.push_str(text);
        for (offset, byte) in text.bytes().enumerate() {
            if let Some(length) = self.advance(byte) {
                let end = before + offset + 1;
                out.push_str(&self.held[..end - length]);
                self.held.clear();
                self.stopped = true;
                return true;
            }
        }
        let keep = self
            .matchers
            .iter()
            .map(|matcher| matcher.state)
            .max()
            .unwrap_or(0);
        let settled = self.held.len() - keep;
        out.push_str(&self.held[..settled]);
        self.held.drain(..settled);
        false
    }

    /// Appends what was held back to `out`, once no more text comes.
    pub fn finish(&mut self, out: &mut String) {
        out.push_str(&self.held);
        self.held.clear();
    }

    /// One byte for all matchers; the length of the longest stop string that it completes.
    fn advance(&mut self, byte: u8) -> Option<usize> {
        self.matchers
            .iter_mut()
            .filter_map(|matcher| matcher.advance(byte))
            .max()
    }
}

#[derive(Debug)]
struct Matcher {
    pattern: Vec<u8>,
    /// `fallback[n]`: length of the longest proper end of the first n + 1 bytes that is also their beginning.
    fallback: Vec<usize>,
    /// How many bytes of the pattern the text ends with.
    state: usize,
}

impl Matcher {
    fn new(stop: &str) -> Self {
        let pattern = stop.as_bytes().to_vec();
        let mut fallback = vec![0; pattern.len()];
        let mut length = 0;
        for index in 1..pattern.len() {
            while length > 0 && pattern[index] != pattern[length] {
                length = fallback[length - 1];
            }
            length += usize::from(pattern[index] == pattern[length]);
            fallback[index] = length;
        }
        Self {
            pattern,
            fallback,
            state: 0,
        }
    }

    /// The pattern's length, when this byte completes it. It must not be called after that.
    fn advance(&mut self, byte: u8) -> Option<usize> {
        while self.state > 0 && self.pattern[self.state] != byte {
            self.state = self.fallback[self.state - 1];
        }
        self.state += usize::from(self.pattern[self.state] == byte);
        (self.state == self.pattern.len()).then_some(self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the text is cut to, found the slow way.
    fn reference(text: &str, stops: &[String]) -> (String, bool) {
        for (end, _) in text.char_indices().map(|(at, c)| (at + c.len_utf8(), c)) {
            let longest = stops
                .iter()
                .filter(|stop| text[..end].ends_with(stop.as_str()))
                .map(String::len)
                .max();
            if let Some(length) = longest {
                return (text[..end - length].to_owned(), true);
            }
        }
        (text.to_owned(), false)
    }

    fn split(text: &str, cuts: &[usize]) -> Vec<String> {
        let mut pieces = vec![String::new()];
        for (index, c) in text.chars().enumerate() {
            if cuts.contains(&index) {
                pieces.push(String::new());
            }
            pieces.last_mut().unwrap().push(c);
        }
        pieces
    }

    /// How much of the end of a text that holds no stop string could become one.
    fn could_become_a_stop(text: &str, stops: &[String]) -> usize {
        let beginnings = stops
            .iter()
            .flat_map(|stop| (0..stop.len()).filter_map(|end| stop.get(..end)));
        beginnings
            .filter(|beginning| text.ends_with(beginning))
            .map(str::len)
            .max()
            .unwrap_or(0)
    }

    #[test]
    fn what_cannot_become_a_stop_string_is_let_through_at_once() {
        let mut filter = StopFilter::new(&["abc".into()]);
        let mut out = String::new();
        assert!(!filter.push("xxab", &mut out));
        assert_eq!(out, "xx");
        assert!(!filter.push("d", &mut out));
        assert_eq!(out, "xxabd");
    }

    #[test]
    fn a_stop_string_that_begins_and_ends_inside_tokens() {
        let mut filter = StopFilter::new(&["\n\nUser:".into()]);
        let mut out = String::new();
        for piece in ["Hi.\n", "\nUs", "e"] {
            assert!(!filter.push(piece, &mut out));
            assert_eq!(out, "Hi.");
        }
        assert!(filter.push("r: more", &mut out));
        assert!(filter.push("and more", &mut out));
        filter.finish(&mut out);
        assert_eq!(out, "Hi.");
    }

    #[test]
    fn the_longest_of_those_that_end_together_counts() {
        let mut filter = StopFilter::new(&["c".into(), "abc".into(), "bc".into()]);
        let mut out = String::new();
        assert!(filter.push("xabc", &mut out));
        assert_eq!(out, "x");
    }

    #[test]
    fn long_stop_strings_that_repeat_themselves_are_found() {
        let stop = "aabaaab";
        for before in ["", "aab", "aabaa", "aabaaa", "aaba"] {
            let mut filter = StopFilter::new(&[stop.into()]);
            let mut out = String::new();
            let text = format!("{before}{stop}");
            assert!(filter.push(&text, &mut out), "{text}");
            assert_eq!(out, reference(&text, &[stop.into()]).0);
        }
    }

    #[test]
    fn overlapping_beginnings_are_followed() {
        let mut filter = StopFilter::new(&["aab".into()]);
        let mut out = String::new();
        assert!(filter.push("aaab", &mut out));
        assert_eq!(out, "a");
    }

    proptest! {
        #[test]
        fn splits_do_not_matter(
            text in "[abé€]{0,24}|[ab]{0,60}",
            stops in proptest::collection::vec("[abé€]{1,4}|[ab]{4,8}", 0..4),
            cuts in proptest::collection::vec(0usize..24, 0..10),
        ) {
            let (expected, expected_stop) = reference(&text, &stops);
            let mut filter = StopFilter::new(&stops);
            let mut out = String::new();
            let mut seen = String::new();
            let mut stopped = false;
            for piece in split(&text, &cuts) {
                seen.push_str(&piece);
                stopped = filter.push(&piece, &mut out);
                if !stopped {
                    let settled = seen.len() - could_become_a_stop(&seen, &stops);
                    prop_assert_eq!(&out, &seen[..settled]);
                }
            }
            filter.finish(&mut out);
            prop_assert_eq!(out, expected);
            prop_assert_eq!(stopped, expected_stop);
        }
    }
}
