//! The operator on worker 0 that folds each complete epoch of the dataflow into the served charts.

use std::collections::BTreeMap;
use std::sync::Arc;

use reprise_dataflows::names::catalogue::TrackInfo;
use reprise_dataflows::query::Answer;
use reprise_dataflows::rank::digest::InputsChange;
use reprise_dataflows::rules::definition::Cell;
use reprise_dataflows::{Charts, Epoch, Tick};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::charts::Changes;
use crate::state::State;

/// The updates of an incomplete epoch.
#[derive(Default)]
struct Pending {
    changes: Changes,
    answers: Vec<Answer>,
    tick: Option<Tick>,
}

/// Exchanges the charts to worker 0 and folds them into `state`, one epoch at a time, so that every
/// read is consistent for one epoch and its clock. The output carries no data: its frontier says
/// which epochs are served.
pub fn feed<'scope>(
    charts: Charts<'scope>,
    ticks: StreamVec<'scope, Epoch, Tick>,
    state: Arc<State>,
) -> StreamVec<'scope, Epoch, ()> {
    let scope = ticks.scope();
    let is_first = scope.index() == 0;
    let mut builder = OperatorBuilder::new("Feed".to_owned(), scope);
    let mut ranked = builder.new_input(charts.ranked.inner, Exchange::new(|_: &((Cell, String), Epoch, i64)| 0));
    let mut titles = builder.new_input(charts.titles.inner, Exchange::new(|_: &((String, TrackInfo), Epoch, i64)| 0));
    let mut inputs = builder.new_input(charts.inputs, Exchange::new(|_: &InputsChange| 0));
    let mut answers = builder.new_input(charts.answers, Exchange::new(|_: &Answer| 0));
    let mut ticks = builder.new_input(ticks, Pipeline);
    let (_output, served) = builder.new_output::<Vec<()>>();
    builder.build(move |_capabilities| {
        let mut epochs = BTreeMap::<Epoch, Pending>::new();
        move |frontiers| {
            ranked.for_each(|_, data| {
                for (update, epoch, diff) in data.drain(..) {
                    epochs.entry(epoch).or_default().changes.ranked.push((update, diff));
                }
            });
            titles.for_each(|_, data| {
                for (update, epoch, diff) in data.drain(..) {
                    epochs.entry(epoch).or_default().changes.titles.push((update, diff));
                }
            });
            inputs.for_each(|_, data| {
                for (chart, epoch, change) in data.drain(..) {
                    epochs.entry(epoch).or_default().changes.inputs.entry(chart).or_default().add(change);
                }
            });
            answers.for_each(|capability, data| {
                if let Some(epoch) = capability.least() {
                    epochs.entry(*epoch).or_default().answers.append(data);
                }
            });
            ticks.for_each(|_, data| {
                data.drain(..).for_each(|tick| epochs.entry(tick.epoch).or_default().tick = Some(tick));
            });
            while let Some(first) = epochs.first_entry() {
                if frontiers.iter().any(|frontier| frontier.less_equal(first.key())) {
                    break;
                }
                let (epoch, pending) = first.remove_entry();
                if is_first {
                    state.advance(epoch, pending.tick, pending.changes, pending.answers);
                }
            }
        }
    });
    served
}
