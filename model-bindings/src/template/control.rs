//! Control tokens in what a template is given: texts that look like them must not become them.
//!
//! A template's own `<|im_end|>` is meant; one in a message, a tool or a document is text about it. Where the prompt
//! was written by whom is found out by rendering once more with marks in the given texts. A mark is a character that
//! stands in no text, so what is left of the marked prompt without its marks must be the prompt itself, and a control
//! token without a mark inside was written by the template.

use std::collections::HashSet;

use aho_corasick::{AhoCorasick, Input, MatchKind, Span};
use serde_json::Value;
use tabagent_llama::SpecialToken;

use super::{Inputs, render_once, render_readable};

/// Unicode keeps these for use within a program.
const MARKS: std::ops::RangeInclusive<char> = '\u{fdd0}'..='\u{fdef}';

/// Parts of a conversation that vocabularies know as words, and templates use as control tokens.
const TURNS: [&str; 2] = ["<start_of_turn>", "<end_of_turn>"];

/// A stretch of a prompt, and whether the names of control tokens in it are meant.
pub type Piece = (String, bool);

/// Puts marks into a text; `None` where it needs none.
type Marking = fn(&ControlTexts, &str, char) -> Option<String>;

/// The control tokens of a model.
pub struct ControlTexts {
    texts: Vec<SpecialToken>,
    finder: Option<AhoCorasick>,
    /// What control tokens have and words have not.
    borders: HashSet<char>,
    /// What stands between those.
    words: HashSet<String>,
}

impl ControlTexts {
    /// Those among a vocabulary's special tokens.
    pub fn new(special: Vec<SpecialToken>) -> Self {
        let mut texts = special;
        texts.retain(|each| {
            !each.text.is_empty() && (each.control || looks_like_control(&each.text))
        });
        let borders: HashSet<char> = texts.iter().flat_map(|each| borders(&each.text)).collect();
        let words = texts
            .iter()
            .flat_map(|each| each.text.split(|c| borders.contains(&c)));
        let words = words
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect();
        let patterns = texts.iter().map(|each| &each.text);
        // It fails for more than 2^31 of them.
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(patterns)
            .ok()
            .filter(|_| !texts.is_empty());
        Self {
            texts,
            finder,
            borders,
            words,
        }
    }

    /// The prompt of a conversation, in stretches. There is one, with all that the template wrote, unless something
    /// that was given looks like a control token.
    ///
    /// # Errors
    /// As `render`.
    pub fn pieces(&self, template: &str, inputs: Inputs) -> Result<Vec<Piece>, String> {
        let (prompt, inputs) = render_readable(template, inputs)?;
        let mark = unused_mark(&inputs)?;
        // The more marks, the surer; but templates look at what they are given, and marks can change what they see.
        let markings: [Marking; 3] = [Self::mark_words, Self::mark_borders, Self::mark_tokens];
        for marking in markings {
            let Some(marked) = map_texts(&inputs, &|text| marking(self, text, mark)) else {
                continue;
            };
            if let Ok(rendered) = render_once(template, &marked)
                && without(&rendered, mark) == prompt
            {
                return Ok(self.cut(&rendered, mark));
            }
        }
        let Some(marked) = map_texts(&inputs, &|text| self.mark_tokens(text, mark)) else {
            return Ok(vec![(prompt, true)]);
        };
        // The template looks for a control token in what it is given. That is a text, so it finds none.
        match render_once(template, &marked) {
            Ok(rendered) => Ok(self.cut(&rendered, mark)),
            Err(_) => Err(
                "a message holds the text of a control token, with which this chat template cannot be used"
                    .to_owned(),
            ),
        }
    }

    /// Takes a marked prompt apart at the control tokens that the template wrote.
    fn cut(&self, marked: &str, mark: char) -> Vec<Piece> {
        let mut pieces = Pieces::default();
        let mut done = 0;
        let mut strips = false;
        for (found, control) in self.found(marked) {
            let text = marked.get(done..found.start).unwrap_or_default();
            self.add_text(
                &mut pieces,
                &without(text, mark),
                strips,
                control.strips_left,
            );
            pieces.add(&control.text, true);
            strips = control.strips_right;
            done = found.end;
        }
        let text = marked.get(done..).unwrap_or_default();
        self.add_text(&mut pieces, &without(text, mark), strips, false);
        pieces.0
    }

