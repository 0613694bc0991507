//! Whether llama.cpp can be given a file: what it would *abort the process* on, which no caller can catch.
//!
//! Its other refusals are C++ exceptions that it catches itself while loading. The conditions are those of
//! `load_hparams` in llama-model.cpp and `llama_vocab::impl::load` in llama-vocab.cpp.

use std::collections::HashMap;

use crate::error::{GgufError, Problem};
use crate::file::GgufFile;
use crate::limits::{MAX_EXPERTS, MAX_LAYERS};
use crate::value::{Array, Strings, Value};

type Checked = Result<(), GgufError>;

const TOKENS: &str = "tokenizer.ggml.tokens";

impl GgufFile {
    /// Checks that llama.cpp can be given this file as a model. `vocab_only`: just for its tokenizer.
    ///
    /// # Errors
    /// When it is an adapter or another thing than a language model, or when llama.cpp would abort on it.
    pub fn check_loadable(&self, vocab_only: bool) -> Checked {
        self.check_kind(vocab_only)?;
        self.check_vocabulary()?;
        if vocab_only {
            return Ok(());
        }
        self.split()?;
        self.check_layers()?;
        self.check_experts()?;
        self.check_heads()?;
        self.check_rope_scaling()
    }

    fn check_kind(&self, vocab_only: bool) -> Checked {
        let not_a_model = |problem: String| self.error(Problem::NotAModel(problem));
        if let Some(kind) = self.text("general.type").filter(|kind| kind != "model") {
            return Err(not_a_model(match kind.as_str() {
                "adapter" => "this file is an adapter, which goes on top of a model".to_owned(),
                "mmproj" => "this file is a model's image or audio projector".to_owned(),
                _ => format!("general.type is '{kind}'"),
            }));
        }
        match self.metadata("general.architecture").map(Value::as_str) {
            None => return Err(self.error(Problem::MissingKey("general.architecture".to_owned()))),
            Some(Some("clip")) => {
                return Err(not_a_model(
                    "this file is a model's image or audio projector".to_owned(),
                ));
            }
            Some(Some(name)) if !name.is_empty() => {}
            Some(_) => return Err(not_a_model("general.architecture is not text".to_owned())),
        }
        if !vocab_only && self.tensors().is_empty() {
            return Err(not_a_model(
                "it has a vocabulary only, no weights".to_owned(),
            ));
        }
        Ok(())
    }

