//! Which adapters a request is computed with.

use std::sync::Arc;

use crate::request::SubmitError;

/// An adapter (LoRA) that a backend has loaded, by its number there.
pub type AdapterId = u32;

/// Adapters and how strongly each applies. Clones share it; sets that compute the same are equal.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AdapterSet(Arc<[(AdapterId, f32)]>);

// Its scales are finite.
impl Eq for AdapterSet {}

impl AdapterSet {
    /// A set of these adapters with their scales. Those of scale 0 change nothing, and are left out.
    ///
    /// # Errors
    /// When a scale is not finite, or an adapter occurs twice.
    pub fn new(adapters: impl IntoIterator<Item = (AdapterId, f32)>) -> Result<Self, SubmitError> {
        let mut adapters: Vec<(AdapterId, f32)> = adapters.into_iter().collect();
        adapters.sort_by_key(|&(id, _)| id);
        let invalid = |problem: &str| SubmitError::InvalidParameter {
            name: "adapters",
            problem: problem.to_owned(),
        };
        if adapters.iter().any(|(_, scale)| !scale.is_finite()) {
            return Err(invalid("have a scale that is not a finite number"));
        }
        if adapters.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(invalid("name one adapter twice"));
        }
        adapters.retain(|&(_, scale)| scale != 0.0);
        Ok(Self(adapters.into()))
    }

    /// The adapters in the order of their numbers, with their scales.
    #[must_use]
    pub fn as_slice(&self) -> &[(AdapterId, f32)] {
        &self.0
    }

    /// Whether this is the model as it is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(adapters: &[(AdapterId, f32)]) -> AdapterSet {
        AdapterSet::new(adapters.iter().copied()).unwrap()
    }

    #[test]
    fn what_computes_the_same_is_equal() {
        assert_eq!(set(&[(2, 1.0), (1, 0.5)]), set(&[(1, 0.5), (2, 1.0)]));
        assert_eq!(set(&[(2, 0.0), (1, -0.0)]), AdapterSet::default());
        assert_ne!(set(&[(1, 0.5)]), set(&[(1, 0.25)]));
        assert_ne!(set(&[(1, 0.5)]), set(&[(2, 0.5)]));
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        for bad in [f32::NAN, f32::INFINITY] {
            assert!(AdapterSet::new([(0, bad)]).is_err());
        }
        assert!(AdapterSet::new([(3, 1.0), (0, 1.0), (3, 0.0)]).is_err());
    }
}
