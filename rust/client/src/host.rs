//! A host, to be shared among tasks: what can be asked of it, and how it is.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

use crate::call::{Asked, Call};
use crate::error::Error;
use crate::handshake::Introduction;
use crate::link::{InFlight, Link, NotSent};
use crate::messages::{self, Request};
use crate::running::{self, Running};
use crate::settings::Settings;
use crate::source::{Daemon, HostCommand, Source};
use crate::stream::AnswerStream;
use crate::supervisor::{Exit, Shutdown, Supervisor};

/// How a host is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum State {
    /// The first start is under way.
    Starting,
    /// It answers.
    Ready {
        /// Its process.
        pid: u32,
        /// How often it has been started again.
        restarts: u32,
    },
    /// It died, and is started again after a wait. Requests wait for it.
    Restarting {
        /// How many starts in a row have failed or ended early, this one included.
        attempt: u32,
        /// Why it died, or why the last start failed.
        why: String,
        /// The wait before the start.
        wait: Duration,
    },
    /// It will not be started again.
    Stopped {
        /// Why.
        why: String,
    },
}

/// What requests go by.
pub(crate) enum Phase {
    Waiting,
    Ready(Arc<Link>, Arc<Introduction>),
    Stopped(String),
}

/// What handles, calls and the supervisor share.
pub(crate) struct Shared {
    phase: watch::Sender<Phase>,
    state: watch::Sender<State>,
}

impl Shared {
    fn new() -> Self {
        Self {
            phase: watch::Sender::new(Phase::Waiting),
            state: watch::Sender::new(State::Starting),
        }
    }

    pub(crate) fn set(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    pub(crate) fn waiting(&self) {
        self.set(Phase::Waiting);
    }

    pub(crate) fn ready(&self, running: &Running, restarts: u32, settings: &Settings) {
        self.set(Phase::Ready(
            running.link.clone(),
            running.introduction.clone(),
        ));
        self.tell(
            State::Ready {
                pid: running.introduction.server.pid,
                restarts,
            },
            settings,
        );
    }

    pub(crate) fn tell(&self, state: State, settings: &Settings) {
        if let Some(on_state) = &settings.on_state {
            on_state(&state);
        }
        self.state.send_replace(state);
    }

    /// Send a request to the host that is ready, or to the next one that is.
    pub(crate) async fn send(&self, asked: &Asked) -> Result<InFlight, Error> {
        let mut phase = self.phase.subscribe();
        loop {
            let link = ready_link(&mut phase).await?;
            match link
                .request(&asked.method, &asked.params, asked.first_seq)
                .await
            {
                Ok(in_flight) => return Ok(in_flight),
                Err(NotSent::Refused(error)) => return Err(error),
                Err(NotSent::Ended(_)) => {} // it was never sent, so the next one may have it
            }
            let gone = |phase: &Phase| !matches!(phase, Phase::Ready(other, _) if Arc::ptr_eq(other, &link));
            phase.wait_for(gone).await.map_err(|_| abandoned())?;
        }
    }
}

async fn ready_link(phase: &mut watch::Receiver<Phase>) -> Result<Arc<Link>, Error> {
    let settled = phase
        .wait_for(|phase| !matches!(phase, Phase::Waiting))
        .await;
    match &*settled.map_err(|_| abandoned())? {
        Phase::Ready(link, _) => Ok(link.clone()),
        Phase::Stopped(why) => Err(Error::Stopped { why: why.clone() }),
        Phase::Waiting => Err(abandoned()),
    }
}

fn abandoned() -> Error {
    Error::Stopped {
        why: "nobody looks after it".to_owned(),
    }
}

/// A host, kept running. Clones are handles of the same one; when the last handle, call and stream of it has gone,
/// the host is shut down, and a child killed unless it ends in time. No child outlives the runtime.
#[derive(Clone)]
pub struct Host {
    shared: Arc<Shared>,
    shutdowns: mpsc::Sender<Shutdown>,
}

impl Host {
    /// Start a host as a child, and wait until it is ready.
    ///
    /// # Errors
    /// What kept the first start from succeeding: the program, the handshake, the time. A host that dies later is
    /// started again (see [`Settings::restart`]).
    pub async fn spawn(command: HostCommand) -> Result<Self, Error> {
        Self::spawn_with(command, Settings::default()).await
    }

    /// The same with other settings.
    ///
    /// # Errors
    /// As [`Host::spawn`].
    pub async fn spawn_with(command: HostCommand, settings: Settings) -> Result<Self, Error> {
        Self::open(Source::Command(command), settings).await
    }

