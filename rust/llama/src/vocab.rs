//! The tokenizer of a model: llama.cpp's own, asked safely.
//!
//! Answers are exact for any vocabulary: sizes that llama.cpp reports as too small are retried, and text comes
//! back as the bytes that went in, without the clean-up of spaces that `llama_detokenize` does.

use crate::log;
use crate::shim_error::ErrorText;
use crate::sys::{Api, LlamaVocab};
use std::ffi::c_char;
use tabagent_engine::Token;

/// Why a text could not be turned into tokens or back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenizeError {
    /// The model has no tokenizer.
    #[error("this model has no vocabulary, so it cannot turn text into tokens")]
    NoVocabulary,
    /// The text is too long for llama.cpp's 32-bit lengths.
    #[error("a text of {bytes} bytes is too long to tokenize")]
    TooLong { bytes: usize },
    /// The vocabulary says that texts get a special token which it does not have.
    #[error("the model's vocabulary adds a {which} token to texts, but has none")]
    NoSpecialToken { which: &'static str },
    /// A token id that the vocabulary does not have.
    #[error("token {token} is not in the vocabulary of {n_vocab}")]
    OutOfRange { token: Token, n_vocab: usize },
    /// llama.cpp threw or gave up.
    #[error("the tokenizer failed: {reason}")]
    Failed { reason: String },
}

/// `LLAMA_VOCAB_TYPE_NONE`.
const TYPE_NONE: i32 = 0;
/// `LLAMA_VOCAB_TYPE_BPE`: byte-level pairs.
const TYPE_BPE: i32 = 2;
/// `LLAMA_VOCAB_TYPE_WPM`: BERT's WordPiece.
const TYPE_WPM: i32 = 3;

/// `LLAMA_TOKEN_ATTR_UNKNOWN | _CONTROL | _USER_DEFINED`: tokens that the tokenizer cuts out of a text first.
const ATTR_SPECIAL: i32 = ATTR_CONTROL | 1 << 4;
/// `LLAMA_TOKEN_ATTR_UNKNOWN | _CONTROL`: those of them that it leaves alone in plain text.
const ATTR_CONTROL: i32 = 1 | 1 << 3;
/// `LLAMA_TOKEN_ATTR_LSTRIP`.
const ATTR_LSTRIP: i32 = 1 << 7;
/// `LLAMA_TOKEN_ATTR_RSTRIP`.
const ATTR_RSTRIP: i32 = 1 << 8;

/// Facts of a vocabulary. The calls are methods of [`crate::Model`], which owns it.
#[derive(Debug, Clone)]
pub struct Vocab {
    /// Number of tokens.
    pub n_tokens: usize,
    /// Beginning of a text.
    pub bos: Option<Token>,
    /// End of a text.
    pub eos: Option<Token>,
    /// The token of a line end, where the vocabulary has one.
    pub nl: Option<Token>,
    /// Whether texts are tokenized with the beginning-of-text token before them.
    pub add_bos: bool,
    /// Whether texts are tokenized with the end-of-text token after them.
    pub add_eos: bool,
    /// Every token that ends a generation.
    pub eog: Vec<Token>,
    /// Whether the tokenizer puts a space before a text, which the text's bytes do not have.
    pub adds_space_prefix: bool,
    kind: i32,
    add_sep: bool,
    sep: Option<Token>,
}

/// A token that the tokenizer cuts out of a text before anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialToken {
    /// How it is written.
    pub text: String,
    /// Whether it is left alone in plain text (without `parse_special`).
    pub control: bool,
    /// Whether white space before it is dropped.
    pub strips_left: bool,
    /// Whether white space after it is dropped.
    pub strips_right: bool,
}

/// A vocabulary as llama.cpp holds it, for the length of a call.
#[derive(Clone, Copy)]
pub(crate) struct RawVocab<'a> {
    pub api: &'a Api,
    /// Valid for `'a`.
    pub pointer: *const LlamaVocab,
}

