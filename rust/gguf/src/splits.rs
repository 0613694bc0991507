//! Models split over several files: `NAME-00001-of-00003.gguf` and so on.

use std::path::PathBuf;

use crate::error::{GgufError, Problem};
use crate::file::GgufFile;
use crate::limits::MAX_SPLITS;
use crate::summary::Split;
use crate::value::Value;

impl GgufFile {
    /// Which part of a split model this is; `None` for a model in one file.
    ///
    /// # Errors
    /// When the keys are of another type than `u16`: llama.cpp aborts on that.
    pub fn split(&self) -> Result<Option<Split>, GgufError> {
        let Some(count) = self.split_key("split.count")? else {
            return Ok(None);
        };
        if count <= 1 {
            return Ok(None);
        }
        if u64::from(count) > MAX_SPLITS {
            let what = "'split.count'".to_owned();
            return Err(self.error(Problem::TooLarge {
                what,
                value: count.into(),
                limit: MAX_SPLITS,
            }));
        }
        let index = self
            .split_key("split.no")?
            .ok_or_else(|| self.error(Problem::MissingKey("split.no".to_owned())))?;
        Ok(Some(Split { index, count }))
    }

    fn split_key(&self, key: &str) -> Result<Option<u16>, GgufError> {
        match self.metadata(key) {
            None => Ok(None),
            Some(Value::U16(value)) => Ok(Some(*value)),
            Some(other) => {
                let found = other.value_type();
                Err(self.error(Problem::WrongValueType {
                    key: key.to_owned(),
                    found,
                    expected: "u16",
                }))
            }
        }
    }

    /// Opens the other parts of a split model, of which this must be the first, and checks that they belong to it.
    ///
    /// # Errors
    /// When this is not the first part, or another is missing, unsound or of another place.
    pub fn open_other_splits(&self) -> Result<Vec<GgufFile>, GgufError> {
        let Some(split) = self.split()? else {
            return Ok(Vec::new());
        };
        let bad = |value: String, problem: String| Problem::BadValue {
            key: "split.no".to_owned(),
            value,
            problem,
        };
        if split.index != 0 {
            let problem = "a split model is loaded by its first part".to_owned();
            return Err(self.error(bad(split.index.to_string(), problem)));
        }
        (1..split.count)
            .map(|index| {
                let part = GgufFile::open(self.split_path(index, split.count)?)?;
                match part.split_key("split.no")? {
                    Some(found) if found == index => Ok(part),
                    found => {
                        let found =
                            found.map_or_else(|| "missing".to_owned(), |found| found.to_string());
                        Err(part.error(bad(found, format!("this should be part {index}"))))
                    }
                }
            })
            .collect()
    }

    fn split_path(&self, index: u16, count: u16) -> Result<PathBuf, GgufError> {
        let suffix = format!("-00001-of-{count:05}.gguf");
        let name = self
            .path()
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_suffix(&suffix));
        match name {
            Some(prefix) => Ok(self.path().with_file_name(format!(
                "{prefix}-{:05}-of-{count:05}.gguf",
                u32::from(index) + 1
            ))),
            None => {
                let problem = format!(
                    "the first part's name must end in '{suffix}' for the others to be found"
                );
                let (key, value) = ("split.count".to_owned(), count.to_string());
                Err(self.error(Problem::BadValue {
                    key,
                    value,
                    problem,
                }))
            }
        }
    }
}
