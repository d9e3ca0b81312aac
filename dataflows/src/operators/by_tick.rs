//! The operator for all sources: [`by_tick`] holds the open epoch, a [`TickedSource`] reads in it.
//!
//! A source emits what it reads at the epoch of the newest tick, and releases the epoch at the next
//! tick, or earlier if it has nothing more to read. A cut is therefore the same on all workers: it
//! includes what was read before its tick, and nothing that was read after.

use std::time::Duration;

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::SyncActivator;

use super::outputs::Outputs;
use crate::tick::{Epoch, Tick};

/// Reads data from outside, in the epochs that ticks begin.
pub trait TickedSource: 'static {
    /// The types of the outputs, as a tuple of one to three.
    type Outputs: Outputs<Epoch>;

    /// Ends the open epoch, which began with `tick`: a newer tick has arrived. Emits the rest of
    /// the epoch.
    fn end(&mut self, tick: &Tick, emit: <Self::Outputs as Outputs<Epoch>>::Emit<'_>);

    /// Begins the epoch of `tick`.
    fn begin(&mut self, tick: &Tick);

    /// Whether to stay in the open epoch when a newer tick arrives, and to ignore that tick.
    fn stays(&self) -> bool {
        false
    }

    /// Reads more in the open epoch, which began with `tick`. Returns when to read next.
    fn turn(&mut self, tick: &Tick, emit: <Self::Outputs as Outputs<Epoch>>::Emit<'_>) -> Turn;
}

/// The next turn of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// After the other operators have run.
    Next,
    /// When the operator is woken, or a tick arrives.
    Woken,
    /// As [`Turn::Woken`], or after this time.
    After(Duration),
    /// At the next tick: the source has read all of the open epoch, which is released.
    Done,
}

/// An operator called `name` that runs the source that `open` returns, in the epochs that `ticks`
/// begin. `open` gets the activator with which another thread wakes the operator.
///
/// # Errors
/// If `open` fails.
pub fn by_tick<'scope, S: TickedSource, E>(
    name: &str,
    ticks: StreamVec<'scope, Epoch, Tick>,
    open: impl FnOnce(SyncActivator) -> Result<S, E>,
) -> Result<<S::Outputs as Outputs<Epoch>>::Streams<'scope>, E> {
    let scope = ticks.scope();
    let mut builder = OperatorBuilder::new(name.to_owned(), scope);
    let address = builder.operator_info().address;
    let mut source = open(scope.worker().sync_activator_for(address.to_vec()))?;
    let activator = scope.activator_for(address);
    let mut input = builder.new_input(ticks, Pipeline);
    let (mut ports, streams) = S::Outputs::open(&mut builder);
    builder.build(move |_capabilities| {
        let mut held = None;
        move |frontiers| {
            let mut ticked = Vec::new();
            input.for_each_stamp(|capability, containers| {
                for tick in containers.flat_map(|ticks| ticks.drain(..)) {
                    ticked.extend(S::Outputs::retain(&capability).map(|capabilities| (tick, capabilities)));
                }
            });
            ticked.sort_by_key(|(tick, _)| tick.epoch);
            for next in ticked {
                if held.is_some() && source.stays() {
                    continue;
                }
                if let Some((tick, capabilities)) = held.take() {
                    S::Outputs::emit(&mut ports, &capabilities, |emit| source.end(&tick, emit));
                }
                source.begin(&next.0);
                held = Some(next);
            }
            if frontiers[0].is_empty() && !source.stays() {
                held = None;
            }
            let Some((tick, capabilities)) = &held else { return };
            match S::Outputs::emit(&mut ports, capabilities, |emit| source.turn(tick, emit)) {
                Turn::Next => activator.activate(),
                Turn::Woken => {}
                Turn::After(pause) => activator.activate_after(pause),
                Turn::Done => held = None,
            }
        }
    });
    Ok(streams)
}
