//! Long answers that are made while they are read.
//!
//! They are never in memory as a whole. What one does cost is the charts that it reads from, which are kept as they were when it
//! began. So only a few are read at the same time; and a client that has taken nothing for some seconds loses its place to the
//! next who asks, together with the charts that it held.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Bytes, HttpBody};
use hyper::body::Frame;

/// How long a client that takes no piece of its answer keeps its place when others want it.
const STALLED_AFTER: Duration = Duration::from_secs(5);

/// Marks a response whose body is made while it is read, so that nobody collects it.
#[derive(Clone, Copy)]
pub struct Streamed;

/// Makes an answer, piece by piece.
pub type Pieces = Box<dyn Iterator<Item = Bytes> + Send>;

/// Those who read at the same time.
pub struct Readers {
    max: usize,
    stalled_after: Duration,
    seats: Mutex<Vec<Arc<Mutex<Seat>>>>,
}

struct Seat {
    /// None when another reader has been given the place.
    pieces: Option<Pieces>,
    /// When the client last took a piece.
    taken_at: Instant,
}

/// The body of an answer.
pub struct Reading(Arc<Mutex<Seat>>);

impl Readers {
    /// Room for `max` readers.
    pub fn new(max: usize) -> Self {
        Self { max, stalled_after: STALLED_AFTER, seats: Mutex::default() }
    }

    /// Begins an answer, if there is a place; none if all are taken by clients that read.
    ///
    /// # Errors
    /// That of `make`, which is called only when there is a place.
    pub fn open<E>(&self, make: impl FnOnce() -> Result<Pieces, E>) -> Result<Option<Reading>, E> {
        let mut seats = lock(&self.seats);
        seats.retain(|seat| Arc::strong_count(seat) > 1);
        if seats.len() >= self.max {
            let Some((index, stalled_at)) =
                seats.iter().enumerate().map(|(index, seat)| (index, lock(seat).taken_at)).min_by_key(|(_, at)| *at)
            else {
                return Ok(None);
            };
            if stalled_at.elapsed() < self.stalled_after {
                return Ok(None);
            }
            lock(&seats.swap_remove(index)).pieces = None;
        }
        let seat = Arc::new(Mutex::new(Seat { pieces: Some(make()?), taken_at: Instant::now() }));
        seats.push(seat.clone());
        Ok(Some(Reading(seat)))
    }
}

impl HttpBody for Reading {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let mut seat = lock(&self.0);
        seat.taken_at = Instant::now();
        Poll::Ready(match &mut seat.pieces {
            Some(pieces) => pieces.next().map(|piece| Ok(Frame::data(piece))),
            None => Some(Err(io::Error::other("the client took nothing for too long, and another has its place"))),
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn open(readers: &Readers, held: &Arc<()>) -> Option<Reading> {
        let held = held.clone();
        let pieces = std::iter::repeat_with(move || Bytes::from(vec![0; 1 + Arc::strong_count(&held)]));
        readers.open(|| Ok::<_, Infallible>(Box::new(pieces) as Pieces)).unwrap()
    }

    fn takes(reading: &mut Reading) -> Option<Result<Frame<Bytes>, io::Error>> {
        let mut context = Context::from_waker(std::task::Waker::noop());
        match Pin::new(reading).poll_frame(&mut context) {
            Poll::Ready(piece) => piece,
            Poll::Pending => panic!("a piece is always there"),
        }
    }

    #[test]
    fn those_who_read_keep_their_places() {
        let (readers, held) = (Readers::new(2), Arc::new(()));
        let (first, second) = (open(&readers, &held), open(&readers, &held));
        assert!(first.is_some() && second.is_some() && open(&readers, &held).is_none());
        drop(first);
        let mut third = open(&readers, &held).unwrap();
        assert!(takes(&mut third).unwrap().is_ok());
    }

    #[test]
    fn who_has_stalled_longest_loses_its_place_and_what_it_held() {
        let (readers, held) = (Readers { stalled_after: Duration::ZERO, ..Readers::new(2) }, Arc::new(()));
        let mut first = open(&readers, &held).unwrap();
        let mut second = open(&readers, &held).unwrap();
        assert!(takes(&mut first).unwrap().is_ok());
        let third = open(&readers, &held);
        assert!(third.is_some() && Arc::strong_count(&held) == 3);
        assert!(takes(&mut second).unwrap().is_err() && takes(&mut first).unwrap().is_ok());
    }
}
