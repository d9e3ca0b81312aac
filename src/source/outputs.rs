//! What every source gives.

use std::sync::Arc;

use reprise_dataflows::Epoch;
use timely::dataflow::StreamVec;

use crate::intake::Intake;
use crate::report::Report;

/// The outputs of a source. Intakes are shared by the lake's writer and the dataflow.
pub struct Source<'scope> {
    pub intakes: StreamVec<'scope, Epoch, Arc<Intake>>,
    pub reports: StreamVec<'scope, Epoch, Report>,
}
