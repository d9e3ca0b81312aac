//! An operator that observes a stream without changing it.

use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::order::TotalOrder;
use timely::progress::Timestamp;

/// Passes `stream` on, container by container. `look` gets the containers of each message; its
/// results go to the second stream.
///
/// ```
/// use reprise_dataflows::operators::observe;
/// use timely::dataflow::operators::capture::{Capture, Extract};
/// use timely::dataflow::operators::vec::ToStream;
///
/// let (passed, letters) = timely::example(|scope| {
///     let words = ["moon", "rain", "sun"].to_stream(scope);
///     let letters = |words: &[Vec<&str>]| vec![words.concat().concat().len()];
///     let (passed, letters) = observe("Letters", words, letters);
///     (passed.capture(), letters.capture())
/// });
/// assert_eq!(passed.extract(), [(0, vec!["moon", "rain", "sun"])]);
/// assert_eq!(letters.extract(), [(0, vec![11])]);
/// ```
pub fn observe<'scope, T, D, S>(
    name: &str,
    stream: StreamVec<'scope, T, D>,
    mut look: impl FnMut(&[Vec<D>]) -> Vec<S> + 'static,
) -> (StreamVec<'scope, T, D>, StreamVec<'scope, T, S>)
where
    T: Timestamp + TotalOrder,
    D: Clone + 'static,
    S: Clone + 'static,
{
    let mut builder = OperatorBuilder::new(name.to_owned(), stream.scope());
    let mut input = builder.new_input(stream, Pipeline);
    let (passed_output, passed) = builder.new_output::<Vec<D>>();
    let (seen_output, seen) = builder.new_output::<Vec<S>>();
    builder.build(move |_capabilities| {
        let mut passed_output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(passed_output);
        let mut seen_output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(seen_output);
        move |_frontiers| {
            let (mut passed, mut seen) = (passed_output.activate(), seen_output.activate());
            input.for_each_stamp(|capability, containers| {
                let (Some(pass), Some(tell)) = (capability.retain_least(0), capability.retain_least(1)) else { return };
                let containers = containers.into_slice();
                seen.session(&tell).give_iterator(look(containers).into_iter());
                let mut passed = passed.session(&pass);
                containers.iter_mut().for_each(|container| passed.give_container(container));
            });
        }
    });
    (passed, seen)
}