impl Vocab {
    /// Reads the facts of a vocabulary.
    pub(crate) fn read(raw: RawVocab<'_>) -> Self {
        let RawVocab { api, pointer } = raw;
        // SAFETY: the vocabulary lives for the whole call and these only read it.
        let mut vocab = unsafe {
            let n_tokens = usize::try_from((api.llama_vocab_n_tokens)(pointer)).unwrap_or(0);
            let known = |token: i32| {
                usize::try_from(token)
                    .is_ok_and(|id| id < n_tokens)
                    .then_some(token)
            };
            Self {
                n_tokens,
                bos: known((api.llama_vocab_bos)(pointer)),
                eos: known((api.llama_vocab_eos)(pointer)),
                sep: known((api.llama_vocab_sep)(pointer)),
                nl: known((api.llama_vocab_nl)(pointer)),
                add_bos: (api.llama_vocab_get_add_bos)(pointer),
                add_eos: (api.llama_vocab_get_add_eos)(pointer),
                add_sep: (api.llama_vocab_get_add_sep)(pointer),
                kind: (api.llama_vocab_type)(pointer),
                eog: Vec::new(),
                adds_space_prefix: false,
            }
        };
        let ids = 0..i32::try_from(vocab.n_tokens).unwrap_or(0);
        // SAFETY: the ids are in the vocabulary.
        vocab.eog = ids
            .filter(|id| unsafe { (api.llama_vocab_is_eog)(pointer, *id) })
            .collect();
        vocab.adds_space_prefix = vocab.find_space_prefix(raw);
        vocab
    }

    /// Whether a piece of text becomes the same tokens in the middle of a text as at its beginning.
    #[must_use]
    pub fn tokenizes_alike_anywhere(&self) -> bool {
        self.kind == TYPE_BPE && !self.adds_space_prefix
    }

    /// What stands between two texts that are read together, beside what ends the first. WordPiece ends every text
    /// with its separator anyway.
    pub(crate) fn pair_separator(&self) -> Option<Token> {
        self.sep.filter(|_| self.add_sep && self.kind != TYPE_WPM)
    }

    /// llama.cpp does not tell it; a text without a space does.
    fn find_space_prefix(&self, raw: RawVocab<'_>) -> bool {
        if self.kind == TYPE_WPM {
            return false; // its pieces begin with a space where a word begins; there is no way back to the bytes
        }
        let Ok(tokens) = self.tokenize(raw, "a", false, false) else {
            return false;
        };
        let mut bytes = Vec::new();
        for token in tokens {
            self.piece(raw, token, true, &mut bytes);
        }
        bytes == b" a"
    }

    pub(crate) fn tokenize(
        &self,
        raw: RawVocab<'_>,
        text: &str,
        add_special: bool,
        parse_special: bool,
    ) -> Result<Vec<Token>, TokenizeError> {
        self.check_special(add_special)?;
        let too_long = || TokenizeError::TooLong { bytes: text.len() };
        let text_len = i32::try_from(text.len()).map_err(|_| too_long())?;
        // A token is rarely shorter than two bytes; a wrong guess costs a second call.
        let mut tokens: Vec<Token> = vec![0; text.len() / 2 + 16];
        for _ in 0..2 {
            let capacity = i32::try_from(tokens.len()).map_err(|_| too_long())?;
            let mut thrown = 0_u8;
            let mut error = ErrorText::new();
            let mut shim_error = error.as_shim();
            // SAFETY: `text` and `tokens` are as long as said, the vocabulary lives, and special tokens exist.
            let (count, logged) = log::collect_errors(|| unsafe {
                (raw.api.tabagent_tokenize)(
                    raw.pointer,
                    text.as_ptr().cast::<c_char>(),
                    text_len,
                    tokens.as_mut_ptr(),
                    capacity,
                    u8::from(add_special),
                    u8::from(parse_special),
                    &raw mut thrown,
                    &raw mut shim_error,
                )
            });
            if thrown != 0 {
                return Err(TokenizeError::Failed {
                    reason: error.reason(&logged, "no reason was given"),
                });
            }
            match usize::try_from(count) {
                Ok(count) => {
                    tokens.truncate(count);
                    return Ok(tokens);
                }
                Err(_) if count == i32::MIN => return Err(too_long()),
                Err(_) => tokens.resize(count.unsigned_abs() as usize, 0),
            }
        }
        Err(TokenizeError::Failed {
            reason: "it asked for more room twice".to_owned(),
        })
    }

