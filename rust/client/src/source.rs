//! Where a host comes from: a command that is run, or a daemon's socket.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::Error;

const SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=4096;

/// How the client shows who it is.
#[derive(Clone)]
#[non_exhaustive]
pub enum Credentials {
    /// Not at all; a host that wants to know refuses.
    Nothing,
    /// A secret that both sides know, 16 to 4,096 bytes; each side proves that it knows it.
    Secret(Vec<u8>),
    /// An API key (`native-host keys create`).
    ApiKey(String),
}

impl Credentials {
    /// A secret of 32 random bytes.
    pub(crate) fn random() -> Result<Self, Error> {
        let mut secret = vec![0; 32];
        getrandom::fill(&mut secret).map_err(|error| Error::System {
            problem: error.to_string(),
        })?;
        // The host drops a line end behind a secret, as editors leave one.
        secret[31] |= 0x80;
        Ok(Self::Secret(secret))
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let Self::Secret(secret) = self else {
            return Ok(());
        };
        let ends_a_line = matches!(secret.last(), Some(b'\n' | b'\r'));
        if SECRET_BYTES.contains(&secret.len()) && !ends_a_line {
            return Ok(());
        }
        let problem = "a secret has 16 to 4096 bytes and does not end with a line".to_owned();
        Err(Error::Handshake { problem })
    }
}

impl fmt::Debug for Credentials {
    /// Never what is secret about them.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Secret(_) => "Secret(…)",
            Self::ApiKey(_) => "ApiKey(…)",
        })
    }
}

/// The command that starts a host which speaks frames on its standard streams.
///
/// The child inherits this process's environment, what is added here, three pipes and, for the secret, the reading
/// end of a fourth one: nothing secret stands among its arguments or in its environment. Unless told otherwise each
/// start has a new random secret.
#[derive(Clone)]
pub struct HostCommand {
    pub(crate) program: OsString,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) credentials: Option<Credentials>,
}

impl HostCommand {
    /// A program by its name or path: `native-host`, or whatever wraps it.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            folder: None,
            credentials: None,
        }
    }

    /// One more argument. `native-host` needs none.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// One more variable of the environment, such as `MEMORY_BUDGET`.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// The `models.json` to use; else the host looks in its own places.
    #[must_use]
    pub fn models(self, file: impl AsRef<Path>) -> Self {
        self.env("MODEL_CONFIG_PATH", file.as_ref())
    }

    /// The folder that the host runs in; else this process's.
    #[must_use]
    pub fn current_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Other credentials than a random secret.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Those of the next start. Only Unix has descriptors to hand a secret over by.
    pub(crate) fn credentials_of_a_start(&self) -> Result<Credentials, Error> {
        match &self.credentials {
            Some(given) => Ok(given.clone()),
            None if cfg!(unix) => Credentials::random(),
            None => Ok(Credentials::Nothing),
        }
    }
}

impl fmt::Debug for HostCommand {
    /// Of the environment the names only: people put keys there all the same.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.environment.iter().map(|(name, _)| name).collect();
        formatter
            .debug_struct("HostCommand")
            .field("program", &self.program)
            .field("arguments", &self.arguments)
            .field("environment", &names)
            .field("folder", &self.folder)
            .field("credentials", &self.credentials)
            .finish()
    }
}

/// A daemon's Unix socket (`native-host serve --socket PATH`).
#[derive(Clone, Debug)]
pub struct Daemon {
    pub(crate) path: PathBuf,
    pub(crate) credentials: Credentials,
    #[cfg_attr(not(unix), expect(dead_code, reason = "no sockets to join there"))]
    pub(crate) user: Option<u32>,
}

impl Daemon {
    /// The daemon that listens at `path`: a process of this program's own user, or it is told nothing.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            credentials: Credentials::Nothing,
            user: None,
        }
    }

    /// For a daemon that wants to know who asks.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }

    /// For a socket that a process of another user listens at, by the user's id; then one of this program's own is
    /// refused. A daemon serves its own user alone: this is for what stands before it, such as a forwarder.
    #[must_use]
    pub fn of_user(mut self, uid: u32) -> Self {
        self.user = Some(uid);
        self
    }
}

impl<P: Into<PathBuf>> From<P> for Daemon {
    fn from(path: P) -> Self {
        Self::at(path)
    }
}

/// Either of the two.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Command(HostCommand),
    Daemon(Daemon),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_checked_and_not_shown() {
        assert!(Credentials::Secret(vec![1; 15]).check().is_err());
        assert!(Credentials::Secret(vec![1; 4097]).check().is_err());
        assert!(
            Credentials::Secret(b"0123456789abcdef\n".to_vec())
                .check()
                .is_err()
        );
        assert!(Credentials::Secret(vec![1; 16]).check().is_ok());
        let command = HostCommand::new("native-host")
            .env("NATIVE_HOST_API_KEY", "hidden")
            .credentials(Credentials::ApiKey("hidden".into()));
        let shown = format!("{command:?}");
        assert!(!shown.contains("hidden"), "{shown}");
        assert!(shown.contains("NATIVE_HOST_API_KEY"), "{shown}");
    }

    #[test]
    fn random_secrets_are_ones_that_a_host_takes_as_they_are() {
        for _ in 0..300 {
            assert!(Credentials::random().unwrap().check().is_ok());
        }
    }
}
