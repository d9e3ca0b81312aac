//! One operator for every semantic that has state: [`by_epoch`] does timely's part, an [`EpochFold`] the rest.
//!
//! ```text
//!  updates ──► kept by their time ──► update() as soon as no earlier time can come
//!  queries ──► kept by their time ──► query()  once the time is complete
//!                                     close()  then, until it is done ──► outputs
//! ```
//!
//! Messages of a later time may arrive while an earlier one is still open, but a fold has one version of its state. So input
//! waits here, and a fold sees the times in order, each complete before the next one begins.

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::ParallelizationContract;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::order::TotalOrder;
use timely::progress::Timestamp;

use super::outputs::Outputs;
use super::stash::{DueInput, Stash};

/// What one worker keeps of a semantic: it takes the updates of a time in any order, and says what has changed when the time is
/// complete. It knows nothing of timely, so that tests can call it.
pub trait EpochFold<T: Timestamp>: 'static {
    /// What the state is made of.
    type Update: Clone + 'static;
    /// What is told or asked as of the end of a time.
    type Query: Clone + 'static;
    /// What comes out: a tuple of one to three types, an output for each.
    type Outputs: Outputs<T>;

    /// The time of an update, where that can be later than the time of the message that it comes in.
    fn time_of(_update: &Self::Update) -> Option<&T> {
        None
    }

    /// Takes in some of the updates of the open time.
    fn update(&mut self, updates: Vec<Self::Update>);

    /// Takes in some of what is told or asked as of the end of the open time, when all its updates are there.
    fn query(&mut self, queries: Vec<Self::Query>);

    /// Ends the open time, which is `time`, by giving what has changed and the answers to `emit`: a function for each output.
    /// Where it returns [`Closing::More`], other operators get their turn, and it is called again.
    fn close(&mut self, time: &T, emit: <Self::Outputs as Outputs<T>>::Emit<'_>) -> Closing;
}

/// Whether a time is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    Done,
    More,
}

/// Some input that waits for its time.
enum Input<U, Q> {
    Updates(Vec<U>),
    Queries(Vec<Q>),
}

/// An operator that gives `updates`, which travel by `pact`, and `queries`, which stay on their worker, to `fold`, time by time.
pub fn by_epoch<'scope, T, F>(
    name: &str,
    updates: StreamVec<'scope, T, F::Update>,
    pact: impl ParallelizationContract<T, Vec<F::Update>>,
    queries: StreamVec<'scope, T, F::Query>,
    mut fold: F,
) -> <F::Outputs as Outputs<T>>::Streams<'scope>
where
    T: Timestamp + TotalOrder,
    F: EpochFold<T>,
{
    let scope = updates.scope();
    let mut builder = OperatorBuilder::new(name.to_owned(), scope);
    let activator = scope.activator_for(builder.operator_info().address);
    let mut updates = builder.new_input(updates, pact);
    let mut queries = builder.new_input(queries, timely::dataflow::channels::pact::Pipeline);
    let (mut ports, streams) = F::Outputs::open(&mut builder);
    builder.build(move |_capabilities| {
        let mut stash = Stash::new();
        // Of the open time.
        let mut queried = Vec::new();
        let mut closing = None;
        move |frontiers| {
            updates.for_each_stamp(|capability, containers| {
                let Some(capabilities) = F::Outputs::retain(&capability) else { return };
                for updates in containers.map(std::mem::take) {
                    for (time, updates) in by_time::<T, F>(F::Outputs::time(&capabilities), updates) {
                        let capabilities = F::Outputs::delayed(&capabilities, &time);
                        stash.keep(time, capabilities, Input::Updates(updates));
                    }
                }
            });
            queries.for_each_stamp(|capability, containers| {
                let Some(capabilities) = F::Outputs::retain(&capability) else { return };
                for queries in containers.map(std::mem::take) {
                    let time = F::Outputs::time(&capabilities).clone();
                    stash.keep(time.clone(), F::Outputs::delayed(&capabilities, &time), Input::Queries(queries));
                }
            });
            loop {
                if let Some((time, capabilities)) = &closing {
                    let closed = F::Outputs::emit(&mut ports, capabilities, |emit| fold.close(time, emit));
                    if closed == Closing::More {
                        return activator.activate();
                    }
                    closing = None;
                }
                let Some(DueInput { time, inputs, complete }) = stash.next(frontiers) else { return };
                for input in inputs {
                    match input {
                        Input::Updates(updates) => fold.update(updates),
                        Input::Queries(queries) => queried.push(queries),
                    }
                }
                let Some(capabilities) = complete else { return };
                queried.drain(..).for_each(|queries| fold.query(queries));
                closing = Some((time, capabilities));
            }
        }
    });
    streams
}

/// `updates`, which came at `time`, by their own times.
fn by_time<T: Timestamp + TotalOrder, F: EpochFold<T>>(
    time: &T,
    updates: Vec<F::Update>,
) -> impl Iterator<Item = (T, Vec<F::Update>)> {
    let mut by_time = std::collections::BTreeMap::<T, Vec<F::Update>>::new();
    if updates.iter().all(|update| F::time_of(update).is_none_or(|own| own == time)) {
        by_time.insert(time.clone(), updates);
    } else {
        for update in updates {
            let time = F::time_of(&update).unwrap_or(time).clone();
            by_time.entry(time).or_default().push(update);
        }
    }
    by_time.into_iter()
}
