//! A model's weights and vocabulary, owned: loaded with progress, freed when the last user lets go.

use crate::log;
use crate::runtime::{Runtime, path_to_c};
use crate::shim_error::ErrorText;
use crate::sys::{
    LOAD_MODE_AUTO, LOAD_MODE_MLOCK, LOAD_MODE_MMAP_MLOCK, LOAD_MODE_NONE, LlamaAdapter, LlamaModel,
};
use crate::vocab::{RawVocab, SpecialToken, TokenizeError, Vocab};
use std::ffi::{CStr, CString, c_char, c_void};
use std::fs::{self, File};
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;
use tabagent_engine::{AdapterId, ModelInfo, Token};

/// How a model is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelOptions {
    /// Layers to put on a GPU; negative means all.
    pub gpu_layers: i32,
    /// Where no GPU can be used, compute on the processor rather than refuse `gpu_layers`.
    pub gpu_optional: bool,
    /// Keep the weights from being swapped out. Not being allowed to is a warning in the log, no error.
    pub mlock: bool,
    /// Map the file into memory instead of reading it.
    pub mmap: bool,
    /// Read the vocabulary only: enough to tokenize, not to compute.
    pub vocab_only: bool,
    /// Look for values that are no numbers in every tensor; slow.
    pub check_tensors: bool,
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self {
            gpu_layers: 0,
            gpu_optional: false,
            mlock: false,
            mmap: true,
            vocab_only: false,
            check_tensors: false,
        }
    }
}

/// Why a model is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no such file.
    #[error("{path}: there is no such model file")]
    NotFound { path: PathBuf },
    /// Layers are to be on a GPU, and none can be used.
    #[error("{problem}")]
    NoGpu { problem: String },
    /// The path leads to a folder, a device or the like.
    #[error("{path}: a model is a file, and this is not")]
    NotAFile { path: PathBuf },
    /// The file cannot be read.
    #[error("{path}: the model file cannot be read: {reason}")]
    Unreadable { path: PathBuf, reason: io::Error },
    /// The path cannot be given to C.
    #[error("{path:?}: a path with a zero byte in it leads nowhere")]
    BadPath { path: PathBuf },
    /// The file does not begin as a GGUF does.
    #[error("{path}: not a GGUF file: it begins with {begins:02x?}")]
    NotGguf { path: PathBuf, begins: Vec<u8> },
    /// The progress function asked to stop.
    #[error("{path}: loading was cancelled")]
    Cancelled { path: PathBuf },
    /// There was not enough memory.
    #[error("{path}: not enough memory to load the model: {reason}")]
    OutOfMemory { path: PathBuf, reason: String },
    /// llama.cpp refused the file.
    #[error("{path}: llama.cpp cannot load this model: {reason}")]
    Refused { path: PathBuf, reason: String },
}

/// A loaded model. It can be shared between threads; each computes in a [`crate::Context`] of its own.
pub struct Model {
    runtime: Arc<Runtime>,
    pointer: NonNull<LlamaModel>,
    vocab: Vocab,
    info: ModelInfo,
    cuttable: bool,
    window: u32,
    path: PathBuf,
    options: ModelOptions,
    /// By number; freed with the model.
    adapters: Vec<NonNull<LlamaAdapter>>,
}

// SAFETY: a loaded llama_model is only read; llama.cpp states that tokenizing is thread-safe, and contexts keep
// their state apart.
unsafe impl Send for Model {}
// SAFETY: as above.
unsafe impl Sync for Model {}

impl Model {
    /// Loads a GGUF file. `progress` is called on this thread with a fraction from 0 to 1; answering false stops
    /// the load.
    ///
    /// The file should have passed `tabagent-gguf` before: llama.cpp ends the process on some broken ones.
    ///
    /// # Errors
    /// A [`LoadError`] for each reason.
    pub fn load(
        runtime: &Arc<Runtime>,
        path: &Path,
        options: &ModelOptions,
        progress: impl FnMut(f32) -> bool,
    ) -> Result<Arc<Self>, LoadError> {
        check_file(path)?;
        Self::load_checked(runtime, path, options, false, progress).map(Arc::new)
    }

    /// As [`Self::load`], without weights: for predictions of memory.
    pub(crate) fn load_shapes(
        runtime: &Arc<Runtime>,
        path: &Path,
        options: &ModelOptions,
    ) -> Result<Arc<Self>, LoadError> {
        check_file(path)?;
        Self::load_checked(runtime, path, options, true, |_| true).map(Arc::new)
    }

