//! What items are called: learned from plays, kept by the owner of the item, told for those that are in a list.

pub mod catalogue;
pub(crate) mod naming;
pub(crate) mod titles;
