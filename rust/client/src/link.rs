//! One connection to a host, as long as it lasts: requests go out numbered, and what comes back goes to whoever
//! asked.
//!
//! The reader never waits for anybody. One pipe carries all answers, so a client that stopped reading because one
//! stream is not taken would stop the host for all of them, and its own pings too. So what is not taken is kept,
//! up to a limit, and then that stream alone is cancelled.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::error::{Error, RpcError, WireError};
use crate::frames::{self, Unreadable};
use crate::long_result::{Chunk, LongResult};
use crate::messages::{Piece, Progress};
use crate::settings::Settings;

const PEERS_MAX_FRAME: usize = 64 * 1024 * 1024;
/// Requests that wait to be written hold no more than this; a longer one goes alone.
const MOST_WAITING_BYTES: usize = 16 * 1024 * 1024;
/// What a piece holds beside its text, about.
const PIECE_BYTES: usize = 128;

/// What comes of a request, in order; nothing follows an answer or a failure.
pub(crate) enum Incoming {
    Piece(Box<Piece>),
    Progress(NewestProgress),
    Answer(Vec<u8>),
    Failed(Error),
}

/// How far a request is. A host may tell that as often as it likes: what was not taken gives way to what is newer.
#[derive(Clone, Default)]
pub(crate) struct NewestProgress(Arc<Mutex<Option<Progress>>>);

impl NewestProgress {
    /// Whether nothing was waiting.
    fn put(&self, progress: Progress) -> bool {
        self.waiting().replace(progress).is_none()
    }

    pub(crate) fn take(&self) -> Option<Progress> {
        self.waiting().take()
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Progress>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a request was not sent.
pub(crate) enum NotSent {
    /// The link has ended; another one may take it.
    Ended(Error),
    /// None will.
    Refused(Error),
}

enum Outgoing {
    Frame(Vec<u8>, Option<OwnedSemaphorePermit>),
    End,
}

/// What the reader knows of a request.
struct Entry {
    inbox: mpsc::UnboundedSender<Incoming>,
    waiting_bytes: Arc<AtomicUsize>,
    progress: NewestProgress,
    next_seq: u64,
    long_result: LongResult,
}

#[derive(Default)]
struct Table {
    entries: HashMap<u64, Entry>,
    ended: Option<Error>,
}

/// A connection. Requests hold it, so what ends it is `finish`, not the last of them.
pub(crate) struct Link {
    table: Mutex<Table>,
    outgoing: mpsc::UnboundedSender<Outgoing>,
    room: Arc<Semaphore>,
    last_id: AtomicU64,
    peers_max_frame: AtomicUsize,
    stream_buffer: usize,
    max_result: usize,
}

/// What the writer takes frames from.
pub(crate) struct Outbox(mpsc::UnboundedReceiver<Outgoing>);

/// Why the reader has come to its end.
pub(crate) enum End {
    /// No more bytes.
    Closed,
    /// Bytes that the contract rules out.
    Broken(String),
}

#[derive(Serialize)]
struct Envelope<'a, P: ?Sized> {
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    method: &'a str,
    params: &'a P,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(default)]
    id: Option<serde_json::Value>,
    #[serde(borrow, default)]
    method: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<WireError>,
}

#[derive(Serialize)]
struct Cancel {
    id: u64,
}

impl Link {
    pub(crate) fn new(settings: &Settings) -> (Arc<Self>, Outbox) {
        let (outgoing, outbox) = mpsc::unbounded_channel();
        let link = Self {
            table: Mutex::default(),
            outgoing,
            room: Arc::new(Semaphore::new(MOST_WAITING_BYTES)),
            last_id: AtomicU64::new(0),
            peers_max_frame: AtomicUsize::new(PEERS_MAX_FRAME),
            stream_buffer: settings.stream_buffer,
            max_result: settings.max_result,
        };
        (Arc::new(link), Outbox(outbox))
    }

    /// What the host takes, once it has said so.
    pub(crate) fn set_max_frame(&self, bytes: usize) {
        self.peers_max_frame.store(bytes, Ordering::Relaxed);
    }

    /// Send a request whose params are JSON. `first_seq`: the number of the first piece that will come.
    pub(crate) async fn request<P: Serialize + ?Sized>(
        self: &Arc<Self>,
        method: &str,
        params: &P,
        first_seq: u64,
    ) -> Result<InFlight, NotSent> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let payload = encode(Some(id), method, params).map_err(NotSent::Refused)?;
        let limit = self.peers_max_frame.load(Ordering::Relaxed);
        if payload.len() > limit {
            let bytes = payload.len();
            return Err(NotSent::Refused(Error::TooLong {
                what: "a request",
                bytes,
                limit,
            }));
        }
        let permits = u32::try_from(payload.len().min(MOST_WAITING_BYTES)).unwrap_or(u32::MAX);
        let Ok(permit) = self.room.clone().acquire_many_owned(permits).await else {
            return Err(NotSent::Ended(self.end()));
        };
        let in_flight = self.register(id, first_seq).map_err(NotSent::Ended)?;
        // Where the writer has gone, the supervisor finishes this link in a moment, and the request with it.
        let _ = self
            .outgoing
            .send(Outgoing::Frame(frames::frame(&payload), Some(permit)));
        Ok(in_flight)
    }