    fn load_checked(
        runtime: &Arc<Runtime>,
        path: &Path,
        options: &ModelOptions,
        shapes_only: bool,
        progress: impl FnMut(f32) -> bool,
    ) -> Result<Self, LoadError> {
        if options.gpu_layers != 0
            && !options.gpu_optional
            && let Some(problem) = runtime.gpu_problem()
        {
            return Err(LoadError::NoGpu { problem });
        }
        let api = runtime.api();
        let c_path = path_to_c(path).ok_or_else(|| LoadError::BadPath {
            path: path.to_owned(),
        })?;
        let mut watch = ProgressWatch {
            callback: progress,
            cancelled: false,
        };
        // SAFETY: takes nothing; the layout was proved when the runtime was opened.
        let mut params = unsafe { (api.llama_model_default_params)() };
        params.n_gpu_layers = options.gpu_layers;
        params.load_mode = load_mode(options, shapes_only);
        params.vocab_only = options.vocab_only;
        params.check_tensors = options.check_tensors;
        params.no_alloc = shapes_only;
        set_progress(&mut params, &mut watch);
        let mut error = ErrorText::new();
        let mut shim_error = error.as_shim();
        // SAFETY: the path is a valid string; `params` and what it points to live until the call returns.
        let (pointer, logged) = log::collect_errors(|| unsafe {
            (api.tabagent_model_load)(c_path.as_ptr(), &raw const params, &raw mut shim_error)
        });
        let cancelled = watch.cancelled;
        let Some(pointer) = NonNull::new(pointer) else {
            return Err(refusal(path, cancelled, &error, &logged));
        };
        let model = Self::own(runtime, pointer, path, options);
        // A stop asked for at the very end comes too late for llama.cpp, not for the caller.
        if cancelled {
            Err(LoadError::Cancelled {
                path: path.to_owned(),
            })
        } else {
            Ok(model)
        }
    }

    /// Takes a just loaded model over and reads what never changes.
    fn own(
        runtime: &Arc<Runtime>,
        pointer: NonNull<LlamaModel>,
        path: &Path,
        options: &ModelOptions,
    ) -> Self {
        let api = runtime.api();
        let raw = pointer.as_ptr();
        // SAFETY: the model was just loaded and these only read it.
        let (vocab, n_ctx_train, n_embd, window, cuttable) = unsafe {
            let vocab = Vocab::read(RawVocab {
                api,
                pointer: (api.llama_model_get_vocab)(raw),
            });
            let n_ctx_train = u32::try_from((api.llama_model_n_ctx_train)(raw)).unwrap_or(0);
            let n_embd = usize::try_from((api.llama_model_n_embd)(raw)).unwrap_or(0);
            let window = u32::try_from((api.llama_model_n_swa)(raw)).unwrap_or(0);
            let cuttable =
                !(api.llama_model_is_recurrent)(raw) && !(api.llama_model_is_hybrid)(raw);
            (vocab, n_ctx_train, n_embd, window, cuttable)
        };
        let info = ModelInfo {
            n_vocab: vocab.n_tokens,
            n_ctx_train,
            n_embd,
            bos: vocab.bos,
            eos: vocab.eos,
            eog: vocab.eog.clone(),
            prefix_reuse: cuttable && window == 0,
            can_shift: false,
        };
        Self {
            runtime: Arc::clone(runtime),
            pointer,
            vocab,
            info,
            cuttable,
            window,
            path: path.to_owned(),
            options: options.clone(),
            adapters: Vec::new(),
        }
    }

    /// Loads a LoRA adapter on top of the model and answers its number; they are counted from 0. This needs the model
    /// for itself, because llama.cpp makes room in each context for the adapters that there are then.
    ///
    /// The file must have passed `tabagent-gguf` together with the model's: llama.cpp ends the process on one that
    /// does not fit.
    ///
    /// # Errors
    /// A [`LoadError`] for each reason.
    pub fn load_adapter(&mut self, path: &Path) -> Result<AdapterId, LoadError> {
        check_file(path)?;
        let api = self.runtime.api();
        let c_path = path_to_c(path).ok_or_else(|| LoadError::BadPath {
            path: path.to_owned(),
        })?;
        // SAFETY: the path is a valid string; nobody else uses the model meanwhile. It catches what it throws.
        let (pointer, logged) = log::collect_errors(|| unsafe {
            (api.llama_adapter_lora_init)(self.raw(), c_path.as_ptr())
        });
        let Some(pointer) = NonNull::new(pointer) else {
            return Err(refusal(path, false, &ErrorText::new(), &logged));
        };
        self.adapters.push(pointer);
        Ok(self.adapters.len() as AdapterId - 1)
    }

