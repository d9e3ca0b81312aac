//! One operator for work that another thread does: [`answered_later`] holds the epochs that wait for an answer, a
//! [`Correspondent`] hands the work over and brings the answers back.

use std::collections::BTreeMap;

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{ParallelizationContract, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;
use timely::progress::frontier::MutableAntichain;
use timely::scheduling::SyncActivator;

use crate::tick::Epoch;

/// What hands work to another thread, and brings back what that says.
pub trait Correspondent: 'static {
    /// What the work is about.
    type Update: Clone + 'static;
    /// What is to be done with it, and when.
    type Query: Clone + 'static;
    /// What the thread says for an epoch.
    type Answer: Clone + 'static;

    /// Takes in some updates of `epoch`. Returns whether an answer will come for that epoch.
    fn update(&mut self, epoch: Epoch, updates: Vec<Self::Update>) -> bool;

    /// Takes in some queries of `epoch`. Returns whether an answer will come for that epoch.
    fn query(&mut self, epoch: Epoch, queries: Vec<Self::Query>) -> bool;

    /// Hands over what is due: of epochs before these, all updates and all queries have come. `None` is the end.
    fn hand_over(&mut self, updates_before: Option<Epoch>, queries_before: Option<Epoch>);

    /// The next answer that has come, and the epoch that it is for.
    fn answer(&mut self) -> Option<(Epoch, Self::Answer)>;
}

/// An operator called `name` that holds each epoch until its answer has come, and gives the answer at that epoch. So whoever
/// watches the frontier of its output knows what is done. `open` gets what the other thread wakes the operator with.
///
/// # Errors
/// Those of `open`.
pub fn answered_later<'scope, C: Correspondent, E>(
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
        let mut correspondent = opened.map_err(|error| failed = Some(error)).ok();
        let mut held = BTreeMap::<Epoch, Capability<Epoch>>::new();
        move |(updates, updates_frontier), (queries, queries_frontier), output| {
            let Some(correspondent) = &mut correspondent else { return };
            updates.for_each_stamp(|capability, containers| {
                let Some(capability) = capability.retain_least(output.output_index()) else { return };
                for updates in containers {
                    if correspondent.update(*capability.time(), std::mem::take(updates)) {
                        held.entry(*capability.time()).or_insert_with(|| capability.clone());
                    }
                }
            });
            queries.for_each_stamp(|capability, containers| {
                let Some(capability) = capability.retain_least(output.output_index()) else { return };
                for queries in containers {
                    if correspondent.query(*capability.time(), std::mem::take(queries)) {
                        held.entry(*capability.time()).or_insert_with(|| capability.clone());
                    }
                }
            });
            correspondent.hand_over(first(updates_frontier), first(queries_frontier));
            while let Some((epoch, answer)) = correspondent.answer() {
                if let Some(capability) = held.remove(&epoch) {
                    output.session(&capability).give(answer);
                }
            }
        }
    });
    failed.map_or(Ok(answers), Err)
}

fn first(frontier: &MutableAntichain<Epoch>) -> Option<Epoch> {
    frontier.frontier().first().copied()
}
