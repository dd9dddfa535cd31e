//! Bodies of answers: whole, a list of records written piece by piece, or records as they come.
//!
//! A long list is never held as text as a whole, and a follower is read only as fast as its client reads.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::watch;

use super::server::stopped;
use crate::flow::{Followed, Follower, Record, write_line, write_lost};
use crate::metrics::Metrics;

/// A piece of a body, about.
const PIECE: usize = 64 * 1024;

/// The body of an answer.
pub(crate) enum Body {
    /// All of it.
    Whole(Bytes),
    /// These records, a line each.
    Records(std::vec::IntoIter<Arc<Record>>),
    /// Records as they come, until the agent ends.
    Follow(NextPiece),
}

/// Makes the next piece; gives the source back for the one after it.
type NextPiece = Pin<Box<dyn Future<Output = (Option<Bytes>, Source)> + Send>>;

/// What a following body reads.
pub(crate) struct Source {
    follower: Follower,
    metrics: Arc<Metrics>,
    shutdown: watch::Receiver<bool>,
}

impl Body {
    pub(super) fn follow(follower: Follower, metrics: Arc<Metrics>, shutdown: watch::Receiver<bool>) -> Self {
        Self::Follow(Box::pin(next_piece(Source { follower, metrics, shutdown })))
    }

    /// Whether it goes on for as long as the client likes.
    pub(super) fn follows(&self) -> bool {
        matches!(self, Self::Follow(_))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match &mut *self {
            Self::Whole(bytes) => std::mem::take(bytes),
            Self::Records(records) => lines(records),
            Self::Follow(next) => {
                let (piece, source) = ready!(next.as_mut().poll(context));
                let Some(piece) = piece else {
                    *self = Self::Whole(Bytes::new());
                    return Poll::Ready(None);
                };
                *next = Box::pin(next_piece(source));
                piece
            }
        };
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Records(_) | Self::Follow(_) => SizeHint::default(),
        }
    }
}

/// The next lines of a list; empty at its end.
fn lines(records: &mut std::vec::IntoIter<Arc<Record>>) -> Bytes {
    let mut piece = Vec::new();
    while piece.len() < PIECE
        && let Some(record) = records.next()
    {
        write_line(&mut piece, &record);
    }
    piece.into()
}

/// Waits for something to show, then takes what else is there. `None` when the agent ends.
async fn next_piece(mut source: Source) -> (Option<Bytes>, Source) {
    let mut next = tokio::select! {
        biased;
        () = stopped(&mut source.shutdown) => None,
        followed = source.follower.next() => Some(followed),
    };
    if next.is_none() {
        return (None, source);
    }
    let mut piece = Vec::new();
    while let Some(followed) = next {
        match followed {
            Followed::Record(record) => write_line(&mut piece, &record),
            Followed::Lost(count) => {
                source.metrics.flow_records_lost(count);
                write_lost(&mut piece, count);
            }
        }
        next = if piece.len() < PIECE { source.follower.try_next() } else { None };
    }
    (Some(piece.into()), source)
}
