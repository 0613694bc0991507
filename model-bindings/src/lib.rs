//! The tabagent_model Python extension.