    /// Adds what stands between two control tokens. As a rule no other is in it.
    fn add_text(&self, pieces: &mut Pieces, text: &str, strip_start: bool, strip_end: bool) {
        if self.found(text).next().is_none() {
            return pieces.add(text, true);
        }
        let text = if strip_start { text.trim_start() } else { text };
        let text = if strip_end { text.trim_end() } else { text };
        let mut done = 0;
        for (found, token) in self.found(text) {
            if !token.control {
                // The tokenizer finds it in plain text, too, but not in two halves.
                let middle = found.start + first_length(&token.text);
                pieces.begin(text.get(done..middle).unwrap_or_default());
                done = middle;
            }
        }
        pieces.begin(text.get(done..).unwrap_or_default());
    }

    /// Where control tokens are written in a text, with the longest of those that begin at the same place.
    fn found(&self, text: &str) -> impl Iterator<Item = (Span, &SpecialToken)> {
        let matches = self
            .finder
            .iter()
            .flat_map(move |finder| finder.find_iter(text));
        matches
            .filter_map(|found| Some((found.span(), self.texts.get(found.pattern().as_usize())?)))
    }

    /// Marks around every part that a control token may have from a given text; `None` where there is no such part.
    fn mark_words(&self, text: &str, mark: char) -> Option<String> {
        let word = text.trim();
        if self.words.contains(word) {
            let start = text.len() - text.trim_start().len();
            return Some(with_marks(text, &[start, start + word.len()], mark));
        }
        self.mark_borders(text, mark)
    }

    /// Marks around every character that words have not.
    fn mark_borders(&self, text: &str, mark: char) -> Option<String> {
        self.has_border(text).then(|| {
            let marked = |c| match self.borders.contains(&c) {
                true => vec![mark, c, mark],
                false => vec![c],
            };
            text.chars().flat_map(marked).collect()
        })
    }

    /// Marks inside what is written like a control token, and at ends that may belong to one. These are few.
    fn mark_tokens(&self, text: &str, mark: char) -> Option<String> {
        let at = self.marks_in(text);
        (!at.is_empty()).then(|| with_marks(text, &at, mark))
    }

    fn marks_in(&self, text: &str) -> Vec<usize> {
        let mut marks = self.begun_in(text);
        let core = text.trim();
        if !self.has_border(core) {
            return marks;
        }
        let start = text.len() - text.trim_start().len();
        let end = text.trim_end().len();
        let within = |each: &SpecialToken| each.text.len() > core.len() && each.text.contains(core);
        let inside = self.texts.iter().any(within);
        if inside || self.texts.iter().any(|each| self.ends_at(&each.text, core)) {
            marks.push(start);
        }
        if inside
            || self
                .texts
                .iter()
                .any(|each| self.begins_at(&each.text, core))
        {
            marks.push(end);
        }
        marks.sort_unstable();
        marks.dedup();
        marks
    }

    /// Behind the first character of every control token in a text, of those within others too.
    fn begun_in(&self, text: &str) -> Vec<usize> {
        let mut marks = Vec::new();
        let mut from = 0;
        while let Some(finder) = &self.finder
            && let Some(found) = finder.find(Input::new(text).span(from..text.len()))
        {
            from = found.start() + first_length(text.get(found.start()..).unwrap_or_default());
            marks.push(from);
        }
        marks
    }

    /// Whether a text begins with the end of a control token.
    fn ends_at(&self, control: &str, text: &str) -> bool {
        let mut ends = control.char_indices().skip(1);
        ends.any(|(at, _)| {
            control
                .get(at..)
                .is_some_and(|end| text.starts_with(end) && self.has_border(end))
        })
    }

    /// Whether a text ends with the beginning of a control token.
    fn begins_at(&self, control: &str, text: &str) -> bool {
        let mut beginnings = control.char_indices().skip(1);
        beginnings.any(|(at, _)| {
            control
                .get(..at)
                .is_some_and(|beginning| text.ends_with(beginning) && self.has_border(beginning))
        })
    }

    fn has_border(&self, text: &str) -> bool {
        text.contains(|c| self.borders.contains(&c))
    }
}

