//! The operator for work of another thread: [`off_thread`] holds the epochs that wait for an
//! answer, and a [`OffThread`] hands over the work and returns the answers.

use std::collections::BTreeMap;

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{ParallelizationContract, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;
use timely::progress::frontier::MutableAntichain;
use timely::scheduling::SyncActivator;

use crate::tick::Epoch;

/// Hands work to another thread, and returns its answers.
pub trait OffThread: 'static {
    /// The data of the work.
    type Update: Clone + 'static;
    /// An instruction about the data, as of the end of an epoch.
    type Query: Clone + 'static;
    /// The thread's answer for an epoch.
    type Answer: Clone + 'static;

    /// Receives some updates of `epoch`. Returns whether an answer will follow for that epoch.
    fn update(&mut self, epoch: Epoch, updates: Vec<Self::Update>) -> bool;

    /// Receives some queries of `epoch`. Returns whether an answer will follow for that epoch.
    fn query(&mut self, epoch: Epoch, queries: Vec<Self::Query>) -> bool;

    /// Hands over the work that is complete: all updates of epochs before `updates_before` have
    /// arrived, and all queries of epochs before `queries_before`. `None` is the end of the input.
    fn hand_over(&mut self, updates_before: Option<Epoch>, queries_before: Option<Epoch>);

    /// The next answer that has arrived, with its epoch; `None` if there is none now.
    fn answer(&mut self) -> Option<(Epoch, Self::Answer)>;
}

/// An operator called `name` that holds each epoch until its answer has arrived, and emits the
/// answer at that epoch: the frontier of the output shows which epochs are done. `open` gets the
/// activator with which the other thread wakes the operator.
///
/// # Errors
/// If `open` fails.
pub fn off_thread<'scope, C: OffThread, E>(
    name: &str,
    updates: StreamVec<'scope, Epoch, C::Update>,
    pact: impl ParallelizationContract<Epoch, Vec<C::Update>>,
    queries: StreamVec<'scope, Epoch, C::Query>,
    open: impl FnOnce(SyncActivator) -> Result<C, E>,
) -> Result<StreamVec<'scope, Epoch, C::Answer>, E> {
    let worker = updates.scope().worker();
    let mut failed = None;
    let answers = updates.binary_frontier(queries, pact, Pipeline, name, |_capability, info| {
        let opened = open(worker.sync_activator_for(info.address.to_vec()));
        let mut work = opened.map_err(|error| failed = Some(error)).ok();
        let mut held = BTreeMap::<Epoch, Capability<Epoch>>::new();
        move |(updates, updates_frontier), (queries, queries_frontier), output| {
            let Some(work) = &mut work else { return };
            updates.for_each_stamp(|capability, containers| {
                let Some(capability) = capability.retain_least(output.output_index()) else { return };
                for updates in containers {
                    if work.update(*capability.time(), std::mem::take(updates)) {
                        held.entry(*capability.time()).or_insert_with(|| capability.clone());
                    }
                }
            });
            queries.for_each_stamp(|capability, containers| {
                let Some(capability) = capability.retain_least(output.output_index()) else { return };
                for queries in containers {
                    if work.query(*capability.time(), std::mem::take(queries)) {
                        held.entry(*capability.time()).or_insert_with(|| capability.clone());
                    }
                }
            });
            work.hand_over(first(updates_frontier), first(queries_frontier));
            while let Some((epoch, answer)) = work.answer() {
                if let Some(capability) = held.remove(&epoch) {
                    output.session(&capability).give(answer);
                }
            }
        }
    });
    failed.map_or(Ok(answers), Err)
}

/// The first epoch that may still arrive.
fn first(frontier: &MutableAntichain<Epoch>) -> Option<Epoch> {
    frontier.frontier().first().copied()
}
