//! A `llama_context` and the model that it stands on: made, asked, freed. What may be asked of it is its owner's
//! business.

use crate::context::ContextError;
use crate::log;
use crate::mapped_file;
use crate::model::{Model, is_out_of_memory};
use crate::shim_error::ErrorText;
use crate::sys::{
    Api, ContextParams, LlamaAdapter, LlamaBatch, LlamaContext, LlamaMemory, ShimMemory,
};
use std::ffi::CStr;
use std::ptr::NonNull;
use std::sync::Arc;

/// What one kind of memory holds, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryUse {
    /// ggml's name of it, as `CPU`, `CPU_Mapped`, `CUDA0`.
    pub buffer_type: String,
    /// Whether it is this machine's main memory.
    pub is_host: bool,
    /// Weights.
    pub model: u64,
    /// KV cache.
    pub context: u64,
    /// Scratch space of a computation.
    pub compute: u64,
}

/// A context that its owner has to itself.
pub(crate) struct RawContext {
    // Fields are dropped after `Drop::drop` has freed the context, so the model outlives it.
    model: Arc<Model>,
    pointer: NonNull<LlamaContext>,
}

// SAFETY: llama.cpp contexts are not tied to the thread that made them; `&mut` keeps to one user at a time, and
// what owners call with `&self` only reads.
unsafe impl Send for RawContext {}

impl RawContext {
    /// Makes a context. The params must have been checked, and what they point to must outlive the context.
    pub(crate) fn new(model: &Arc<Model>, params: &ContextParams) -> Result<Self, ContextError> {
        let api = model.runtime().api();
        let mut error = ErrorText::new();
        let mut shim_error = error.as_shim();
        // SAFETY: the model lives (and this context keeps it alive); the rest is the caller's promise.
        let (pointer, logged) = log::collect_errors(|| unsafe {
            (api.tabagent_context_new)(model.raw(), std::ptr::from_ref(params), &raw mut shim_error)
        });
        let Some(pointer) = NonNull::new(pointer) else {
            let reason = error.reason(&logged, "it gave no reason");
            return Err(if is_out_of_memory(&reason) {
                ContextError::OutOfMemory { reason }
            } else {
                ContextError::Refused { reason }
            });
        };
        let context = Self {
            model: Arc::clone(model),
            pointer,
        };
        mapped_file::release_copied(model.path(), &context.memory_use());
        Ok(context)
    }

    pub(crate) fn model(&self) -> &Arc<Model> {
        &self.model
    }

    pub(crate) fn api(&self) -> &Api {
        self.model.runtime().api()
    }

    pub(crate) fn as_ptr(&self) -> *mut LlamaContext {
        self.pointer.as_ptr()
    }

    /// The KV cache; null for models that keep none.
    pub(crate) fn memory(&self) -> *mut LlamaMemory {
        // SAFETY: the context lives.
        unsafe { (self.api().llama_get_memory)(self.as_ptr()) }
    }

    pub(crate) fn has_memory(&self) -> bool {
        !self.memory().is_null()
    }

    /// Computes with these adapters of the model, and their scales, from now on.
    pub(crate) fn set_adapters(&mut self, adapters: &[(NonNull<LlamaAdapter>, f32)]) {
        let (mut pointers, mut scales): (Vec<_>, Vec<_>) = adapters
            .iter()
            .map(|&(adapter, scale)| (adapter.as_ptr(), scale))
            .unzip();
        // SAFETY: the context lives and is ours alone; the adapters live as long as the model. It copies what it is
        // given.
        unsafe {
            (self.api().llama_set_adapters_lora)(
                self.as_ptr(),
                pointers.as_mut_ptr(),
                pointers.len(),
                scales.as_mut_ptr(),
            );
        }
    }

    /// One call of `llama_decode`, which is over when this returns: its answer, and what it said about it. The batch
    /// must have been checked against everything that llama.cpp asserts.
    pub(crate) fn decode(&mut self, batch: &LlamaBatch) -> (i32, String) {
        let api = self.model.runtime().api();
        let mut error = ErrorText::new();
        let mut shim_error = error.as_shim();
        // SAFETY: the context lives and is ours alone; the batch was checked, and it and the error's buffer live until
        // the call returns, before which llama.cpp is waited for.
        let (code, logged) = log::collect_errors(|| unsafe {
            let code = (api.tabagent_decode)(
                self.pointer.as_ptr(),
                std::ptr::from_ref(batch),
                &raw mut shim_error,
            );
            (api.llama_synchronize)(self.pointer.as_ptr());
            code
        });
        (code, error.reason(&logged, "it gave no reason"))
    }

    /// What the model and this context hold now.
    pub(crate) fn memory_use(&self) -> Vec<MemoryUse> {
        let empty = ShimMemory {
            buffer_type: [0; 32],
            is_host: 0,
            model: 0,
            context: 0,
            compute: 0,
        };
        let mut entries = vec![empty; 32];
        let mut error = ErrorText::new();
        let mut shim_error = error.as_shim();
        // SAFETY: the context lives; at most as many entries are written as there is room for.
        let count = unsafe {
            (self.api().tabagent_memory_breakdown)(
                self.pointer.as_ptr(),
                entries.as_mut_ptr(),
                entries.len(),
                &raw mut shim_error,
            )
        };
        entries.truncate(count);
        entries.iter().map(MemoryUse::from_shim).collect()
    }
}

impl Drop for RawContext {
    fn drop(&mut self) {
        // SAFETY: nobody else has the pointer; the model is dropped after this.
        unsafe { (self.api().llama_free)(self.pointer.as_ptr()) }
    }
}

impl MemoryUse {
    /// The rows of logits that a context keeps, which llama.cpp's own account leaves out.
    pub(crate) fn of_outputs(model: &Model, rows: usize) -> Self {
        Self {
            buffer_type: "outputs".to_owned(),
            is_host: true,
            model: 0,
            context: 0,
            compute: rows as u64 * model.info().n_vocab as u64 * 4,
        }
    }

    fn from_shim(entry: &ShimMemory) -> Self {
        // SAFETY: the shim zeroes the name and leaves at least its last byte so.
        let name = unsafe { CStr::from_ptr(entry.buffer_type.as_ptr()) };
        Self {
            buffer_type: name.to_string_lossy().into_owned(),
            is_host: entry.is_host != 0,
            model: entry.model,
            context: entry.context,
            compute: entry.compute,
        }
    }
}