    fn check_layers(&self) -> Checked {
        let layers = self.require("block_count")?;
        if layers == 0 || layers > MAX_LAYERS {
            return Err(self.bad(
                "block_count",
                layers,
                format!("between 1 and {MAX_LAYERS} layers are possible"),
            ));
        }
        for suffix in ["embedding_length", "context_length"] {
            let length = self.require(suffix)?;
            // llama.cpp computes with them in 32 bits.
            if length == 0 || length > i32::MAX as u64 {
                return Err(self.bad(
                    suffix,
                    length,
                    "it must be above 0 and fit 31 bits".to_owned(),
                ));
            }
        }
        for suffix in [
            "nextn_predict_layers",
            "posnet.block_count",
            "convnext.block_count",
        ] {
            match self.number(suffix) {
                Some(count) if count > layers => {
                    return Err(self.bad(suffix, count, format!("the model has {layers} layers")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn check_experts(&self) -> Checked {
        let experts = self.number("expert_count").unwrap_or(0);
        if experts > MAX_EXPERTS {
            return Err(self.bad(
                "expert_count",
                experts,
                format!("at most {MAX_EXPERTS} experts are possible"),
            ));
        }
        // These may say that they have one expert; llama.cpp then treats them as dense.
        let architecture = self.text("general.architecture").unwrap_or_default();
        if experts <= 1 && matches!(architecture.as_str(), "hunyuan-dense" | "hunyuan_vl") {
            return Ok(());
        }
        let used = self
            .per_layer("expert_used_count")
            .into_iter()
            .max()
            .unwrap_or(0);
        if used > experts || (experts > 0 && used == 0) {
            return Err(self.bad(
                "expert_used_count",
                used,
                format!("the model has {experts} experts"),
            ));
        }
        let groups = self.number("expert_group_count").unwrap_or(0);
        if (experts > 0 && groups >= experts) || (experts == 0 && groups > 0) {
            return Err(self.bad(
                "expert_group_count",
                groups,
                format!("the model has {experts} experts"),
            ));
        }
        if groups > 1 {
            let used_groups = self.number("expert_group_used_count").unwrap_or(0);
            if !experts.is_multiple_of(groups) {
                return Err(self.bad(
                    "expert_group_count",
                    groups,
                    format!("it does not divide {experts} experts"),
                ));
            }
            if used_groups == 0 || used_groups >= groups {
                return Err(self.bad(
                    "expert_group_used_count",
                    used_groups,
                    format!("there are {groups} groups"),
                ));
            }
        }
        Ok(())
    }

    fn check_heads(&self) -> Checked {
        let attends = ["blk.0.attn_q.weight", "blk.0.attn_qkv.weight"]
            .iter()
            .any(|name| self.tensor(name).is_some());
        if !attends {
            return Ok(());
        }
        let heads = self.per_layer("attention.head_count");
        if heads.iter().all(|count| *count == 0) {
            return Err(self.bad(
                "attention.head_count",
                0,
                "the model has attention layers".to_owned(),
            ));
        }
        let shared = self.per_layer("attention.head_count_kv");
        let pairs = heads
            .iter()
            .cycle()
            .zip(&shared)
            .take(heads.len().max(shared.len()));
        for (heads, shared) in pairs {
            if *shared > 0 && !heads.is_multiple_of(*shared) {
                return Err(self.bad(
                    "attention.head_count_kv",
                    *shared,
                    format!("it does not divide {heads} heads"),
                ));
            }
        }
        Ok(())
    }

    fn check_rope_scaling(&self) -> Checked {
        let Some(kind) = self
            .architecture_key("rope.scaling.type")
            .and_then(Value::as_str)
        else {
            return Ok(());
        };
        if matches!(kind, "none" | "linear" | "yarn" | "longrope") {
            return Ok(());
        }
        Err(self.bad(
            "rope.scaling.type",
            kind,
            "no such kind of scaling is known".to_owned(),
        ))
    }

    fn check_vocabulary(&self) -> Checked {
        let Some(model) = self.text("tokenizer.ggml.model") else {
            return Err(self.error(Problem::MissingKey("tokenizer.ggml.model".to_owned())));
        };
        if matches!(model.as_str(), "no_vocab" | "none") {
            // llama.cpp loads these, and aborts on the first text to tokenize.
            return Err(self.error(Problem::NotAModel(
                "it has no vocabulary, so text means nothing to it".to_owned(),
            )));
        }
        let tokens = match self.metadata(TOKENS) {
            None => return Err(self.error(Problem::MissingKey(TOKENS.to_owned()))),
            Some(Value::Array(Array::String(tokens))) if !tokens.is_empty() => tokens,
            Some(other) => {
                return Err(self.wrong_type(
                    TOKENS,
                    other,
                    "an array of strings that is not empty",
                ));
            }
        };
        self.check_token_texts(tokens)?;
        self.check_token_table(
            "tokenizer.ggml.scores",
            tokens.len(),
            "an array of f32",
            |array| matches!(array, Array::F32(_) | Array::I32(_)),
        )?;
        self.check_token_table(
            "tokenizer.ggml.token_type",
            tokens.len(),
            "an array of i32",
            |array| matches!(array, Array::I32(_)),
        )?;
        self.check_special_tokens(tokens.len())
    }

    /// llama.cpp asserts that no two tokens are the same text. It takes them as C strings, so that a zero byte ends
    /// one, and gives empty ones a name of their own.
    fn check_token_texts(&self, tokens: &Strings) -> Checked {
        let mut seen = HashMap::with_capacity(tokens.len());
        for (id, token) in tokens.iter().enumerate() {
            let text = token.split(|byte| *byte == 0).next().unwrap_or_default();
            if text.is_empty() {
                continue;
            }
            if let Some(first) = seen.insert(text, id) {
                return Err(self.error(Problem::DuplicateToken { first, second: id }));
            }
        }
        let made_up = |id: &usize| {
            tokens
                .get(*id)
                .is_some_and(|token| token.first().is_none_or(|byte| *byte == 0))
        };
        for id in (0..tokens.len()).filter(made_up) {
            if let Some(first) = seen.get(format!("[EMPTY_{id}]").as_bytes()) {
                let (first, second) = (id.min(*first), id.max(*first));
                return Err(self.error(Problem::DuplicateToken { first, second }));
            }
        }
        Ok(())
    }

    fn check_token_table(
        &self,
        key: &str,
        tokens: usize,
        expected: &'static str,
        suits: fn(&Array) -> bool,
    ) -> Checked {
        match self.metadata(key) {
            None => Ok(()),
            Some(Value::Array(array)) if suits(array) => {
                if array.len() < tokens {
                    let problem = format!("the vocabulary has {tokens} tokens");
                    let value = format!("an array of {}", array.len());
                    return Err(self.error(Problem::BadValue {
                        key: key.to_owned(),
                        value,
                        problem,
                    }));
                }
                Ok(())
            }
            Some(other) => Err(self.wrong_type(key, other, expected)),
        }
    }

    fn check_special_tokens(&self, tokens: usize) -> Checked {
        // llama.cpp ignores ids outside the vocabulary for all but these two, which mark where a text begins and
        // ends: better to say that the file is broken than to generate without them.
        for key in ["tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"] {
            match self.metadata(key).map(Value::as_u64) {
                Some(Some(id)) if id >= tokens as u64 => {
                    let problem = format!("the vocabulary has {tokens} tokens");
                    return Err(self.error(Problem::BadValue {
                        key: key.to_owned(),
                        value: id.to_string(),
                        problem,
                    }));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn require(&self, suffix: &str) -> Result<u64, GgufError> {
        match self.architecture_key(suffix) {
            None => Err(self.error(Problem::MissingKey(self.full_key(suffix)))),
            Some(Value::U32(value)) => Ok((*value).into()),
            Some(other) => Err(self.wrong_type(&self.full_key(suffix), other, "u32")),
        }
    }

    /// A value that is the same for all layers, or one for each; empty where it is missing.
    fn per_layer(&self, suffix: &str) -> Vec<u64> {
        match self.architecture_key(suffix) {
            Some(Value::Array(array)) => array
                .as_u32s()
                .unwrap_or_default()
                .into_iter()
                .map(u64::from)
                .collect(),
            Some(value) => value.as_u64().into_iter().collect(),
            None => Vec::new(),
        }
    }

    fn full_key(&self, suffix: &str) -> String {
        format!(
            "{}.{suffix}",
            self.text("general.architecture").unwrap_or_default()
        )
    }

    fn bad(&self, suffix: &str, value: impl ToString, problem: String) -> GgufError {
        self.error(Problem::BadValue {
            key: self.full_key(suffix),
            value: value.to_string(),
            problem,
        })
    }

    fn wrong_type(&self, key: &str, value: &Value, expected: &'static str) -> GgufError {
        let (key, found) = (key.to_owned(), value.value_type());
        self.error(Problem::WrongValueType {
            key,
            found,
            expected,
        })
    }
}
