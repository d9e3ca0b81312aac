//! Where a lake is kept. Only this folder knows paths: all other code names the objects of a lake
//! by [`Place`]s, whose operations are those of a [`Store`](contract::Store).
//!
//! A store makes an object appear under its name complete and durable, or not at all, so the
//! protocol of the lake rests on names that can be taken once. Folders, renames and second names
//! are for stores whose readers find files by name, and must see each play once.

mod address;
mod contract;
mod object;
mod owner;
mod place;
mod posix;
#[cfg(test)]
mod tests;

pub use address::open;
pub use contract::Lease;
pub use object::{Draft, Object, ReadAt};
pub use owner::advised;
pub use place::Place;
