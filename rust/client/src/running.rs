//! A host that runs, as a child or behind a socket: opened, introduced, watched, and brought to its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::child::{self, HostProcess};
use crate::error::{Death, Error};
use crate::handshake::{self, Introduction};
use crate::link::{self, End, Link};
use crate::settings::Settings;
use crate::source::{Credentials, Daemon, Source};
use crate::supervisor::Exit;

/// How long what a dead child has written may take to be read.
const READ_ON: Duration = Duration::from_secs(1);
/// How long a host may take to answer `shutdown`, which it does at once unless it hangs.
const SHUTDOWN_ANSWER: Duration = Duration::from_secs(1);

/// A host that has introduced itself.
pub(crate) struct Running {
    pub(crate) link: Arc<Link>,
    pub(crate) introduction: Arc<Introduction>,
    pub(crate) since: Instant,
    wires: Wires,
}

/// The tasks that read and write, and the child where there is one.
struct Wires {
    reader: Reader,
    writer: JoinHandle<()>,
    process: Option<HostProcess>,
}

/// What was seen of a host's end.
enum Sign {
    Input(End),
    Exit,
}

/// Start or connect, and shake hands.
pub(crate) async fn open(source: &Source, settings: &Settings) -> Result<Running, Error> {
    let (link, mut wires, credentials) = wire_up(source, settings).await?;
    let introduced = tokio::select! {
        introduced = handshake::introduce(&link, settings, &credentials) => introduced,
        sign = wires.sign() => Err(wires.bury(sign, settings).await),
        () = sleep(settings.start_timeout) => Err(wires.give_up(settings).await),
    };
    match introduced {
        Ok(introduction) => {
            link.set_max_frame(introduction.limits.max_frame_in);
            let introduction = Arc::new(introduction);
            Ok(Running {
                link,
                introduction,
                since: Instant::now(),
                wires,
            })
        }
        Err(error) => {
            wires.end(&link, Duration::ZERO).await;
            Err(error)
        }
    }
}

async fn wire_up(
    source: &Source,
    settings: &Settings,
) -> Result<(Arc<Link>, Wires, Credentials), Error> {
    match source {
        Source::Command(command) => {
            let credentials = command.credentials_of_a_start()?;
            credentials.check()?;
            let (process, stdin, stdout) = child::start(command, &credentials, settings)?;
            let (link, wires) = Wires::new(stdout, stdin, Some(process), settings);
            Ok((link, wires, credentials))
        }
        Source::Daemon(daemon) => {
            daemon.credentials.check()?;
            let (link, wires) = connect(daemon, settings).await?;
            Ok((link, wires, daemon.credentials.clone()))
        }
    }
}

#[cfg(unix)]
async fn connect(daemon: &Daemon, settings: &Settings) -> Result<(Arc<Link>, Wires), Error> {
    let stream = crate::daemon::connect(daemon).await?;
    let (reading, writing) = stream.into_split();
    Ok(Wires::new(reading, writing, None, settings))
}

#[cfg(not(unix))]
async fn connect(daemon: &Daemon, _: &Settings) -> Result<(Arc<Link>, Wires), Error> {
    let source = Arc::new(std::io::ErrorKind::Unsupported.into());
    Err(Error::Connect {
        path: daemon.path.clone(),
        source,
    })
}

impl Running {
    /// Wait for the host's end, and say how it came. Nothing of it is left then.
    pub(crate) async fn ended(&mut self, settings: &Settings) -> Error {
        let sign = self.wires.sign().await;
        self.wires.bury(sign, settings).await
    }

    /// Wait until a ping is not answered in time, and say so.
    pub(crate) async fn unresponsive(link: Arc<Link>, settings: &Settings) -> String {
        loop {
            sleep(settings.ping_every).await;
            let ping = link.ask::<_, serde_json::Value>("ping", &NoParams {});
            match timeout(settings.ping_deadline, ping).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return format!("it answered a ping with: {error}"),
                Err(_) => {
                    return format!(
                        "it gave no sign of life within {:?}",
                        settings.ping_deadline
                    );
                }
            }
        }
    }

    /// The end of a host that hangs.
    pub(crate) async fn kill(&mut self, why: String) -> Error {
        self.wires
            .kill(format!("the host was given up: {why}"))
            .await
    }

    /// A host that is no longer needed: `shutdown`, `exit`, the end of its input, and a while to end by itself.
    pub(crate) async fn shut_down(mut self, settings: &Settings) -> Exit {
        let asked = self
            .link
            .ask::<_, serde_json::Value>("shutdown", &NoParams {});
        let _ = timeout(SHUTDOWN_ANSWER, asked).await; // a host that hangs is killed below
        self.link.finish(&Error::Stopped {
            why: "it was shut down".to_owned(),
        });
        self.link.notify("exit", &NoParams {});
        self.link.end_writing();
        self.wires.end(&self.link, settings.exit_grace).await
    }
}

