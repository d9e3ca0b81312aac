//! What a track is called: the title and artist that go with its id.

use serde::{Deserialize, Serialize};

/// The title and artist of a track.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct About {
    pub title: String,
    pub artist: String,
}
