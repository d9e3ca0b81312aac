//! The charts as they stand: what the dataflow has said so far, folded up, and the JSON object of each cell.
