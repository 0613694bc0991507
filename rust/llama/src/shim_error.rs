//! Room for the text of an exception that the shim caught.

use crate::sys::ShimError;
use std::ffi::c_char;

/// A buffer that the shim writes an exception's text into.
pub(crate) struct ErrorText([u8; 512]);

impl ErrorText {
    /// An empty text.
    pub(crate) fn new() -> Self {
        Self([0; 512])
    }

    /// The struct that the shim takes. It points into `self` and must not outlive this borrow.
    pub(crate) fn as_shim(&mut self) -> ShimError {
        ShimError {
            text: self.0.as_mut_ptr().cast::<c_char>(),
            capacity: self.0.len(),
        }
    }

    /// What the shim wrote; empty when nothing was thrown.
    pub(crate) fn text(&self) -> String {
        let end = self
            .0
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(self.0.len());
        String::from_utf8_lossy(&self.0[..end]).into_owned()
    }

    /// The exception's text, or else what llama.cpp logged, or else `otherwise`.
    pub(crate) fn reason(&self, logged: &[String], otherwise: &str) -> String {
        let mut reasons = vec![self.text()];
        reasons.extend(logged.iter().cloned());
        reasons.retain(|reason| !reason.is_empty());
        if reasons.is_empty() {
            otherwise.to_owned()
        } else {
            reasons.join("; ")
        }
    }
}
