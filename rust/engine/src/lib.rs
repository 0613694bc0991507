//! Sequences, scheduler, sampling and events over a Backend trait.
