//! Keeps a host running: watches it, starts it again when it dies, and ends it when nobody needs it any more.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use crate::backoff;
use crate::error::Error;
use crate::host::{Phase, Shared, State};
use crate::running::{self, Running};
use crate::settings::Settings;
use crate::source::Source;

/// How a host ended that was shut down.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Exit {
    /// A child's exit status; none of a daemon, which goes on, nor where it had ended before.
    pub status: Option<ExitStatus>,
    /// Whether it had to be killed.
    pub killed: bool,
}

/// Asks for the end, and is told of it.
pub(crate) type Shutdown = oneshot::Sender<Exit>;

/// Why a host that ran is no longer there.
enum Event {
    Lost(Error),
    Unwanted(Option<Shutdown>),
}

pub(crate) struct Supervisor {
    pub(crate) source: Source,
    pub(crate) settings: Arc<Settings>,
    pub(crate) shared: Arc<Shared>,
    /// Closed once the last handle of the host has gone.
    pub(crate) shutdowns: mpsc::Receiver<Shutdown>,
}

impl Supervisor {
    /// Until the host is stopped, for whichever reason.
    pub(crate) async fn run(mut self, mut running: Running) {
        let mut attempts = 0;
        let mut restarts = 0;
        loop {
            self.shared.ready(&running, restarts, &self.settings);
            let error = match self.watch(&mut running).await {
                Event::Lost(error) => error,
                Event::Unwanted(told) => {
                    self.stop("it was shut down");
                    let exit = running.shut_down(&self.settings).await;
                    told.map(|told| told.send(exit));
                    return;
                }
            };
            if running.since.elapsed() >= self.settings.restart.forgiven_after {
                attempts = 0;
            }
            // First what comes next, then the news to whoever waits: who asks again waits for the next host.
            self.shared.waiting();
            running.link.finish(&error);
            drop(running);
            match self.restart(error, &mut attempts).await {
                Some(started) => running = started,
                None => return,
            }
            restarts += 1;
        }
    }

    async fn watch(&mut self, running: &mut Running) -> Event {
        let link = running.link.clone();
        let hung = tokio::select! {
            error = running.ended(&self.settings) => return Event::Lost(error),
            told = self.shutdowns.recv() => return Event::Unwanted(told),
            why = Running::unresponsive(link, &self.settings) => why,
        };
        Event::Lost(running.kill(hung).await)
    }

    /// Another start, or none where the host has been stopped.
    async fn restart(&mut self, mut error: Error, attempts: &mut u32) -> Option<Running> {
        loop {
            if *attempts >= self.settings.restart.limit || error.is_final() {
                self.stop(&error.to_string());
                return None;
            }
            *attempts += 1;
            let wait = backoff::wait(&self.settings.restart, *attempts);
            let why = error.to_string();
            self.shared.tell(
                State::Restarting {
                    attempt: *attempts,
                    why,
                    wait,
                },
                &self.settings,
            );
            match self.start_after(wait).await? {
                Ok(running) => return Some(running),
                Err(failed) => error = failed,
            }
        }
    }

    async fn start_after(&mut self, wait: Duration) -> Option<Result<Running, Error>> {
        let started = async {
            sleep(wait).await;
            running::open(&self.source, &self.settings).await
        };
        let told = tokio::select! {
            started = started => return Some(started),
            told = self.shutdowns.recv() => told,
        };
        self.stop("it was shut down");
        told.map(|told| told.send(Exit::default()));
        None
    }

    fn stop(&self, why: &str) {
        self.shared.set(Phase::Stopped(why.to_owned()));
        self.shared.tell(
            State::Stopped {
                why: why.to_owned(),
            },
            &self.settings,
        );
    }
}
