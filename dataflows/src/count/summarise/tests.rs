//! Batches without the columns of the window, and windows that are fixed.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray};

use super::*;
use crate::rules::definition::Definitions;

/// A chart in another zone needs timestamps and only the window needs countries, which the source
/// has left out. The batch then counts for the chart alone.
#[test]
fn a_batch_may_lack_columns_that_only_the_window_needs() {
    let charts = "[trending]\nscopes = ['country', 'device']\n\
                  [[chart]]\nname = 'tokyo'\nperiod = 'day'\nzone = 'Asia/Tokyo'\nscopes = ['global']";
    let plan = Plan::new(&Definitions::parse(charts).unwrap());
    let text = || -> ArrayRef { Arc::new(StringArray::from(vec!["text"])) };
    let columns = plan.columns(false).into_iter().map(|name| match name {
        "timestamp" => (name, Arc::new(TimestampMicrosecondArray::from(vec![0]).with_timezone("UTC")) as ArrayRef),
        "completed" => (name, Arc::new(BooleanArray::from(vec![true])) as ArrayRef),
        name => (name, text()),
    });
    let batch = PlayBatch::new(RecordBatch::try_from_iter(columns).unwrap(), Some(0));
    assert!(batch.timestamps_us().is_some() && batch.texts("country").is_none());

    let mut summariser = Summariser::new(&plan);
    summariser.count(&batch);
    let mut counts = Vec::new();
    summariser.drain(|is_pane, _, count| counts.push((is_pane, count)));
    assert_eq!(counts, [(false, 1)]);
}

/// The plays of a fixed window are counted together, in one of its panes.
#[test]
fn plays_of_a_fixed_window_share_a_pane() {
    const MINUTE_US: i64 = 60_000_000;
    let plan = Plan::new(&Definitions::builtin());
    let minutes = [9, 10, 14, 19, 20];
    let column = |name| -> ArrayRef {
        match name {
            "timestamp" => Arc::new(TimestampMicrosecondArray::from_iter_values(minutes.map(|at| at * MINUTE_US))),
            "completed" => Arc::new(BooleanArray::from(vec![true; minutes.len()])),
            _ => Arc::new(StringArray::from(vec!["text"; minutes.len()])),
        }
    };
    let columns = plan.columns(true).into_iter().map(|name| (name, column(name)));
    let batch = PlayBatch::new(RecordBatch::try_from_iter(columns).unwrap(), None);
    let mut summariser = Summariser::new(&plan);
    summariser.count(&batch.with_fixed_window(10 * MINUTE_US..20 * MINUTE_US));
    let mut panes = Vec::new();
    summariser.drain(|is_pane, (key, _), count| panes.extend(is_pane.then_some((key.bucket, count))));
    assert_eq!(panes, [(19, 3)]);
}