    /// One request of the life cycle, and its answer.
    pub(crate) async fn ask<P: Serialize, R: DeserializeOwned>(
        self: &Arc<Self>,
        method: &str,
        params: &P,
    ) -> Result<R, Error> {
        let mut in_flight = match self.request(method, params, 0).await {
            Ok(sent) => sent,
            Err(NotSent::Ended(error) | NotSent::Refused(error)) => return Err(error),
        };
        loop {
            match std::future::poll_fn(|context| in_flight.poll_next(context)).await {
                Incoming::Answer(json) => return read(method, &json),
                Incoming::Failed(error) => return Err(error),
                Incoming::Piece(_) | Incoming::Progress(_) => {}
            }
        }
    }

    /// Send a notification; without effect once the link has ended.
    pub(crate) fn notify<P: Serialize>(&self, method: &str, params: &P) {
        if let Ok(payload) = encode(None, method, params) {
            let _ = self
                .outgoing
                .send(Outgoing::Frame(frames::frame(&payload), None));
        }
    }

    /// Ask the host to stop a request.
    pub(crate) fn cancel(&self, id: u64) {
        self.notify("$/cancelRequest", &Cancel { id });
    }

    /// Let the host see the end of our bytes, behind all that is queued.
    pub(crate) fn end_writing(&self) {
        let _ = self.outgoing.send(Outgoing::End);
    }

    /// The end: whatever is under way fails with `error`, and nothing more is sent.
    pub(crate) fn finish(&self, error: &Error) {
        let orphans = {
            let mut table = self.table();
            table.ended.get_or_insert_with(|| error.clone());
            std::mem::take(&mut table.entries)
        };
        self.room.close();
        for entry in orphans.into_values() {
            let _ = entry.inbox.send(Incoming::Failed(error.clone()));
        }
    }

    fn register(self: &Arc<Self>, id: u64, first_seq: u64) -> Result<InFlight, Error> {
        let mut table = self.table();
        if let Some(error) = &table.ended {
            return Err(error.clone());
        }
        let (sender, inbox) = mpsc::unbounded_channel();
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let entry = Entry {
            inbox: sender,
            waiting_bytes: waiting_bytes.clone(),
            progress: NewestProgress::default(),
            next_seq: first_seq,
            long_result: LongResult::default(),
        };
        table.entries.insert(id, entry);
        Ok(InFlight {
            link: self.clone(),
            id,
            inbox,
            waiting_bytes,
            over: false,
        })
    }

