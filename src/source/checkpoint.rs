//! A checkpoint → tallies: an operator that gives, in the first epoch, what has been counted of the lake already.
//!
//! Each worker reads its share of the hash buckets, piece by piece, and holds the epoch open until it is through.

use std::sync::Arc;

use anyhow::Result;
use differential_dataflow::AsCollection;
use reprise_dataflows::catalogue::Naming;
use reprise_dataflows::{Epoch, Tallied, Tally, Tick};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::checkpoint::{BUCKETS, Checkpoint};

/// Some of what a checkpoint holds.
enum Piece {
    Tallies(Vec<(Tally, i64)>),
    Namings(Vec<Naming>),
}

type Pieces = Box<dyn Iterator<Item = Result<Piece>>>;

/// Gives what `checkpoint` holds, or nothing. What cannot be read goes to `fail`, which does not return.
pub fn checkpoint<'scope>(
    ticks: StreamVec<'scope, Epoch, Tick>,
    checkpoint: Option<Arc<Checkpoint>>,
    fail: impl Fn(anyhow::Error) + 'static,
) -> Tallied<'scope> {
    let scope = ticks.scope();
    let (worker, workers) = (scope.index(), scope.peers());
    let mut builder = OperatorBuilder::new("Checkpoint".to_owned(), scope);
    let activator = scope.activator_for(builder.operator_info().address);
    let mut input = builder.new_input(ticks, Pipeline);
    let (tallies_output, tallies) = builder.new_output::<Vec<(Tally, Epoch, i64)>>();
    let (namings_output, namings) = builder.new_output::<Vec<Naming>>();
    builder.build(move |_capabilities| {
        let mut tallies_output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(tallies_output);
        let mut namings_output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(namings_output);
        let mut pieces = checkpoint.map(|checkpoint| pieces(checkpoint, worker, workers));
        let mut open: Option<(Capability<Epoch>, Capability<Epoch>)> = None;
        move |_frontiers| {
            input.for_each_stamp(|capability, data| {
                data.for_each(|ticks| ticks.clear());
                if let (Some(_), None) = (&pieces, &open)
                    && let (Some(tallies), Some(namings)) = (capability.retain_least(0), capability.retain_least(1))
                {
                    open = Some((tallies, namings));
                }
            });
            let (Some(rest), Some((tally, naming))) = (&mut pieces, &open) else { return };
            match rest.next() {
                Some(Ok(Piece::Tallies(tallies))) => {
                    let epoch = *tally.time();
                    let updates = tallies.into_iter().map(|(tally, plays)| (tally, epoch, plays));
                    tallies_output.activate().session(tally).give_iterator(updates);
                }
                Some(Ok(Piece::Namings(namings))) => {
                    namings_output.activate().session(naming).give_iterator(namings.into_iter());
                }
                Some(Err(error)) => return fail(error),
                None => (pieces, open) = (None, None),
            }
            activator.activate();
        }
    });
    Tallied { tallies: tallies.as_collection(), namings }
}

/// A worker's share. The names come first: a tally is ranked when its item has one.
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
