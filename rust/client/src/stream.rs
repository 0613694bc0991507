//! An answer as it comes.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use serde::de::DeserializeOwned;
use tokio::time::Sleep;

use crate::call::{Asked, Call, OnProgress};
use crate::error::Error;
use crate::host::Host;
use crate::link::{InFlight, Incoming, read};
use crate::messages::{Piece, Progress};

/// What comes of an answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<R> {
    /// The next part of it.
    Piece(Piece),
    /// How far something is that it waits for; of what was told since the last look, the newest.
    Progress(Progress),
    /// The whole answer, with usage and timings; nothing follows it.
    Done(R),
}

/// An answer in pieces: a [`Stream`] of [`Event`]s that ends with [`Event::Done`] or with an error.
///
/// Dropping it cancels the request at the host. Pieces that are not taken wait here, up to
/// [`Settings::stream_buffer`](crate::Settings::stream_buffer) bytes; see there what happens then.
pub struct AnswerStream<R> {
    host: Host,
    asked: Option<Arc<Asked>>,
    step: Step,
    may_retry: bool,
    began: bool,
    cancelled: bool,
    deadline: Option<(Duration, Pin<Box<Sleep>>)>,
    timeout: Option<Duration>,
    on_progress: Option<OnProgress>,
    name: Option<String>,
    next_seq: u64,
    result: PhantomData<fn() -> R>,
}

/// A stream's member.
type Next<R> = Result<Event<R>, Error>;

enum Step {
    /// Not asked yet.
    Idle(Option<Error>),
    Opening(Pin<Box<dyn Future<Output = Result<InFlight, Error>> + Send>>),
    Open(InFlight),
    Over,
}

impl<R> AnswerStream<R> {
    pub(crate) fn new(call: Call<R>) -> Self {
        let (asked, refused) = match call.asked {
            Ok(asked) => (Some(Arc::new(asked)), None),
            Err(error) => (None, Some(error)),
        };
        Self {
            next_seq: asked.as_ref().map_or(0, |asked| asked.first_seq),
            host: call.host,
            asked,
            step: Step::Idle(refused),
            may_retry: call.retry,
            began: false,
            cancelled: false,
            deadline: None,
            timeout: call.timeout,
            on_progress: call.on_progress,
            name: None,
            result: PhantomData,
        }
    }

    /// The stream's name and the next piece's number, where `resumable` was asked for and the first piece has come:
    /// what [`Host::resume`] wants once the connection is lost.
    pub fn place(&self) -> Option<(&str, u64)> {
        Some((self.name.as_deref()?, self.next_seq))
    }

    /// Ask the host to stop. What comes then is the error `cancelled`, with the text and usage so far.
    pub fn cancel(&mut self) {
        self.cancelled = true;
        match &self.step {
            Step::Open(in_flight) => in_flight.cancel(),
            Step::Idle(_) | Step::Opening(_) => self.step = Step::Idle(Some(never_sent())),
            Step::Over => {}
        }
    }

    fn open(&self) -> Step {
        let Some(asked) = self.asked.clone() else {
            return Step::Over;
        };
        let host = self.host.clone();
        Step::Opening(Box::pin(async move { host.send(&asked).await }))
    }

    fn method(&self) -> &str {
        self.asked.as_ref().map_or("", |asked| &asked.method)
    }
}

impl<R: DeserializeOwned> AnswerStream<R> {
    /// The next event; none once the answer or an error has come.
    pub async fn next(&mut self) -> Option<Result<Event<R>, Error>> {
        std::future::poll_fn(|context| self.poll_event(context)).await
    }

    /// The whole answer; pieces that have not been taken are skipped.
    ///
    /// # Errors
    /// Whatever ended it. After its end has been taken by [`AnswerStream::next`] there is no more to be had.
    pub async fn result(mut self) -> Result<R, Error> {
        loop {
            match self.next().await {
                Some(Ok(Event::Done(result))) => return Ok(result),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => {
                    return Err(Error::Stopped {
                        why: "the answer has been taken already".to_owned(),
                    });
                }
            }
        }
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Next<R>>> {
        loop {
            if let Some(error) = self.timed_out(context) {
                return self.end(Err(error));
            }
            match &mut self.step {
                Step::Over => return Poll::Ready(None),
                Step::Idle(Some(error)) => {
                    let error = error.clone();
                    return self.end(Err(error));
                }
                Step::Idle(None) => self.step = self.open(),
                Step::Opening(opening) => match ready!(opening.as_mut().poll(context)) {
                    Ok(in_flight) => self.step = Step::Open(in_flight),
                    Err(error) => return self.end(Err(error)),
                },
                Step::Open(in_flight) => {
                    let come = ready!(in_flight.poll_next(context));
                    if let Some(event) = self.take(come) {
                        return event;
                    }
                }
            }
        }
    }

    /// What somebody who asked is told of what came, if anything.
    fn take(&mut self, come: Incoming) -> Option<Poll<Option<Next<R>>>> {
        match come {
            Incoming::Piece(piece) => {
                self.began = true;
                self.next_seq = piece.seq + 1;
                if let Some(name) = &piece.stream {
                    self.name = Some(name.clone());
                }
                Some(Poll::Ready(Some(Ok(Event::Piece(*piece)))))
            }
            Incoming::Progress(newest) => {
                let progress = newest.take()?;
                let Some(on_progress) = &mut self.on_progress else {
                    return Some(Poll::Ready(Some(Ok(Event::Progress(progress)))));
                };
                on_progress(&progress);
                None
            }
            Incoming::Answer(json) => {
                let read = read(self.method(), &json);
                Some(self.end(read.map(Event::Done)))
            }
            Incoming::Failed(error)
                if error.is_host_death() && self.may_retry && !self.began && !self.cancelled =>
            {
                self.may_retry = false;
                self.step = Step::Idle(None);
                None
            }
            Incoming::Failed(error) => Some(self.end(Err(error))),
        }
    }

    fn timed_out(&mut self, context: &mut Context<'_>) -> Option<Error> {
        if matches!(self.step, Step::Over) {
            return None;
        }
        if let Some(waited) = self.timeout.take() {
            self.deadline = Some((waited, Box::pin(tokio::time::sleep(waited))));
        }
        let (waited, sleep) = self.deadline.as_mut()?;
        sleep
            .as_mut()
            .poll(context)
            .is_ready()
            .then_some(Error::Timeout { waited: *waited })
    }

    fn end(&mut self, last: Next<R>) -> Poll<Option<Next<R>>> {
        self.step = Step::Over;
        Poll::Ready(Some(last))
    }
}

impl<R: DeserializeOwned> Stream for AnswerStream<R> {
    type Item = Result<Event<R>, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_event(context)
    }
}

impl<R> fmt::Debug for AnswerStream<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AnswerStream")
            .field("method", &self.method())
            .finish_non_exhaustive()
    }
}

fn never_sent() -> Error {
    Error::Rpc(crate::error::RpcError::cancelled())
}
