//! The operator that emits the tallies and names of a checkpoint in the first epoch.
//!
//! Each worker reads its share of the hash buckets in batches, and holds the epoch open until it
//! has emitted all of them.

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::Result;
use differential_dataflow::AsCollection;
use reprise_dataflows::names::catalogue::Naming;
use reprise_dataflows::operators::{Outputs, TickedSource, Turn, by_tick};
use reprise_dataflows::{Epoch, Tallied, Tally, Tick};
use timely::dataflow::StreamVec;

use super::{BUCKETS, Checkpoint};

/// A batch of a checkpoint.
enum Piece {
    Tallies(Vec<(Tally, i64)>),
    Namings(Vec<Naming>),
}

type Pieces = Box<dyn Iterator<Item = Result<Piece>>>;

/// Emits the content of `checkpoint`, or nothing without one. Read errors go to `fail`, which does
/// not return.
pub fn checkpoint<'scope>(
    ticks: StreamVec<'scope, Epoch, Tick>,
    checkpoint: Option<Arc<Checkpoint>>,
    fail: impl Fn(anyhow::Error) + 'static,
) -> Tallied<'scope> {
    let (worker, workers) = (ticks.scope().index(), ticks.scope().peers());
    let pieces = checkpoint.map(|checkpoint| pieces(checkpoint, worker, workers));
    let open = |_waker| Ok::<_, Infallible>(Read { pieces, fail });
    let Ok((tallies, namings)) = by_tick("Checkpoint", ticks, open);
    Tallied { tallies: tallies.as_collection(), namings }
}

/// The batches that are left; `None` when all have been emitted.
struct Read<F> {
    pieces: Option<Pieces>,
    fail: F,
}

impl<F: Fn(anyhow::Error) + 'static> TickedSource for Read<F> {
    type Outputs = ((Tally, Epoch, i64), Naming);

    fn begin(&mut self, _tick: &Tick) {}

    fn end(&mut self, _tick: &Tick, _emit: <Self::Outputs as Outputs<Epoch>>::Emit<'_>) {}

    /// All of the checkpoint belongs to the first epoch.
    fn stays(&self) -> bool {
        self.pieces.is_some()
    }

    fn turn(&mut self, tick: &Tick, (tallies, namings): <Self::Outputs as Outputs<Epoch>>::Emit<'_>) -> Turn {
        match self.pieces.as_mut().and_then(Iterator::next) {
            Some(Ok(Piece::Tallies(piece))) => {
                piece.into_iter().for_each(|(tally, plays)| tallies((tally, tick.epoch, plays)));
            }
            Some(Ok(Piece::Namings(piece))) => piece.into_iter().for_each(namings),
            Some(Err(error)) => (self.fail)(error),
            None => {
                self.pieces = None;
                return Turn::Done;
            }
        }
        Turn::Next
    }
}

/// A worker's share of the batches. The names come first, because a tally is ranked once its item
/// has a name.
fn pieces(checkpoint: Arc<Checkpoint>, worker: usize, workers: usize) -> Pieces {
    let mine = move || (worker..BUCKETS).step_by(workers);
    let names = checkpoint.clone();
    let namings = mine().flat_map(move |bucket| opened(names.namings(bucket).map(boxed), Piece::Namings));
    Box::new(
        namings.chain(mine().flat_map(move |bucket| opened(checkpoint.tallies(bucket).map(boxed), Piece::Tallies))),
    )
}

fn boxed<T>(pieces: impl Iterator<Item = Result<T>> + 'static) -> Box<dyn Iterator<Item = Result<T>>> {
    Box::new(pieces)
}

fn opened<T: 'static>(pieces: Result<Box<dyn Iterator<Item = Result<T>>>>, piece: fn(T) -> Piece) -> Pieces {
    match pieces {
        Ok(pieces) => Box::new(pieces.map(move |found| found.map(piece))),
        Err(error) => Box::new(std::iter::once(Err(error))),
    }
}
