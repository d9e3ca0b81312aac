//! The operator for all logic with state: [`by_epoch`] deals with timely, an [`EpochFold`] with the
//! data.
//!
//! ```text
//!  updates ──► kept by their time ──► update() as soon as no earlier time can arrive
//!  queries ──► kept by their time ──► query()  once the time is complete
//!                                     close()  then, until it is done ──► outputs
//! ```
//!
//! Messages of a later time may arrive while an earlier time is open, but a fold has one version of
//! its state. The operator therefore holds input back: a fold sees the times in order, each
//! complete before the next.

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::ParallelizationContract;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::order::TotalOrder;
use timely::progress::Timestamp;

use super::outputs::Outputs;
use super::stash::{DueInput, Stash};

/// Logic with state, on one worker: it receives the updates of a time in any order, and emits
/// changes when the time is complete. It does not know timely, and a test can call it.
///
/// ```
/// use reprise_dataflows::operators::{Closing, EpochFold, Outputs, by_epoch};
/// use timely::dataflow::channels::pact::Pipeline;
/// use timely::dataflow::operators::capture::{Capture, Extract};
/// use timely::dataflow::operators::vec::ToStream;
///
/// /// The largest number so far, at each time; a query asks whether it exceeds a limit.
/// #[derive(Default)]
/// struct Largest {
///     largest: u32,
///     limits: Vec<u32>,
/// }
///
/// impl EpochFold<u64> for Largest {
///     type Update = u32;
///     type Query = u32;
///     type Outputs = (u32, bool);
///
///     fn update(&mut self, numbers: Vec<u32>) {
///         self.largest = self.largest.max(numbers.into_iter().max().unwrap_or(0));
///     }
///
///     fn query(&mut self, limits: Vec<u32>) {
///         self.limits.extend(limits);
///     }
///
///     fn close(
///         &mut self,
///         _time: &u64,
///         (largest, exceeds): <Self::Outputs as Outputs<u64>>::Emit<'_>,
///     ) -> Closing {
///         largest(self.largest);
///         self.limits.drain(..).for_each(|limit| exceeds(self.largest > limit));
///         Closing::Done
///     }
/// }
///
/// let (largest, exceeds) = timely::example(|scope| {
///     let (numbers, limits) = ([3, 8, 5].to_stream(scope), [7].to_stream(scope));
///     let (largest, exceeds) = by_epoch("Largest", numbers, Pipeline, limits, Largest::default());
///     (largest.capture(), exceeds.capture())
/// });
/// assert_eq!(largest.extract(), [(0, vec![8])]);
/// assert_eq!(exceeds.extract(), [(0, vec![true])]);
/// ```
pub trait EpochFold<T: Timestamp>: 'static {
    /// An input of the state.
    type Update: Clone + 'static;
    /// A query or an instruction that refers to the end of a time.
    type Query: Clone + 'static;
    /// The types of the outputs, as a tuple of one to three.
    type Outputs: Outputs<T>;

    /// The time of an update, if it can be later than the time of its message.
    fn time_of(_update: &Self::Update) -> Option<&T> {
        None
    }

    /// Receives some of the updates of the open time.
    fn update(&mut self, updates: Vec<Self::Update>);

    /// Receives some of the queries of the open time, after all its updates.
    fn query(&mut self, queries: Vec<Self::Query>);

    /// Ends the open time, which is `time`. Emits changes and answers by `emit`, which has a
    /// function for each output. After [`Closing::More`], other operators run, and `close` is
    /// called again.
    fn close(&mut self, time: &T, emit: <Self::Outputs as Outputs<T>>::Emit<'_>) -> Closing;
}

/// Whether [`EpochFold::close`] has emitted all output of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// The time is closed.
    Done,
    /// There is more to emit.
    More,
}

/// Input that waits for its time.
enum Input<U, Q> {
    Updates(Vec<U>),
    Queries(Vec<Q>),
}

/// An operator called `name` that passes `updates` and `queries` to `fold`, time by time. `pact`
/// exchanges the updates; queries stay on their worker.
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
        // The queries of the open time.
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

/// Groups `updates`, whose message has the time `time`, by their own times.
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