    /// An adapter by its number.
    pub(crate) fn adapter(&self, id: AdapterId) -> Option<NonNull<LlamaAdapter>> {
        self.adapters.get(usize::try_from(id).ok()?).copied()
    }

    /// Facts of the model. Its `prefix_reuse` is the careful answer and its `can_shift` false: what a context can
    /// do beyond that is in the context's own facts.
    #[must_use]
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// Facts of the vocabulary.
    #[must_use]
    pub fn vocab(&self) -> &Vocab {
        &self.vocab
    }

    /// The file that the model was loaded from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How it was loaded.
    #[must_use]
    pub fn options(&self) -> &ModelOptions {
        &self.options
    }

    /// The runtime that it was loaded by.
    #[must_use]
    pub fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    /// llama.cpp's own words for the model, as "llama 135M Q8_0".
    #[must_use]
    pub fn description(&self) -> String {
        let api = self.runtime.api();
        // SAFETY: writes at most `room` bytes into the buffer, the last of them zero.
        self.read_string(|out, room| unsafe { (api.llama_model_desc)(self.raw(), out, room) })
            .unwrap_or_default()
    }

    /// Number of parameters.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        // SAFETY: only reads the model.
        unsafe { (self.runtime.api().llama_model_n_params)(self.raw()) }
    }

    /// Bytes of all tensors.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        // SAFETY: only reads the model.
        unsafe { (self.runtime.api().llama_model_size)(self.raw()) }
    }

    /// The chat template inside the model (Jinja), the default one or the one of that name.
    #[must_use]
    pub fn chat_template(&self, name: Option<&str>) -> Option<String> {
        let name = match name {
            Some(name) => Some(CString::new(name).ok()?),
            None => None,
        };
        let name = name.as_ref().map_or(std::ptr::null(), |name| name.as_ptr());
        // SAFETY: the name is null or a valid string; the answer is null or a string that the model owns.
        unsafe {
            let template = (self.runtime.api().llama_model_chat_template)(self.raw(), name);
            (!template.is_null()).then(|| CStr::from_ptr(template).to_string_lossy().into_owned())
        }
    }

    /// A value of the model's metadata as text; `None` where there is none or it is an array.
    #[must_use]
    pub fn metadata_value(&self, key: &str) -> Option<String> {
        let key = CString::new(key).ok()?;
        let api = self.runtime.api();
        // SAFETY: the key is a valid string; writes at most `room` bytes into the buffer.
        self.read_string(|out, room| unsafe {
            (api.llama_model_meta_val_str)(self.raw(), key.as_ptr(), out, room)
        })
    }

    /// All keys of the metadata with their values as text, arrays left out, in the file's order.
    #[must_use]
    pub fn metadata(&self) -> Vec<(String, String)> {
        let api = self.runtime.api();
        // SAFETY: only reads the model.
        let count = unsafe { (api.llama_model_meta_count)(self.raw()) };
        let entry = |index| {
            // SAFETY: the index is below the count; writes at most `room` bytes into the buffer.
            let key = self.read_string(|out, room| unsafe {
                (api.llama_model_meta_key_by_index)(self.raw(), index, out, room)
            })?;
            // SAFETY: as above.
            let value = self.read_string(|out, room| unsafe {
                (api.llama_model_meta_val_str_by_index)(self.raw(), index, out, room)
            })?;
            Some((key, value))
        };
        (0..count).filter_map(entry).collect()
    }

    /// Turns text into tokens with the model's own tokenizer. `add_special` adds what the model wants around a
    /// text (as a beginning-of-text token); `parse_special` reads control tokens written out in the text.
    ///
    /// # Errors
    /// A [`TokenizeError`].
    pub fn tokenize(
        &self,
        text: &str,
        add_special: bool,
        parse_special: bool,
    ) -> Result<Vec<Token>, TokenizeError> {
        self.vocab
            .tokenize(self.raw_vocab(), text, add_special, parse_special)
    }

    /// The bytes that tokens stand for: exactly those of the text that they were made from, where the tokenizer
    /// keeps them (BERT's WordPiece does not). Control tokens render as nothing.
    ///
    /// # Errors
    /// When a token is not in the vocabulary.
    pub fn detokenize(&self, tokens: &[Token]) -> Result<Vec<u8>, TokenizeError> {
        self.vocab.detokenize(self.raw_vocab(), tokens, false)
    }

    /// As [`Self::detokenize`], with control tokens written out.
    ///
    /// # Errors
    /// When a token is not in the vocabulary.
    pub fn detokenize_special(&self, tokens: &[Token]) -> Result<Vec<u8>, TokenizeError> {
        self.vocab.detokenize(self.raw_vocab(), tokens, true)
    }

    /// Every token that the tokenizer cuts out of texts, by what is written there.
    #[must_use]
    pub fn special_tokens(&self) -> Vec<SpecialToken> {
        self.vocab.special_tokens(self.raw_vocab())
    }

    /// Appends the bytes of one token. Control tokens and tokens outside the vocabulary append nothing.
    pub fn token_bytes(&self, token: Token, out: &mut Vec<u8>) {
        self.vocab.piece(self.raw_vocab(), token, false, out);
    }

    /// As [`Self::token_bytes`], with control tokens written out.
    pub fn token_bytes_special(&self, token: Token, out: &mut Vec<u8>) {
        self.vocab.piece(self.raw_vocab(), token, true, out);
    }

    /// The tokens of a query together with a document, as a model that scores such pairs was trained on: by the
    /// model's own template for it, else both as texts of their own, with the separator between them that the
    /// vocabulary asks for. A document that writes out control tokens can spoil its own score only.
    ///
    /// # Errors
    /// A [`TokenizeError`].
    pub fn tokenize_pair(&self, query: &str, document: &str) -> Result<Vec<Token>, TokenizeError> {
        if let Some(template) = self.chat_template(Some("rerank")) {
            let text = fill(&template, &[("{query}", query), ("{document}", document)]);
            return self.tokenize(&text, false, true);
        }
        let mut tokens = self.tokenize(query, true, false)?;
        tokens.extend(self.vocab.pair_separator());
        let document = self.tokenize(document, true, false)?;
        let begins = self.vocab.add_bos && document.first().copied() == self.vocab.bos;
        tokens.extend_from_slice(&document[usize::from(begins)..]);
        Ok(tokens)
    }

    /// How many tokens a token of its sliding-window layers sees, with itself; 0 where every layer sees all.
    pub(crate) fn window(&self) -> u32 {
        self.window
    }

    /// Whether sequences can be kept outside the KV cache. Sliding-window layers would be saved without what their
    /// window has left behind, which a shorter prefix needs.
    #[must_use]
    pub fn saves_sequences(&self) -> bool {
        self.cuttable && self.window == 0
    }

    /// Whether parts of a sequence can be cut off when its whole history is kept.
    pub(crate) fn cuttable(&self) -> bool {
        self.cuttable
    }

    /// Values of an embedding.
    pub(crate) fn n_embd_out(&self) -> usize {
        // SAFETY: only reads the model.
        usize::try_from(unsafe { (self.runtime.api().llama_model_n_embd_out)(self.raw()) })
            .unwrap_or(0)
    }

    /// Number of attention heads of the first layer.
    pub(crate) fn n_head(&self) -> usize {
        // SAFETY: only reads the model.
        usize::try_from(unsafe { (self.runtime.api().llama_model_n_head)(self.raw()) }).unwrap_or(0)
    }

    /// Number of layers.
    pub(crate) fn n_layer(&self) -> u32 {
        // SAFETY: only reads the model.
        u32::try_from(unsafe { (self.runtime.api().llama_model_n_layer)(self.raw()) }).unwrap_or(0)
    }

    /// Values of a key in one head, where the metadata or the shapes tell.
    pub(crate) fn head_width(&self) -> Option<usize> {
        let architecture = self
            .metadata_value("general.architecture")
            .unwrap_or_default();
        let told = self.metadata_value(&format!("{architecture}.attention.key_length"));
        if let Some(width) = told.and_then(|text| text.parse().ok()) {
            return Some(width);
        }
        let heads = self.n_head();
        (heads > 0).then(|| self.info.n_embd / heads)
    }

    pub(crate) fn raw(&self) -> *mut LlamaModel {
        self.pointer.as_ptr()
    }

    fn raw_vocab(&self) -> RawVocab<'_> {
        let api = self.runtime.api();
        // SAFETY: the vocabulary is a part of the model and lives as long.
        let pointer = unsafe { (api.llama_model_get_vocab)(self.raw()) };
        RawVocab { api, pointer }
    }

    /// Calls a function that writes a string of unknown length and answers that length, or a negative number.
    fn read_string(&self, write: impl Fn(*mut c_char, usize) -> i32) -> Option<String> {
        let mut buffer = vec![0_u8; 256];
        for _ in 0..2 {
            let length =
                usize::try_from(write(buffer.as_mut_ptr().cast::<c_char>(), buffer.len())).ok()?;
            if length < buffer.len() {
                buffer.truncate(length);
                return Some(String::from_utf8_lossy(&buffer).into_owned());
            }
            buffer.resize(length + 1, 0);
        }
        None
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: contexts hold an Arc of their model, so none is left.
        unsafe { (self.runtime.api().llama_model_free)(self.raw()) }
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Model")
            .field("path", &self.path)
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

/// Replaces each mark of a template once and what came in its place never.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let next = values
        .iter()
        .filter_map(|(mark, value)| Some((template.find(mark)?, *mark, *value)))
        .min();
    match next {
        Some((at, mark, value)) => {
            let rest = fill(&template[at + mark.len()..], values);
            format!("{}{value}{rest}", &template[..at])
        }
        None => template.to_owned(),
    }
}

