//! Writes a model file anew with smaller weights.

use crate::log;
use crate::runtime::{Runtime, path_to_c};
use crate::sys::QuantizeParams;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Name and `enum llama_ftype` of what a file can be quantized to, as llama.cpp names them. Those that need an
/// importance matrix are left out.
const TYPES: [(&str, i32); 18] = [
    ("F32", 0),
    ("F16", 1),
    ("Q4_0", 2),
    ("Q4_1", 3),
    ("Q8_0", 7),
    ("Q5_0", 8),
    ("Q5_1", 9),
    ("Q2_K", 10),
    ("Q3_K_S", 11),
    ("Q3_K_M", 12),
    ("Q3_K_L", 13),
    ("Q4_K_S", 14),
    ("Q4_K_M", 15),
    ("Q5_K_S", 16),
    ("Q5_K_M", 17),
    ("Q6_K", 18),
    ("IQ4_NL", 25),
    ("BF16", 32),
];

/// Why a file was not quantized.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// There is no type of that name, or it needs more than the file.
    #[error(
        "{name:?} is no quantization that can be made here; possible are {}",
        names()
    )]
    UnknownType {
        /// What was asked for.
        name: String,
    },
    /// A path that C cannot take.
    #[error("{path}: the path holds a zero byte")]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// llama.cpp's defaults are not those of the pinned release.
    #[error("the library's defaults for quantizing are not those of the pinned release")]
    Defaults,
    /// llama.cpp could not do it; the reason is its own.
    #[error("{path}: cannot be quantized: {reason}")]
    Refused {
        /// The file to read.
        path: PathBuf,
        /// What llama.cpp logged.
        reason: String,
    },
}

fn names() -> String {
    TYPES.map(|(name, _)| name).join(", ")
}

/// Reads the model at `input` and writes it to `output` as `kind`, on `threads` threads (all where 0). `input` must
/// have been validated: llama.cpp ends the process on some wrong files. Weights that are quantized already are
/// refused, since what they lost is lost.
///
/// # Errors
/// [`QuantizeError`]. `output` may then exist in part.
pub fn quantize(
    runtime: &Arc<Runtime>,
    input: &Path,
    output: &Path,
    kind: &str,
    threads: u16,
) -> Result<(), QuantizeError> {
    let unknown = || QuantizeError::UnknownType {
        name: kind.to_owned(),
    };
    let (_, file_type) = TYPES
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(kind))
        .ok_or_else(unknown)?;
    let c_path = |path: &Path| {
        path_to_c(path).ok_or_else(|| QuantizeError::Path {
            path: path.to_owned(),
        })
    };
    let (from, to) = (c_path(input)?, c_path(output)?);
    let api = runtime.api();
    // SAFETY: takes nothing; the struct is checked below before it is given back.
    let mut params = unsafe { (api.llama_model_quantize_default_params)() };
    if !are_the_defaults(&params) {
        return Err(QuantizeError::Defaults);
    }
    params.nthread = i32::from(threads);
    params.ftype = *file_type;
    // SAFETY: two strings ended by a zero and a struct of the pinned layout; it catches what it throws.
    let (failed, errors) = log::collect_errors(|| unsafe {
        (api.llama_model_quantize)(from.as_ptr(), to.as_ptr(), &raw const params)
    });
    if failed == 0 {
        return Ok(());
    }
    let reason = if errors.is_empty() {
        "llama.cpp gave no reason".to_owned()
    } else {
        errors.join("; ")
    };
    Err(QuantizeError::Refused {
        path: input.to_owned(),
        reason,
    })
}

/// The defaults of the pinned release (`llama_model_quantize_default_params` in `llama-quant.cpp`): a struct with
/// fields moved about would not come back with all of them.
fn are_the_defaults(params: &QuantizeParams) -> bool {
    const TYPE_COUNT: i32 = 43;
    const Q8_0: i32 = 7;
    let pointers = [
        params.imatrix,
        params.kv_overrides,
        params.tt_overrides,
        params.prune_layers,
    ];
    params.nthread == 0
        && params.ftype == Q8_0
        && params.output_tensor_type == TYPE_COUNT
        && params.token_embedding_type == TYPE_COUNT
        && params.quantize_output_tensor
        && !params.allow_requantize
        && !params.only_copy
        && !params.pure
        && !params.keep_split
        && !params.dry_run
        && pointers.iter().all(|pointer| pointer.is_null())
        && params.max_buf_size == 8 << 30
}
