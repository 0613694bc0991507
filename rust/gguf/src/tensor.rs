//! One line of the tensor table: name, shape, type and place.

use crate::error::Problem;
use crate::tensor_type::TensorType;

/// A tensor as the file describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorInfo {
    /// Its name, unique in the file.
    pub name: String,
    /// How it is stored.
    pub tensor_type: TensorType,
    /// Where its data begins, in bytes from the start of the data section.
    pub offset: u64,
    /// Elements in all.
    pub elements: u64,
    /// Bytes in all, without padding.
    pub bytes: u64,
    dimensions: [u64; 4],
    rank: usize,
}

impl TensorInfo {
    /// Computes the sizes of a tensor, refusing what ggml's `int64_t` could not count.
    pub(crate) fn new(
        name: String,
        tensor_type: TensorType,
        shape: &[u64],
        offset: u64,
    ) -> Result<Self, Problem> {
        let bad = |problem| Problem::BadShape {
            tensor: name.clone(),
            shape: shape.to_vec(),
            problem,
        };
        let mut dimensions = [1_u64; 4];
        let Some(used) = dimensions.get_mut(..shape.len()) else {
            return Err(bad("more than four dimensions"));
        };
        used.copy_from_slice(shape);
        let elements = dimensions
            .iter()
            .try_fold(1_u64, |product, dimension| product.checked_mul(*dimension))
            .filter(|elements| i64::try_from(*elements).is_ok())
            // A zero elsewhere must not hide a dimension that is itself out of range.
            .filter(|_| {
                dimensions
                    .iter()
                    .all(|dimension| i64::try_from(*dimension).is_ok())
            })
            .ok_or_else(|| bad("too many elements"))?;
        if !dimensions[0].is_multiple_of(tensor_type.block_elements) {
            return Err(bad("rows do not divide into the type's blocks"));
        }
        let bytes = (elements / tensor_type.block_elements)
            .checked_mul(tensor_type.block_bytes)
            .ok_or_else(|| bad("too many bytes"))?;
        Ok(Self {
            name,
            tensor_type,
            offset,
            elements,
            bytes,
            dimensions,
            rank: shape.len(),
        })
    }

    /// The dimensions, the fastest (a row's length) first, as the file has them.
    #[must_use]
    pub fn shape(&self) -> &[u64] {
        &self.dimensions[..self.rank]
    }
}