/// What can be said of the file without llama.cpp, which would only say that it failed.
fn check_file(path: &Path) -> Result<(), LoadError> {
    let error = |reason: io::Error| match reason.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => LoadError::NotFound {
            path: path.to_owned(),
        },
        io::ErrorKind::InvalidInput => LoadError::BadPath {
            path: path.to_owned(),
        },
        _ => LoadError::Unreadable {
            path: path.to_owned(),
            reason,
        },
    };
    if !fs::metadata(path).map_err(error)?.is_file() {
        return Err(LoadError::NotAFile {
            path: path.to_owned(),
        });
    }
    let mut begins = Vec::new();
    File::open(path)
        .map_err(error)?
        .take(4)
        .read_to_end(&mut begins)
        .map_err(error)?;
    if begins == b"GGUF" {
        Ok(())
    } else {
        Err(LoadError::NotGguf {
            path: path.to_owned(),
            begins,
        })
    }
}

fn load_mode(options: &ModelOptions, shapes_only: bool) -> i32 {
    match (options.mmap, options.mlock) {
        _ if shapes_only => LOAD_MODE_NONE,
        (true, false) => LOAD_MODE_AUTO, // mapped unless a device reads better
        (true, true) => LOAD_MODE_MMAP_MLOCK,
        (false, true) => LOAD_MODE_MLOCK,
        (false, false) => LOAD_MODE_NONE,
    }
}

