//! Whether a LoRA adapter fits a model: all that llama.cpp would abort the process on, or refuse.
//!
//! The conditions are those of `llama_adapter_lora_init_impl` in llama-adapter.cpp, and of the graphs that the pairs
//! become a part of (`build_lora_mm` and `build_inp_embd` in llama-graph.cpp), which llama.cpp checks by assertions.

use std::collections::BTreeMap;

use crate::error::{GgufError, Problem};
use crate::file::GgufFile;
use crate::tensor::TensorInfo;
use crate::value::ValueType;

type Checked = Result<(), GgufError>;

/// What the factors of an update may be stored as: what `convert_lora_to_gguf.py` writes.
const STORED_AS: [&str; 4] = ["F32", "F16", "BF16", "Q8_0"];
/// A model without it turns the table of its tokens around for its output.
const OUTPUT: &str = "output.weight";
/// The one tensor whose rows are looked up, so that its factors lie the other way round.
const TOKENS: &str = "token_embd.weight";
/// llama.cpp asserts that nothing is added to what is stored so and has a scale of its own.
const WITHOUT_UPDATES: &str = "NVFP4";

/// The two factors of one tensor's update.
#[derive(Default)]
struct Pair<'a> {
    a: Option<&'a TensorInfo>,
    b: Option<&'a TensorInfo>,
}

impl GgufFile {
    /// Checks that this is a LoRA adapter which fits a model in these files.
    ///
    /// # Errors
    /// When it is none, is meant for another model, or is of a kind that llama.cpp cannot apply.
    pub fn check_lora(&self, model: &[&GgufFile]) -> Checked {
        self.require_text("general.type", "adapter")?;
        self.require_text("adapter.type", "lora")?;
        let architecture = model
            .iter()
            .find_map(|file| file.text("general.architecture"))
            .unwrap_or_default();
        self.require_text("general.architecture", &architecture)?;
        self.check_alpha()?;
        if self.metadata("adapter.alora.invocation_tokens").is_some() {
            let key = "adapter.alora.invocation_tokens".to_owned();
            let problem = "an adapter that begins to work in the middle of a text is not supported";
            return Err(self.error(Problem::BadValue {
                key,
                value: "given".to_owned(),
                problem: problem.to_owned(),
            }));
        }
        let tensors: BTreeMap<&str, &TensorInfo> = model
            .iter()
            .flat_map(|file| file.tensors())
            .map(|tensor| (tensor.name.as_str(), tensor))
            .collect();
        let pairs = self.pairs()?;
        if pairs.is_empty() {
            return Err(self.error(Problem::NotAnAdapter("it holds no updates".to_owned())));
        }
        pairs
            .into_iter()
            .try_for_each(|(name, pair)| self.check_pair(name, &pair, &tensors))
    }

    fn require_text(&self, key: &str, wanted: &str) -> Checked {
        let key = key.to_owned();
        let Some(value) = self.metadata(&key) else {
            return Err(self.error(Problem::MissingKey(key)));
        };
        match value.as_str() {
            Some(found) if found == wanted => Ok(()),
            Some(found) => Err(self.error(Problem::BadValue {
                key,
                value: format!("'{found}'"),
                problem: format!("it must be '{wanted}'"),
            })),
            None => Err(self.error(Problem::WrongValueType {
                key,
                found: value.value_type(),
                expected: "text",
            })),
        }
    }

    /// alpha divided by the rank scales the update; without it, or with 0, nothing does.
    fn check_alpha(&self) -> Checked {
        let key = "adapter.lora.alpha";
        match self.metadata(key) {
            None => Ok(()),
            Some(value) if value.value_type() != ValueType::F32 => {
                Err(self.error(Problem::WrongValueType {
                    key: key.to_owned(),
                    found: value.value_type(),
                    expected: "f32",
                }))
            }
            Some(value) if value.as_f64().is_some_and(f64::is_finite) => Ok(()),
            Some(_) => Err(self.error(Problem::BadValue {
                key: key.to_owned(),
                value: "no finite number".to_owned(),
                problem: "it must be one".to_owned(),
            })),
        }
    }

    /// By the name of the model's tensor. Updates of norms are left out, as llama.cpp does.
    fn pairs(&self) -> Result<BTreeMap<&str, Pair<'_>>, GgufError> {
        let mut pairs: BTreeMap<&str, Pair<'_>> = BTreeMap::new();
        for tensor in self.tensors() {
            if let Some(name) = tensor.name.strip_suffix(".lora_a") {
                pairs.entry(name).or_default().a = Some(tensor);
            } else if let Some(name) = tensor.name.strip_suffix(".lora_b") {
                pairs.entry(name).or_default().b = Some(tensor);
            } else if !tensor.name.ends_with("_norm.weight") {
                return Err(self.misfit(tensor, "is no part of an update (.lora_a or .lora_b)"));
            }
        }
        Ok(pairs)
    }

    fn check_pair(
        &self,
        name: &str,
        pair: &Pair<'_>,
        model: &BTreeMap<&str, &TensorInfo>,
    ) -> Checked {
        let (a, b) = match (pair.a, pair.b) {
            (Some(a), Some(b)) => (a, b),
            (Some(alone), None) | (None, Some(alone)) => {
                return Err(self.misfit(alone, "has no counterpart"));
            }
            (None, None) => return Ok(()),
        };
        let Some(base) = model.get(name) else {
            return Err(self.misfit(a, "is for a tensor that this model does not have"));
        };
        for part in [a, b] {
            if !STORED_AS.contains(&part.tensor_type.name) {
                let problem = format!("is stored as {}", part.tensor_type.name);
                return Err(self.misfit(part, problem));
            }
        }
        if base.tensor_type.name == WITHOUT_UPDATES {
            return Err(self.misfit(a, "is for a tensor stored as NVFP4, which takes no updates"));
        }
        if name == TOKENS && !model.contains_key(OUTPUT) {
            let problem = "is for a table of tokens that is the model's output as well";
            return Err(self.misfit(a, problem));
        }
        self.check_shapes(base, a, b)
    }

    /// A is input × rank and B rank × output; of the table of tokens A is rank × tokens and B rank × width.
    fn check_shapes(&self, base: &TensorInfo, a: &TensorInfo, b: &TensorInfo) -> Checked {
        let [width, height, ..] = dimensions(base);
        let rank = dimensions(b)[0];
        let (wanted_a, wanted_b) = if base.name.ends_with(TOKENS) {
            ([rank, height], [rank, width])
        } else {
            ([width, rank], [rank, height])
        };
        let experts = &dimensions(base)[2..];
        for (part, wanted) in [(a, wanted_a), (b, wanted_b)] {
            let found = dimensions(part);
            if rank == 0 || found[..2] != wanted || found[2..] != *experts {
                let problem = format!(
                    "has the shape {:?}, which does not fit {:?} of {}",
                    part.shape(),
                    base.shape(),
                    base.name
                );
                return Err(self.misfit(part, problem));
            }
        }
        Ok(())
    }

    fn misfit(&self, tensor: &TensorInfo, problem: impl Into<String>) -> GgufError {
        self.error(Problem::Misfit {
            tensor: tensor.name.clone(),
            problem: problem.into(),
        })
    }
}

/// All four dimensions; those that a tensor has not are 1.
fn dimensions(tensor: &TensorInfo) -> [u64; 4] {
    let mut dimensions = [1; 4];
    dimensions[..tensor.shape().len()].copy_from_slice(tensor.shape());
    dimensions
}
