//! The ranking of charts in two steps: each worker ranks the items that it owns, then the tops of
//! all workers are merged.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use differential_dataflow::VecCollection;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::vec::ToStream;

use crate::keys::item::ItemKey;
use crate::names::catalogue::Names;
use crate::query::{Answer, Query};
use crate::rank::{Counted, RankRules, rank};
use crate::rules::definition::{Cell, Definitions};
use crate::rules::plan::{Key, Plan};
use crate::tick::Epoch;

/// The counts that are ranked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CountsOf {
    Days,
    Window,
}

/// Ranks the items that a worker owns, and answers queries from their counts.
pub struct ItemRules {
    of: CountsOf,
    plan: Plan,
    definitions: Arc<Definitions>,
    names: Names,
}

impl ItemRules {
    /// For the counts by days: all charts by period.
    pub fn of_days(definitions: &Arc<Definitions>, names: &Names) -> Self {
        Self {
            of: CountsOf::Days,
            plan: Plan::new(definitions),
            definitions: definitions.clone(),
            names: names.clone(),
        }
    }

    /// For the counts of the trending window.
    pub fn of_window(definitions: &Arc<Definitions>, names: &Names) -> Self {
        Self { of: CountsOf::Window, ..Self::of_days(definitions, names) }
    }
}

impl RankRules for ItemRules {
    type Key = Key;
    type Item = ItemKey;
    type Cell = Cell;
    type Query = Query;
    type Answer = Answer;

    fn cells(&self, key: &Key) -> Vec<Cell> {
        self.plan.cells(key)
    }

    fn top(&self, cell: &Cell) -> usize {
        self.definitions.top(cell.chart)
    }

    fn order(&self, a: &ItemKey, b: &ItemKey) -> Ordering {
        self.names.compare(a, b)
    }

    fn answer(&self, Query { id, kind }: Query, counted: &dyn Counted<ItemKey, Cell>) -> Vec<Answer> {
        let found = kind.answer(counted, &self.names, self.of == CountsOf::Window);
        found.into_iter().map(|found| Answer { id, found }).collect()
    }
}

/// Ranks texts by the counts that the workers' tops already have for each cell.
struct MergeRules(Arc<Definitions>);

impl RankRules for MergeRules {
    type Key = Cell;
    type Item = String;
    type Cell = Cell;
    type Query = ();
    type Answer = ();

    fn cells(&self, cell: &Cell) -> Vec<Cell> {
        vec![cell.clone()]
    }

    fn top(&self, cell: &Cell) -> usize {
        self.0.top(cell.chart)
    }

    fn order(&self, a: &String, b: &String) -> Ordering {
        a.cmp(b)
    }

    fn answer(&self, (): (), _counted: &dyn Counted<String, Cell>) -> Vec<()> {
        Vec::new()
    }
}

/// Merges the tops of all workers into one, and replaces items by their texts. The tops of a single
/// worker are complete as they are.
pub fn merge<'scope>(
    owned: VecCollection<'scope, Epoch, (Cell, ItemKey), i64>,
    definitions: &Arc<Definitions>,
    names: &Names,
) -> VecCollection<'scope, Epoch, (Cell, String), i64> {
    let names = names.clone();
    let named = owned.map(move |(cell, item)| (cell, names.text(&item).to_string()));
    let scope = named.inner.scope();
    if scope.peers() == 1 {
        return named;
    }
    let by_cell = Exchange::new(|((cell, _), _, _): &((Cell, String), Epoch, i64)| route(cell));
    rank("RankMerge", named, by_cell, None::<()>.to_stream(scope), MergeRules(definitions.clone())).tops
}

/// The number by which cells are spread over workers. It is the same in every process.
fn route(cell: &Cell) -> u64 {
    let mut hasher = siphasher::sip::SipHasher13::new();
    cell.hash(&mut hasher);
    hasher.finish()
}