fn refusal(path: &Path, cancelled: bool, error: &ErrorText, logged: &[String]) -> LoadError {
    let path = path.to_owned();
    if cancelled {
        return LoadError::Cancelled { path };
    }
    let reason = error.reason(logged, "it gave no reason");
    if is_out_of_memory(&reason) {
        LoadError::OutOfMemory { path, reason }
    } else {
        LoadError::Refused { path, reason }
    }
}

/// llama.cpp has no code for it; these are its words and the C++ library's.
pub(crate) fn is_out_of_memory(reason: &str) -> bool {
    [
        "bad_alloc",
        "unable to allocate",
        "failed to allocate",
        "failed to initialize the memory",
    ]
    .iter()
    .any(|words| reason.contains(words))
}

/// What llama.cpp's progress callback is given: it lives on the stack of the loading call.
struct ProgressWatch<F> {
    callback: F,
    cancelled: bool,
}

fn set_progress<F: FnMut(f32) -> bool>(
    params: &mut crate::sys::ModelParams,
    watch: &mut ProgressWatch<F>,
) {
    params.progress_callback = Some(on_progress::<F>);
    params.progress_callback_user_data = std::ptr::from_mut(watch).cast::<c_void>();
}

/// # Safety
/// `watch` must point to a live `ProgressWatch<F>` that nobody else uses during the call.
unsafe extern "C" fn on_progress<F: FnMut(f32) -> bool>(fraction: f32, watch: *mut c_void) -> bool {
    // SAFETY: the caller's promise; llama.cpp calls it on the loading thread only.
    let watch = unsafe { &mut *watch.cast::<ProgressWatch<F>>() };
    if watch.cancelled {
        return false;
    }
    // A panic must not cross into C++; it counts as a wish to stop.
    let go_on = catch_unwind(AssertUnwindSafe(|| {
        (watch.callback)(fraction.clamp(0.0, 1.0))
    }))
    .unwrap_or(false);
    watch.cancelled = !go_on;
    go_on
}
