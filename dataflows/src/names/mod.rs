//! The texts of items and the titles of tracks: found in plays, kept by the owner of the item, and
//! put out for the tracks of tops.

pub mod catalogue;
pub(crate) mod naming;
pub(crate) mod titles;
