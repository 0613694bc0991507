//! A request before it is sent: how it is to be asked, and in which form its answer is wanted.

use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::Error;
use crate::host::Host;
use crate::messages::{Progress, Streamed};
use crate::stream::AnswerStream;

/// What is sent.
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) params: Value,
    pub(crate) first_seq: u64,
}

/// Told of progress, in place of the stream.
pub(crate) type OnProgress = Box<dyn FnMut(&Progress) + Send>;

/// A request: `.await` it for its result, or `.stream()` it where the answer comes in pieces. Nothing is sent
/// before. Dropping the future or the stream cancels the request at the host.
#[must_use = "nothing is asked before it is awaited or streamed"]
pub struct Call<R> {
    pub(crate) host: Host,
    pub(crate) asked: Result<Asked, Error>,
    pub(crate) retry: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) on_progress: Option<OnProgress>,
    result: PhantomData<fn() -> R>,
}

impl<R> Call<R> {
    pub(crate) fn new(host: Host, method: &str, params: Result<Value, Error>) -> Self {
        let asked = params.map(|params| Asked {
            method: method.to_owned(),
            params,
            first_seq: 0,
        });
        Self {
            host,
            asked,
            retry: false,
            timeout: None,
            on_progress: None,
            result: PhantomData,
        }
    }

    /// Ask once more if the host dies before anything of the answer has come. It may have begun the request, so
    /// this is for what may be done twice: all but what changes something (a `chat` in a session, a pull).
    pub fn retry(mut self) -> Self {
        self.retry = true;
        self
    }

    /// Give up after this long, with [`Error::Timeout`], and cancel the request.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Be told how far a load or a pull is that the answer waits for. In a stream they are
    /// [`Event::Progress`](crate::Event::Progress) without this.
    pub fn on_progress(mut self, callback: impl FnMut(&Progress) + Send + 'static) -> Self {
        self.on_progress = Some(Box::new(callback));
        self
    }
}

impl<R: Streamed> Call<R> {
    /// The answer as it comes.
    pub fn stream(mut self) -> AnswerStream<R> {
        if let Ok(Asked {
            params: Value::Object(params),
            ..
        }) = &mut self.asked
        {
            params.insert("stream".to_owned(), Value::Bool(true));
        }
        AnswerStream::new(self)
    }

    /// The answer of a request that is streamed by its nature.
    pub(crate) fn streamed_from(mut self, first_seq: u64) -> AnswerStream<R> {
        if let Ok(asked) = &mut self.asked {
            asked.first_seq = first_seq;
        }
        AnswerStream::new(self)
    }
}

impl<R: DeserializeOwned + Send + 'static> IntoFuture for Call<R> {
    type Output = Result<R, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(AnswerStream::new(self).result())
    }
}

impl<R> fmt::Debug for Call<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = self.asked.as_ref().map(|asked| asked.method.as_str());
        formatter
            .debug_struct("Call")
            .field("method", &method)
            .finish_non_exhaustive()
    }
}
