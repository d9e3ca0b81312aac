//! The outputs of an operator, as a tuple of one to three types.

use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Capability, InputCapability};
use timely::order::TotalOrder;
use timely::progress::Timestamp;

/// A tuple of types, with an output for each.
pub trait Outputs<T: Timestamp>: 'static {
    /// The ends of the outputs within the operator.
    type Ports: 'static;
    /// The streams of the outputs.
    type Streams<'scope>;
    /// The capabilities to send at one time, one for each output.
    type Capabilities: 'static;
    /// A function for each output, which sends its argument.
    type Emit<'a>;

    /// Adds the outputs to `builder`, after all of its inputs.
    fn open<'scope>(builder: &mut OperatorBuilder<'scope, T>) -> (Self::Ports, Self::Streams<'scope>);

    /// The capabilities to send at the time of a message; `None` if the message allows none.
    fn retain(capability: &InputCapability<T>) -> Option<Self::Capabilities>
    where
        T: TotalOrder;

    /// The capabilities to send at `time`, which must not be before the time of `capabilities`.
    fn delayed(capabilities: &Self::Capabilities, time: &T) -> Self::Capabilities;

    /// The time of `capabilities`.
    fn time(capabilities: &Self::Capabilities) -> &T;

    /// Calls `give` with the functions that send at the time of `capabilities`.
    fn emit<R>(ports: &mut Self::Ports, capabilities: &Self::Capabilities, give: impl FnOnce(Self::Emit<'_>) -> R)
    -> R;
}

type Port<T, D> = OutputBuilder<T, CapacityContainerBuilder<Vec<D>>>;

macro_rules! outputs {
    ($($name:ident $index:tt $capability:ty),+) => {
        impl<T: Timestamp, $($name: Clone + 'static),+> Outputs<T> for ($($name,)+) {
            type Ports = ($(Port<T, $name>,)+);
            type Streams<'scope> = ($(StreamVec<'scope, T, $name>,)+);
            type Capabilities = ($($capability,)+);
            type Emit<'a> = ($(&'a mut dyn FnMut($name),)+);

            #[expect(non_snake_case, reason = "each output is named by its type")]
            fn open<'scope>(builder: &mut OperatorBuilder<'scope, T>) -> (Self::Ports, Self::Streams<'scope>) {
                $(let $name = builder.new_output::<Vec<$name>>();)+
                (($(OutputBuilder::from($name.0),)+), ($($name.1,)+))
            }

            fn retain(capability: &InputCapability<T>) -> Option<Self::Capabilities>
            where
                T: TotalOrder,
            {
                Some(($(capability.retain_least($index)?,)+))
            }

            fn delayed(capabilities: &Self::Capabilities, time: &T) -> Self::Capabilities {
                ($(capabilities.$index.delayed(time),)+)
            }

            fn time(capabilities: &Self::Capabilities) -> &T {
                capabilities.0.time()
            }

            #[expect(non_snake_case, reason = "each output is named by its type")]
            fn emit<R>(
                ports: &mut Self::Ports,
                capabilities: &Self::Capabilities,
                give: impl FnOnce(Self::Emit<'_>) -> R,
            ) -> R {
                $(let mut $name = ports.$index.activate();)+
                $(let mut $name = $name.session(&capabilities.$index);)+
                give(($(&mut |data| $name.give(data),)+))
            }
        }
    };
}

outputs!(A 0 Capability<T>);
outputs!(A 0 Capability<T>, B 1 Capability<T>);
outputs!(A 0 Capability<T>, B 1 Capability<T>, C 2 Capability<T>);
