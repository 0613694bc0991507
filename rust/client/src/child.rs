//! A host as a child process: how it is started, what it says on stderr, and how it ends.

use std::collections::VecDeque;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::error::{Death, Error};
use crate::settings::Settings;
use crate::source::{Credentials, HostCommand};

const LINES_KEPT: usize = 20;
const LONGEST_LINE: usize = 2000;
const LISTEN_ON: Duration = Duration::from_secs(1);

/// A child that has been started, without its stdin and stdout.
pub(crate) struct HostProcess {
    child: Child,
    listener: JoinHandle<()>,
    last_words: Arc<Mutex<LastWords>>,
}

/// Start a child. It is killed when it is dropped.
pub(crate) fn start(
    command: &HostCommand,
    credentials: &Credentials,
    settings: &Settings,
) -> Result<(HostProcess, ChildStdin, ChildStdout), Error> {
    let mut prepared = Command::new(&command.program);
    prepared
        .args(&command.arguments)
        .envs(
            command
                .environment
                .iter()
                .map(|(name, value)| (name, value)),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(folder) = &command.folder {
        prepared.current_dir(folder);
    }
    #[cfg(unix)]
    prepared.process_group(0); // Ctrl-C at a terminal is for the parent alone
    if let Credentials::Secret(secret) = credentials {
        hand_over(&mut prepared, secret)?;
    }
    let mut child = prepared.spawn().map_err(|source| Error::Spawn {
        program: command.program.to_string_lossy().into_owned(),
        source: Arc::new(source),
    })?;
    drop(prepared); // and with it our copy of the secret's pipe
    let last_words = Arc::new(Mutex::new(LastWords::default()));
    match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
        (Some(stdin), Some(stdout), Some(stderr)) => {
            let listener = tokio::spawn(listen(stderr, last_words.clone(), settings.clone()));
            Ok((
                HostProcess {
                    child,
                    listener,
                    last_words,
                },
                stdin,
                stdout,
            ))
        }
        _ => Err(Error::System {
            problem: "the child has no pipes".to_owned(),
        }),
    }
}

/// Give the child a pipe that holds the secret, and tell it the number. It keeps the number that it has here:
/// another one might be in use between fork and exec.
#[cfg(unix)]
fn hand_over(command: &mut Command, secret: &[u8]) -> Result<(), Error> {
    use std::io::Write;
    use std::os::fd::AsRawFd;

    use command_fds::CommandFdExt;

    let system = |error: std::io::Error| Error::System {
        problem: format!("no pipe for the secret: {error}"),
    };
    let (reading, mut writing) = std::io::pipe().map_err(system)?;
    writing.write_all(secret).map_err(system)?; // a pipe holds 4,096 bytes at least
    command.env("NATIVE_HOST_SECRET_FD", reading.as_raw_fd().to_string());
    command.preserved_fds(vec![reading.into()]);
    Ok(())
}

#[cfg(not(unix))]
fn hand_over(_: &mut Command, _: &[u8]) -> Result<(), Error> {
    let problem =
        "a secret can be handed over by descriptor on Unix only; use an API key".to_owned();
    Err(Error::System { problem })
}

impl HostProcess {
    /// Wait for its end.
    pub(crate) async fn exited(&mut self) {
        // An error would mean that somebody else has reaped it: it has ended too.
        let _ = self.child.wait().await;
    }

    /// See to its end, and tell how it came: killed, unless it ends by itself within `grace`.
    pub(crate) async fn reap(&mut self, grace: Duration) -> (Option<ExitStatus>, bool) {
        if let Ok(ended) = timeout(grace, self.child.wait()).await {
            return (ended.ok(), false);
        }
        let _ = self.child.start_kill(); // it fails where it has just ended
        (self.child.wait().await.ok(), true)
    }

    /// How it ended, with its last words.
    pub(crate) async fn death(
        &mut self,
        status: Option<ExitStatus>,
        what: Option<String>,
    ) -> Death {
        // Workers may hold stderr open for a moment longer.
        let _ = timeout(LISTEN_ON, &mut self.listener).await;
        Death {
            what: what.unwrap_or_else(|| words(status)),
            exit_code: status.and_then(|status| status.code()),
            signal: signal(status),
            last_words: self.last_words(),
        }
    }

    /// The last lines of its stderr.
    pub(crate) fn last_words(&self) -> Vec<String> {
        let kept = self
            .last_words
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        kept.0.iter().cloned().collect()
    }
}

fn words(status: Option<ExitStatus>) -> String {
    match (status.and_then(|status| status.code()), signal(status)) {
        (Some(code), _) => format!("the host ended with exit code {code}"),
        (None, Some(number)) => format!("the host was killed by signal {number}"),
        (None, None) => "the host ended".to_owned(),
    }
}

#[cfg(unix)]
fn signal(status: Option<ExitStatus>) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status?)
}

#[cfg(not(unix))]
fn signal(_: Option<ExitStatus>) -> Option<i32> {
    None
}

#[derive(Default)]
struct LastWords(VecDeque<String>);

/// Hand on each line of stderr, and keep the last ones.
async fn listen(mut stderr: ChildStderr, last_words: Arc<Mutex<LastWords>>, settings: Settings) {
    let mut lines = Lines::default();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = stderr.read(&mut buffer).await.unwrap_or(0);
        for line in lines.feed(&buffer[..count]) {
            if let Some(on_log) = &settings.on_log {
                on_log(&line);
            }
            let mut kept = last_words.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.0.len() == LINES_KEPT {
                kept.0.pop_front();
            }
            kept.0.push_back(line);
        }
        if count == 0 {
            return;
        }
    }
}

/// Cuts bytes into lines. Of a line that is too long, the beginning is a line of its own.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    /// The lines that are complete; no bytes mean the end of the last one.
    fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for &byte in bytes {
            if byte == b'\n' || self.0.len() == LONGEST_LINE {
                lines.push(self.take());
            }
            if byte != b'\n' {
                self.0.push(byte);
            }
        }
        if bytes.is_empty() && !self.0.is_empty() {
            lines.push(self.take());
        }
        lines
    }

    fn take(&mut self) -> String {
        let line = String::from_utf8_lossy(&self.0).trim_end().to_owned();
        self.0.clear();
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_wherever_the_bytes_are() {
        let mut lines = Lines::default();
        assert_eq!(lines.feed(b"one\r\ntw"), ["one"]);
        assert_eq!(lines.feed(b"o\n\nthree"), ["two", ""]);
        assert_eq!(lines.feed(b""), ["three"]);
        assert!(lines.feed(b"").is_empty());
        let long = lines.feed(&[b'x'; LONGEST_LINE + 10]);
        assert_eq!(long.len(), 1);
        assert_eq!(long[0].len(), LONGEST_LINE);
        assert_eq!(lines.feed(b"\xff\n"), ["xxxxxxxxxx\u{fffd}"]);
    }
}
