//! What this machine is, the CPU variant's name, and which binary suits it.
