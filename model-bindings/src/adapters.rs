//! Adapters of a loaded model: their names, how strongly each applies, and the sets that requests choose of them.

use std::path::PathBuf;

use pyo3::prelude::*;
use tabagent_engine::{AdapterId, AdapterSet};
use tabagent_llama::MemoryUse;

use crate::errors::{IntoPyErr, invalid};

/// A LoRA adapter that is to be loaded with a model. Its scale multiplies what a request asks for.
pub struct AdapterFile {
    pub name: String,
    pub path: PathBuf,
    pub scale: f32,
}

/// `(name, path, scale)` for each, from Python.
pub fn files(given: Option<Vec<(String, PathBuf, f32)>>) -> Vec<AdapterFile> {
    let given = given.into_iter().flatten();
    given
        .map(|(name, path, scale)| AdapterFile { name, path, scale })
        .collect()
}

/// What an adapter will take: its file holds little beside its matrices.
pub fn memory_use(adapter: &AdapterFile) -> MemoryUse {
    MemoryUse {
        buffer_type: "adapters".to_owned(),
        is_host: true,
        model: std::fs::metadata(&adapter.path).map_or(0, |file| file.len()),
        context: 0,
        compute: 0,
    }
}

/// Names and scales; an adapter's number is its place.
#[derive(Default)]
pub struct Adapters(Vec<(String, f32)>);

impl Adapters {
    /// Adapters in the order of their numbers.
    pub fn new(named: impl IntoIterator<Item = (String, f32)>) -> PyResult<Self> {
        let named: Vec<(String, f32)> = named.into_iter().collect();
        for (index, (name, scale)) in named.iter().enumerate() {
            if named[..index].iter().any(|(other, _)| other == name) {
                return Err(invalid("adapters", format!("name {name:?} twice")));
            }
            if !scale.is_finite() {
                let problem = format!("give {name:?} a scale that is not a finite number");
                return Err(invalid("adapters", problem));
            }
        }
        Ok(Self(named))
    }

    /// The set of those that a request names, with the scales that it asks for.
    pub fn choose(&self, chosen: &[(String, f32)]) -> PyResult<AdapterSet> {
        let known = |(name, scale): &(String, f32)| {
            let index = self.0.iter().position(|(other, _)| other == name);
            let index = index.ok_or_else(|| self.unknown(name))?;
            Ok((index as AdapterId, scale * self.0[index].1))
        };
        let set = chosen.iter().map(known).collect::<PyResult<Vec<_>>>()?;
        AdapterSet::new(set).map_err(IntoPyErr::into_py_err)
    }

    /// Names and scales of a set, as [`Self::choose`] made it.
    pub fn named(&self, set: &AdapterSet) -> Vec<(&str, f32)> {
        let name = |&(id, scale): &(AdapterId, f32)| {
            let (name, _) = self.0.get(id as usize)?;
            Some((name.as_str(), scale))
        };
        set.as_slice().iter().filter_map(name).collect()
    }

    fn unknown(&self, name: &str) -> PyErr {
        let names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        let known = match names.is_empty() {
            true => "none".to_owned(),
            false => names.join(", "),
        };
        invalid("adapters", format!("name {name:?}; loaded are {known}"))
    }
}
