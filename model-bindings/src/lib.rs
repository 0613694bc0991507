//! The native half of `tabagent_model`: hardware, GGUF files, llama.cpp and the engine under one Python face.
//!
//! Every class is in a file of its own. What they share is `session` (a loaded model with its engine), `sampling`
//! (keyword arguments to requests), `router` (events to callers) and `errors` (every exception, in one table). The GIL is released
//! wherever Rust or llama.cpp works.
#![forbid(unsafe_code)]

use pyo3::prelude::*;

mod adapters;
mod dates;
mod engine;
mod errors;
mod estimate;
mod events;
mod form;
mod forward;
mod hardware;
mod hosted;
mod inspect;
mod logging;
mod messages;
mod model;
mod quantize;
mod router;
mod sampling;
mod session;
mod stream;
mod template;
mod vectors;

#[pymodule]
mod _native {
    use super::*;

    #[pymodule_export]
    use super::engine::Engine;
    #[pymodule_export]
    use super::estimate::estimate_memory;
    #[pymodule_export]
    use super::hardware::{
        explain_binary, get_cpu_info, get_cpu_variant, get_gpu_info, get_memory_info,
        get_optimal_binary, set_pack_directory,
    };
    #[pymodule_export]
    use super::hosted::HostedEngine;
    #[pymodule_export]
    use super::inspect::inspect_gguf;
    #[pymodule_export]
    use super::logging::set_log_callback;
    #[pymodule_export]
    use super::model::PyModel;
    #[pymodule_export]
    use super::quantize::quantize_gguf;
    #[pymodule_export]
    use super::session::stop_all;
    #[pymodule_export]
    use super::stream::Stream;
    #[pymodule_export]
    use super::template::{ChatTemplate, render_template};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        super::errors::register(module)?;
        super::logging::install();
        Ok(())
    }
}
