//! Where the real host is, and the models that it has here.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use native_host_client::{HostCommand, RestartPolicy, Settings};
use tempfile::TempDir;

/// No test waits longer for anything.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// A `models.json` with the built-in model, and the folder that it lies in.
pub struct Place {
    folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = root().join("native_host/models/builtin/tabagent-demo.gguf");
        // One thread: several wait for each other by spinning, which starves a machine that is busy.
        let models = serde_json::json!({
            "models": {"demo": {"type": "gguf", "path": model, "threads": 1, "aliases": ["known"]}},
            "default": "demo",
        });
        std::fs::write(folder.path().join("models.json"), models.to_string()).unwrap();
        Self { folder }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The real host's command.
    pub fn command(&self) -> HostCommand {
        HostCommand::new(program()).models(self.file("models.json"))
    }
}

/// The real host's program.
pub fn program() -> PathBuf {
    let named = std::env::var_os("NATIVE_HOST_PROGRAM").map(PathBuf::from);
    let program = named
        .expect("NATIVE_HOST_PROGRAM must name the program native-host (scripts/test sets it)");
    assert!(
        program.is_file(),
        "NATIVE_HOST_PROGRAM: there is no {}",
        program.display()
    );
    program
}

/// A host that goes wrong in one way.
pub fn fake(way: &str) -> HostCommand {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/fake_host.py");
    HostCommand::new("python3").arg(script).arg(way)
}

/// Settings that give a slow machine time, and start again without delay.
pub fn patient() -> Settings {
    Settings {
        start_timeout: PATIENCE,
        ping_deadline: PATIENCE,
        exit_grace: PATIENCE,
        restart: RestartPolicy {
            limit: 100_000,
            first_wait: Duration::from_millis(10),
            longest_wait: Duration::from_millis(100),
            ..RestartPolicy::default()
        },
        ..Settings::default()
    }
}

/// Whatever is waited for, with an end to the waiting.
pub async fn soon<F: Future>(what: &str, awaited: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, awaited).await {
        Ok(output) => output,
        Err(_) => panic!("{what} did not come within {PATIENCE:?}"),
    }
}

pub fn kill(process: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    // It may have died by itself.
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

pub fn runs(process: u32) -> bool {
    let pid = rustix::process::Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    rustix::process::test_kill_process(pid).is_ok()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}
