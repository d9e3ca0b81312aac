//! Where a lake is kept. Only this folder knows paths: all other code names the objects of a lake
//! by [`Place`]s, and what these do, the [`Store`] does.
//!
//! A store makes an object appear under its name complete and durable, or not at all. So a lake can
//! lie wherever a name can be taken once ([`Store::put_if_absent`]). Folders, locks and second
//! names are there for a file system: readers that find files by name must see each play once
//! there, and people start a second writer by mistake.

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
