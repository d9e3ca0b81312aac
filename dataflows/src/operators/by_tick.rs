//! One operator for every source: [`by_tick`] holds the epoch that is open, a [`TickedSource`] reads in it.
//!
//! A source stamps what it reads with the newest tick's epoch, and gives the epoch back at the next tick, or earlier if it has
//! brought all that it was to bring. So a cut is the same for all workers: what was read before its tick is in, and what is
//! read after it is out.

use std::time::Duration;

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::SyncActivator;

use super::outputs::Outputs;
use crate::tick::{Epoch, Tick};

/// What brings data from outside, in the epochs that ticks begin.
pub trait TickedSource: 'static {
    /// A tuple of one to three types, an output for each.
    type Outputs: Outputs<Epoch>;

    /// Ends the open epoch, which `tick` began, because a newer tick has come: gives what is left to give in it.
    fn end(&mut self, tick: &Tick, emit: <Self::Outputs as Outputs<Epoch>>::Emit<'_>);

    /// Begins the epoch of `tick`.
    fn begin(&mut self, tick: &Tick);

    /// Whether it stays in the open epoch although a newer tick has come, and leaves out the newer one.
    fn stays(&self) -> bool {
        false
    }

    /// Reads some more in the open epoch, which `tick` began, and says what is to happen next.
    fn turn(&mut self, tick: &Tick, emit: <Self::Outputs as Outputs<Epoch>>::Emit<'_>) -> Turn;
}

/// When a source gets its next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// When the other operators had theirs.
    Next,
    /// When something wakes the operator, or a tick comes.
    Woken,
    /// As `Woken`, or after this long.
    After(Duration),
    /// With the next tick: the open epoch is complete.
    Done,
}

/// An operator called `name` that reads by the source that `open` makes, in the epochs that `ticks` begin. `open` gets what wakes
/// the operator from another thread.
///
/// # Errors
/// Those of `open`.
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