    /// Connect to a daemon's Unix socket. A connection that is lost is made again, as a child is started again.
    ///
    /// # Errors
    /// [`Error::Connect`] where nobody listens, [`Error::Handshake`] where another user's process does (see
    /// [`Daemon::of_user`]), and what kept the handshake from succeeding.
    pub async fn connect(daemon: impl Into<Daemon>) -> Result<Self, Error> {
        Self::connect_with(daemon, Settings::default()).await
    }

    /// The same with other settings.
    ///
    /// # Errors
    /// As [`Host::connect`].
    pub async fn connect_with(
        daemon: impl Into<Daemon>,
        settings: Settings,
    ) -> Result<Self, Error> {
        Self::open(Source::Daemon(daemon.into()), settings).await
    }

    async fn open(source: Source, settings: Settings) -> Result<Self, Error> {
        let settings = Arc::new(settings);
        let shared = Arc::new(Shared::new());
        shared.tell(State::Starting, &settings);
        let running = running::open(&source, &settings).await?;
        let (shutdowns, receiver) = mpsc::channel(1);
        let supervisor = Supervisor {
            source,
            settings,
            shared: shared.clone(),
            shutdowns: receiver,
        };
        let mut settled = shared.state.subscribe();
        tokio::spawn(supervisor.run(running));
        let host = Self { shared, shutdowns };
        let _ = settled
            .wait_for(|state| !matches!(state, State::Starting))
            .await;
        Ok(host)
    }

    /// How it is now.
    pub fn state(&self) -> State {
        self.shared.state.borrow().clone()
    }

    /// How it is, as it changes. Of states that follow each other faster than they are looked at, the last one is
    /// seen; [`Settings::on_state`] is told all of them.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    /// What the host that is ready says about itself; none while there is none.
    pub fn introduction(&self) -> Option<Arc<Introduction>> {
        match &*self.shared.phase.borrow() {
            Phase::Ready(_, introduction) => Some(introduction.clone()),
            _ => None,
        }
    }

    /// End it: what is under way fails with [`Error::Stopped`], and a child is reaped, killed if it must be. Of a
    /// daemon only the connection ends.
    pub async fn shutdown(&self) -> Exit {
        let (sender, told) = oneshot::channel();
        if self.shutdowns.send(sender).await.is_err() {
            return Exit::default(); // it has ended before
        }
        told.await.unwrap_or_default()
    }

    /// Ask anything that has a type ([`messages`]).
    pub fn ask<P: Request>(&self, params: P) -> Call<P::Result> {
        self.call(P::METHOD, &params)
    }

    /// Ask anything by its name on the wire.
    pub fn call<P: Serialize + ?Sized, R: DeserializeOwned>(
        &self,
        method: &str,
        params: &P,
    ) -> Call<R> {
        let params = serde_json::to_value(params).map_err(|error| Error::InvalidParams {
            method: method.to_owned(),
            problem: error.to_string(),
        });
        Call::new(self.clone(), method, params)
    }

    /// Answer a conversation.
    pub fn chat(&self, params: messages::ChatParams) -> Call<messages::ChatResult> {
        self.ask(params)
    }

    /// Continue a prompt.
    pub fn generate(&self, params: messages::GenerateParams) -> Call<messages::Generated> {
        self.ask(params)
    }

    /// Continue several prompts.
    pub fn generate_many(
        &self,
        params: messages::GenerateManyParams,
    ) -> Call<messages::GeneratedMany> {
        self.ask(params)
    }

    /// Take up a stream whose connection was lost ([`AnswerStream::place`]): what was missed comes, then the rest.
    /// `R` is the result of the request that began it.
    pub fn resume<R: messages::Streamed>(&self, stream: &str, from_seq: u64) -> AnswerStream<R> {
        let params = serde_json::json!({"stream": stream, "from_seq": from_seq});
        Call::new(self.clone(), "streams.resume", Ok::<Value, Error>(params))
            .streamed_from(from_seq)
    }

    /// A sign of life.
    pub fn ping(&self) -> Call<messages::Pong> {
        self.ask(messages::Ping {})
    }

    /// Whether all is well.
    pub fn health(&self) -> Call<messages::Health> {
        self.ask(messages::HealthParams {})
    }

    /// The models of the registry and their state.
    pub fn models(&self) -> Call<Vec<messages::ModelListing>> {
        self.ask(messages::ModelsList {})
    }

    pub(crate) async fn send(&self, asked: &Asked) -> Result<InFlight, Error> {
        self.shared.send(asked).await
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Host")
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
