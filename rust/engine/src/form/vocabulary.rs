//! A model's vocabulary as the grammars see it.

use std::sync::Arc;

use toktrie::{TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};

use crate::backend::Token;

/// Text to tokens, without special tokens: what the model's own tokenizer makes of a piece of an answer.
pub type Tokenize = Arc<dyn Fn(&str) -> Vec<Token> + Send + Sync>;

/// What a vocabulary holds.
pub struct VocabularyBytes {
    /// The bytes of every token, by its id; empty for control tokens, which no form allows.
    pub tokens: Vec<Vec<u8>>,
    /// Every token that ends an answer; at least one.
    pub ends: Vec<Token>,
    /// Where the tokenizer takes text apart in the same way wherever it stands, so that a run of text that must come
    /// can be put into tokens without asking the model. `None`: the model chooses each of them.
    pub tokenize: Option<Tokenize>,
}

/// The vocabulary with its trie.
struct Environment {
    trie: TokTrie,
    tokenize: Option<Tokenize>,
}

impl TokenizerEnv for Environment {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, text: &[u8]) -> Vec<TokenId> {
        let Some(tokenize) = &self.tokenize else {
            return self.trie.greedy_tokenize(text);
        };
        // What must come may end within a character: those bytes are no text for a tokenizer.
        let tokens = self.trie.tokenize_with_greedy_fallback(text, |text| {
            let tokens = tokenize(text);
            tokens.into_iter().map(Token::cast_unsigned).collect()
        });
        // A tokenizer can fail, or change a text that it takes apart, or know more tokens than the model.
        let known = |token: &TokenId| (*token as usize) < self.trie.vocab_size();
        if tokens.iter().all(known) && self.trie.decode_raw(&tokens) == text {
            tokens
        } else {
            self.trie.greedy_tokenize(text)
        }
    }

    fn tokenize_is_canonical(&self) -> bool {
        self.tokenize.is_some()
    }
}

/// Builds the trie, which takes some tens of milliseconds for 150,000 tokens. `None` for a vocabulary without an end.
pub(super) fn environment(vocabulary: VocabularyBytes) -> Option<TokEnv> {
    let ends: Vec<TokenId> = vocabulary
        .ends
        .iter()
        .copied()
        .map(Token::cast_unsigned)
        .collect();
    let info = TokRxInfo::new(u32::try_from(vocabulary.tokens.len()).ok()?, *ends.first()?);
    // The ends have no bytes, or some that are no text: a marker keeps them out of the trie of text.
    let mut words = vocabulary.tokens;
    for &end in &ends {
        let word = words.get_mut(end as usize)?;
        *word = format!("<end{end}>").into_bytes();
        word.insert(0, TokTrie::SPECIAL_TOKEN_MARKER);
    }
    let trie = TokTrie::from(&info, &words).with_eos_tokens(&ends);
    Some(Arc::new(Environment {
        trie,
        tokenize: vocabulary.tokenize,
    }))
}