    /// llama.cpp ends the process when it has to add a special token that does not exist.
    fn check_special(&self, add_special: bool) -> Result<(), TokenizeError> {
        if self.kind == TYPE_NONE {
            return Err(TokenizeError::NoVocabulary);
        }
        // WordPiece adds its first and last token whatever the flags say.
        let wanted = [
            (
                "beginning-of-text",
                self.add_bos || self.kind == TYPE_WPM,
                self.bos,
            ),
            ("end-of-text", self.add_eos, self.eos),
            ("separator", self.add_sep || self.kind == TYPE_WPM, self.sep),
        ];
        match wanted
            .into_iter()
            .find(|(_, added, token)| *added && token.is_none())
        {
            Some((which, ..)) if add_special => Err(TokenizeError::NoSpecialToken { which }),
            _ => Ok(()),
        }
    }

    /// Appends a token's bytes. Control and unknown tokens append nothing unless `special`; neither does a token
    /// outside the vocabulary.
    pub(crate) fn piece(&self, raw: RawVocab<'_>, token: Token, special: bool, out: &mut Vec<u8>) {
        if self.kind == TYPE_NONE || !usize::try_from(token).is_ok_and(|id| id < self.n_tokens) {
            return;
        }
        let start = out.len();
        let mut room: usize = 64;
        for _ in 0..2 {
            out.resize(start + room, 0);
            let mut thrown = 0_u8;
            let mut error = ErrorText::new();
            let mut shim_error = error.as_shim();
            // SAFETY: `room` bytes lie behind `start`, the token is in the vocabulary, and the vocabulary lives.
            let count = unsafe {
                (raw.api.tabagent_token_to_piece)(
                    raw.pointer,
                    token,
                    out.as_mut_ptr().add(start).cast::<c_char>(),
                    i32::try_from(room).unwrap_or(i32::MAX),
                    u8::from(special),
                    &raw mut thrown,
                    &raw mut shim_error,
                )
            };
            if thrown != 0 {
                break;
            }
            match usize::try_from(count) {
                Ok(count) => {
                    out.truncate(start + count);
                    return;
                }
                Err(_) => room = count.unsigned_abs() as usize,
            }
        }
        out.truncate(start);
    }

    /// Every token that is cut out of texts.
    pub(crate) fn special_tokens(&self, raw: RawVocab<'_>) -> Vec<SpecialToken> {
        let special = |token| {
            // SAFETY: the token is in the vocabulary.
            let attributes = unsafe { (raw.api.llama_vocab_get_attr)(raw.pointer, token) };
            if attributes & ATTR_SPECIAL == 0 {
                return None;
            }
            let mut bytes = Vec::new();
            self.piece(raw, token, true, &mut bytes);
            Some(SpecialToken {
                text: String::from_utf8(bytes).ok()?,
                control: attributes & ATTR_CONTROL != 0,
                strips_left: attributes & ATTR_LSTRIP != 0,
                strips_right: attributes & ATTR_RSTRIP != 0,
            })
        };
        let ids = 0..i32::try_from(self.n_tokens).unwrap_or(0);
        ids.filter_map(special).collect()
    }

    /// The bytes of a text's tokens: the way back from [`Self::tokenize`] with `add_special`.
    pub(crate) fn detokenize(
        &self,
        raw: RawVocab<'_>,
        tokens: &[Token],
        special: bool,
    ) -> Result<Vec<u8>, TokenizeError> {
        if self.kind == TYPE_NONE {
            return Err(TokenizeError::NoVocabulary);
        }
        let outside = tokens
            .iter()
            .find(|token| !usize::try_from(**token).is_ok_and(|id| id < self.n_tokens));
        if let Some(token) = outside {
            return Err(TokenizeError::OutOfRange {
                token: *token,
                n_vocab: self.n_tokens,
            });
        }
        let mut bytes = Vec::with_capacity(tokens.len() * 4);
        // The tokenizer puts its space before each stretch of plain text: the first, and those after special tokens.
        let mut stretch_begins = self.adds_space_prefix;
        for token in tokens {
            let before = bytes.len();
            self.piece(raw, *token, special, &mut bytes);
            // SAFETY: the token is in the vocabulary.
            let attributes = unsafe { (raw.api.llama_vocab_get_attr)(raw.pointer, *token) };
            let plain = attributes & ATTR_SPECIAL == 0;
            if stretch_begins && plain && bytes.get(before) == Some(&b' ') {
                bytes.remove(before);
            }
            stretch_begins = self.adds_space_prefix && !plain;
        }
        Ok(bytes)
    }
}
