//! What this machine is, the CPU variant's name, and which binary suits it.
//!
//! Nothing here loads llama.cpp or changes anything: [`cpu`], [`gpu`] and [`memory`] look, [`variant`] names,
//! [`pack`] and [`ggml_variants`] know ggml's CPU modules, [`resolver`] finds files. Naming and choosing are pure
//! functions of what was seen, so that tests feed them machines that are not at hand.
//!
//! Linux is what it is tested on. On macOS and Windows it compiles and asks the system through `sysinfo`.

#![deny(missing_docs)]

pub mod cpu;
pub mod ggml_variants;
pub mod gpu;
pub mod memory;
pub mod pack;
pub mod resolver;
pub mod variant;

#[cfg(target_os = "linux")]
mod cgroup;
#[cfg(target_os = "macos")]
mod sysctl;
#[cfg(target_os = "linux")]
mod system_files;