/// Joins neighbours that are read alike.
#[derive(Default)]
struct Pieces(Vec<Piece>);

impl Pieces {
    fn add(&mut self, text: &str, special: bool) {
        match self.0.last_mut() {
            Some((last, as_before)) if *as_before == special => last.push_str(text),
            _ if text.is_empty() => {}
            _ => self.0.push((text.to_owned(), special)),
        }
    }

    /// A plain stretch that stays apart from the one before it.
    fn begin(&mut self, text: &str) {
        if !text.is_empty() {
            self.0.push((text.to_owned(), false));
        }
    }
}

fn looks_like_control(text: &str) -> bool {
    let is_between = |start, end| text.starts_with(start) && text.ends_with(end);
    is_between("<|", "|>") || is_between("<｜", "｜>") || TURNS.contains(&text)
}

/// What a control token has that words have not; where it has none, how it begins.
fn borders(control: &str) -> Vec<char> {
    let is_border = |c: &char| !c.is_alphanumeric() && !c.is_whitespace() && *c != '_';
    let found: Vec<char> = control.chars().filter(is_border).collect();
    if found.is_empty() {
        return control.chars().take(1).collect();
    }
    found
}

fn first_length(text: &str) -> usize {
    text.chars().next().map_or(1, char::len_utf8)
}

fn with_marks(text: &str, at: &[usize], mark: char) -> String {
    let mut marked = String::with_capacity(text.len() + 3 * at.len());
    let mut done = 0;
    for &at in at {
        marked.push_str(text.get(done..at).unwrap_or_default());
        marked.push(mark);
        done = at;
    }
    marked.push_str(text.get(done..).unwrap_or_default());
    marked
}

fn without(text: &str, mark: char) -> String {
    text.replace(mark, "")
}

/// A mark that no given text has.
fn unused_mark(inputs: &Inputs) -> Result<char, String> {
    let texts = [&inputs.messages, &inputs.tools, &inputs.documents];
    let is_used = |mark: char| texts.iter().any(|value| holds(value, mark));
    MARKS
        .into_iter()
        .find(|mark| !is_used(*mark))
        .ok_or_else(|| {
            "the messages use all the characters that Unicode keeps for programs".to_owned()
        })
}

fn holds(value: &Value, mark: char) -> bool {
    match value {
        Value::String(text) => text.contains(mark),
        Value::Array(elements) => elements.iter().any(|each| holds(each, mark)),
        Value::Object(members) => members
            .iter()
            .any(|(name, member)| name.contains(mark) || holds(member, mark)),
        _ => false,
    }
}

/// The inputs with the texts in messages, tools and documents changed; `None` where none is.
fn map_texts(inputs: &Inputs, change: &impl Fn(&str) -> Option<String>) -> Option<Inputs> {
    let mut changed = false;
    let mut map = |value: &Value| map_value(value, change, &mut changed);
    let inputs = Inputs {
        messages: map(&inputs.messages),
        tools: map(&inputs.tools),
        documents: map(&inputs.documents),
        options: inputs.options.clone(),
        local_time: inputs.local_time,
        add_generation_prompt: inputs.add_generation_prompt,
        bos_token: inputs.bos_token.clone(),
        eos_token: inputs.eos_token.clone(),
    };
    changed.then_some(inputs)
}

fn map_value(value: &Value, change: &impl Fn(&str) -> Option<String>, changed: &mut bool) -> Value {
    let map_text = |text: &str, changed: &mut bool| {
        let other = change(text);
        *changed |= other.is_some();
        other.unwrap_or_else(|| text.to_owned())
    };
    match value {
        Value::String(text) => Value::String(map_text(text, changed)),
        Value::Array(elements) => elements
            .iter()
            .map(|each| map_value(each, change, changed))
            .collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| {
                let member = match is_role(name, member) {
                    true => member.clone(),
                    false => map_value(member, change, changed),
                };
                (map_text(name, changed), member)
            })
            .collect(),
        other => other.clone(),
    }
}

/// Whether a member is the role of a message, of which templates make control tokens.
fn is_role(name: &str, member: &Value) -> bool {
    let is_word = |text: &str| text.chars().all(|c| c.is_alphanumeric() || c == '_');
    name == "role" && member.as_str().is_some_and(is_word)
}