#[derive(serde::Serialize)]
struct NoParams {}

impl Wires {
    fn new<R, W>(
        reading: R,
        writing: W,
        process: Option<HostProcess>,
        settings: &Settings,
    ) -> (Arc<Link>, Self)
    where
        R: tokio::io::AsyncRead + Unpin + Send + 'static,
        W: tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (link, outbox) = Link::new(settings);
        let buffered = tokio::io::BufReader::with_capacity(64 * 1024, reading);
        let reader = Reader(
            tokio::spawn(link::read_all(
                buffered,
                link.clone(),
                settings.max_frame_in,
            )),
            false,
        );
        let writer = tokio::spawn(link::write_all(writing, outbox));
        (
            link,
            Self {
                reader,
                writer,
                process,
            },
        )
    }

    /// Wait for a sign of the host's end. Whatever it had written by then has been read.
    async fn sign(&mut self) -> Sign {
        let Some(process) = &mut self.process else {
            return Sign::Input(self.reader.over().await);
        };
        tokio::select! {
            end = self.reader.over() => return Sign::Input(end),
            () = process.exited() => {}
        }
        let _ = timeout(READ_ON, self.reader.over()).await;
        Sign::Exit
    }

    /// See to the end of a host that showed a sign of it.
    async fn bury(&mut self, sign: Sign, settings: &Settings) -> Error {
        match sign {
            Sign::Input(End::Broken(problem)) => {
                let problem = format!("the host was given up: it sent {problem}");
                self.kill(problem).await
            }
            Sign::Input(End::Closed) | Sign::Exit => self.mourn(settings.exit_grace, None).await,
        }
    }

    async fn give_up(&mut self, settings: &Settings) -> Error {
        let waited = settings.start_timeout;
        match self.mourn(Duration::ZERO, None).await {
            Error::HostDied(death) => Error::StartTimeout {
                waited,
                last_words: death.last_words.clone(),
            },
            other => other,
        }
    }

    async fn kill(&mut self, why: String) -> Error {
        self.mourn(Duration::ZERO, Some(why)).await
    }

    async fn mourn(&mut self, grace: Duration, what: Option<String>) -> Error {
        self.writer.abort();
        let death = match &mut self.process {
            Some(process) => {
                let (status, _) = process.reap(grace).await;
                process.death(status, what).await
            }
            None => Death {
                what: what.unwrap_or_else(|| "the connection to the host was closed".to_owned()),
                exit_code: None,
                signal: None,
                last_words: Vec::new(),
            },
        };
        Error::HostDied(Arc::new(death))
    }

    /// The end, by itself within `grace` or by force.
    async fn end(&mut self, link: &Link, grace: Duration) -> Exit {
        let exit = match &mut self.process {
            Some(process) => {
                let (status, killed) = process.reap(grace).await;
                Exit { status, killed }
            }
            None => {
                let _ = timeout(grace, self.reader.over()).await;
                Exit {
                    status: None,
                    killed: false,
                }
            }
        };
        link.finish(&Error::Stopped {
            why: "it was shut down".to_owned(),
        });
        exit
    }
}

impl Drop for Wires {
    /// The child dies with its handle; these tasks hold the other ends of its pipes.
    fn drop(&mut self) {
        self.reader.0.abort();
        self.writer.abort();
    }
}

/// The task that reads, and whether it has told how it ended.
struct Reader(JoinHandle<End>, bool);

impl Reader {
    /// How it ended. Once it has told, or where it panicked, there is nothing more to say.
    async fn over(&mut self) -> End {
        if self.1 {
            return End::Closed;
        }
        let end = (&mut self.0).await.unwrap_or(End::Closed);
        self.1 = true;
        end
    }
}