    fn end(&self) -> Error {
        let ended = self.table().ended.clone();
        ended.unwrap_or_else(|| Error::Stopped {
            why: "the connection has ended".to_owned(),
        })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forget a request; whether there was one.
    fn forget(&self, id: u64) -> bool {
        self.table().entries.remove(&id).is_some()
    }

    fn take(&self, payload: &[u8]) -> Result<(), String> {
        let message: Message<'_> = serde_json::from_slice(payload)
            .map_err(|error| format!("what is no message: {error}"))?;
        match &message.method {
            Some(method) => self.notified(method, message.params.map_or("null", RawValue::get)),
            None => self.answered(message),
        }
    }

    fn answered(&self, message: Message<'_>) -> Result<(), String> {
        let Some(id) = message.id.as_ref().and_then(serde_json::Value::as_u64) else {
            let said = message.error.map_or_else(
                || "an answer to nothing".to_owned(),
                |error| {
                    format!(
                        "that it could not read a frame: {}",
                        RpcError::from(error).message
                    )
                },
            );
            return Err(said);
        };
        let Some(entry) = self.table().entries.remove(&id) else {
            return Ok(());
        };
        let come = match message.error {
            Some(error) => Incoming::Failed(RpcError::from(error).into()),
            None => {
                let result = message.result.map_or("null", RawValue::get);
                if entry.long_result.is_empty() {
                    Incoming::Answer(result.as_bytes().to_vec())
                } else {
                    entry
                        .long_result
                        .joined(result)
                        .map_or_else(Incoming::Failed, Incoming::Answer)
                }
            }
        };
        let _ = entry.inbox.send(come); // whoever asked may have gone just now
        Ok(())
    }

    fn notified(&self, method: &str, params: &str) -> Result<(), String> {
        let unreadable =
            |error: serde_json::Error| format!("a {method} that cannot be read: {error}");
        match method {
            "$/stream" => self.take_piece(
                serde_json::from_str(params).map_err(unreadable)?,
                params.len(),
            ),
            "$/chunk" => self.take_chunk(&serde_json::from_str(params).map_err(unreadable)?),
            "$/progress" => self.take_progress(serde_json::from_str(params).map_err(unreadable)?),
            _ => {} // of a newer host
        }
        Ok(())
    }

    fn take_piece(&self, piece: Piece, bytes: usize) {
        let id = piece.id;
        self.with_entry(id, |entry| {
            if piece.seq != entry.next_seq {
                let problem = format!(
                    "piece {} of a stream is missing; {} came",
                    entry.next_seq, piece.seq
                );
                return Err(Error::Broken { problem });
            }
            entry.next_seq += 1;
            let waiting = entry
                .waiting_bytes
                .fetch_add(bytes + PIECE_BYTES, Ordering::Relaxed);
            if waiting > self.stream_buffer {
                return Err(Error::SlowReader {
                    limit: self.stream_buffer,
                });
            }
            let _ = entry.inbox.send(Incoming::Piece(Box::new(
                piece.weighing(bytes + PIECE_BYTES),
            )));
            Ok(())
        });
    }

    fn take_chunk(&self, chunk: &Chunk<'_>) {
        self.with_entry(chunk.id, |entry| {
            entry.long_result.add(chunk, self.max_result)
        });
    }

    fn take_progress(&self, progress: Progress) {
        let id = progress.id;
        self.with_entry(id, |entry| {
            if entry.progress.put(progress) {
                let told = Incoming::Progress(entry.progress.clone());
                let _ = entry.inbox.send(told);
            }
            Ok(())
        });
    }

    /// Do something to a request; where it fails, the request has failed, and the host is told.
    fn with_entry(&self, id: u64, change: impl FnOnce(&mut Entry) -> Result<(), Error>) {
        let mut table = self.table();
        let Some(entry) = table.entries.get_mut(&id) else {
            return;
        };
        if let Err(error) = change(entry) {
            let _ = entry.inbox.send(Incoming::Failed(error));
            table.entries.remove(&id);
            drop(table);
            self.cancel(id);
        }
    }
}

/// Read until the end, and hand out what comes.
pub(crate) async fn read_all<R: AsyncRead + Unpin>(
    mut reader: R,
    link: Arc<Link>,
    max_frame: usize,
) -> End {
    loop {
        let payload = match frames::read(&mut reader, max_frame).await {
            Ok(payload) => payload,
            Err(Unreadable::Ended) => return End::Closed,
            Err(Unreadable::Broken(problem)) => return End::Broken(problem),
        };
        if let Err(problem) = link.take(&payload) {
            return End::Broken(problem);
        }
        // Whoever takes what came gets a turn too, however much there is to read.
        tokio::task::consume_budget().await;
    }
}

/// Write what is queued, until the link is told to end or nobody reads any more.
pub(crate) async fn write_all<W: AsyncWrite + Unpin>(mut writer: W, mut outbox: Outbox) {
    while let Some(Outgoing::Frame(frame, _permit)) = outbox.0.recv().await {
        if writer.write_all(&frame).await.is_err() || writer.flush().await.is_err() {
            return; // the reader sees the end too
        }
    }
    let _ = writer.shutdown().await;
}

/// A request that has been sent. Dropping it cancels it.
pub(crate) struct InFlight {
    link: Arc<Link>,
    id: u64,
    inbox: mpsc::UnboundedReceiver<Incoming>,
    waiting_bytes: Arc<AtomicUsize>,
    over: bool,
}

impl InFlight {
    /// What comes next. Not to be called after an answer or a failure.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Incoming> {
        let come = match self.inbox.poll_recv(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(come)) => come,
            Poll::Ready(None) => Incoming::Failed(self.link.end()),
        };
        match &come {
            Incoming::Piece(piece) => {
                self.waiting_bytes
                    .fetch_sub(piece.weight(), Ordering::Relaxed);
            }
            Incoming::Progress(_) => {}
            Incoming::Answer(_) | Incoming::Failed(_) => self.over = true,
        }
        Poll::Ready(come)
    }

    /// Ask the host to stop; the answer then is the error `cancelled`, with the text so far.
    pub(crate) fn cancel(&self) {
        if !self.over {
            self.link.cancel(self.id);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.over && self.link.forget(self.id) {
            self.link.cancel(self.id);
        }
    }
}

/// An answer as its type.
pub(crate) fn read<R: DeserializeOwned>(method: &str, json: &[u8]) -> Result<R, Error> {
    serde_json::from_slice(json).map_err(|error| Error::InvalidResult {
        method: method.to_owned(),
        problem: error.to_string(),
    })
}

fn encode<P: Serialize + ?Sized>(
    id: Option<u64>,
    method: &str,
    params: &P,
) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(&Envelope {
        jsonrpc: "2.0",
        id,
        method,
        params,
    })
    .map_err(|error| Error::InvalidParams {
        method: method.to_owned(),
        problem: error.to_string(),
    })
}
