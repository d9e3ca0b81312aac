//! Tallies of one plan as tallies of another: a checkpoint serves charts that it was not made for,
//! if it counts by enough.

use serde::{Deserialize, Serialize};

use super::{Grouping, Key, Plan, Time};
use crate::keys::dimension::Dimension;
use crate::rules::definition::{Eligible, ItemKind};
use crate::time::Period;

impl Plan {
    /// A description of each grouping, for a checkpoint; `None` for that of the trending window and
    /// for those by user, which no checkpoint holds.
    pub fn counted_by(&self) -> Vec<Option<CountedBy>> {
        self.groupings.iter().map(Grouping::counted_by).collect()
    }

    /// How tallies of another plan, whose groupings `from` describes, become tallies of this plan.
    ///
    /// # Errors
    /// A grouping of this plan that cannot be made from any grouping of the other.
    ///
    /// ```
    /// use reprise_dataflows::rules::definition::Definitions;
    /// use reprise_dataflows::rules::plan::Plan;
    ///
    /// let plan = |charts| Definitions::parse(charts).map(|definitions| Plan::new(&definitions));
    /// let by_country = plan("[[chart]]\nname = 'a'\nperiod = 'week'\nscopes = ['country']")?;
    /// let everywhere = plan("[[chart]]\nname = 'a'\nperiod = 'week'\nscopes = ['global']")?;
    ///
    /// // The counts of all countries add up; a sum cannot be split by country.
    /// assert!(everywhere.translation(&by_country.counted_by()).is_ok());
    /// let lacking = by_country.translation(&everywhere.counted_by()).unwrap_err();
    /// assert_eq!(lacking.dimensions.len(), 1);
    /// # Ok::<(), reprise_dataflows::rules::charts_toml::DefinitionError>(())
    /// ```
    pub fn translation(&self, from: &[Option<CountedBy>]) -> Result<Translation, Box<CountedBy>> {
        let mut translation = Translation { targets: vec![Vec::new(); from.len()] };
        for (grouping, index) in self.groupings.iter().zip(0..) {
            let Some(wanted) = grouping.counted_by() else { continue };
            let source = from.iter().position(|other| other.as_ref().is_some_and(|other| other.cover(&wanted)));
            let Some(source) = source else { return Err(Box::new(wanted)) };
            let held = from[source].iter().flat_map(|source| &source.dimensions);
            let place = |dimension: &Dimension| held.clone().position(|other| other == dimension);
            let labels = grouping.dimensions.iter().filter_map(place).collect();
            translation.targets[source].push(Target { grouping: index, labels });
        }
        Ok(translation)
    }
}

/// The description of a grouping, in a form that a checkpoint can store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedBy {
    /// The kind of items.
    pub item: ItemKind,
    /// The plays that are counted.
    pub eligible: Eligible,
    /// The IANA name of the time zone of its days; `None` is UTC.
    pub zone: Option<String>,
    /// The dimensions of its labels, in order.
    pub dimensions: Vec<Dimension>,
    /// The kinds of periods of which a bucket never crosses a boundary, each with the first day of
    /// its weeks (Monday is 1; other kinds have 1).
    pub periods: Vec<(Period, i8)>,
}

impl CountedBy {
    /// Whether tallies of `other` can be made from tallies of `self`.
    fn cover(&self, other: &Self) -> bool {
        let exact = self.periods.iter().any(|(period, _)| *period == Period::Day);
        (self.item, self.eligible, &self.zone) == (other.item, other.eligible, &other.zone)
            && other.dimensions.iter().all(|dimension| self.dimensions.contains(dimension))
            && (exact || other.periods.iter().all(|period| self.periods.contains(period)))
    }
}

/// Maps the keys of one plan to keys of another.
#[derive(Clone, Debug)]
pub struct Translation {
    /// By the index of the grouping that is translated.
    targets: Vec<Vec<Target>>,
}

#[derive(Clone, Debug)]
struct Target {
    grouping: u32,
    /// The index of each of its labels in the key that is translated.
    labels: Vec<usize>,
}

impl Translation {
    /// The keys of the new plan to which the count of `key` is added.
    pub fn keys(&self, key: &Key) -> Vec<Key> {
        let targets = self.targets.get(key.grouping as usize).map_or(&[][..], Vec::as_slice);
        let translate = |target: &Target| Key {
            grouping: target.grouping,
            bucket: key.bucket,
            labels: target.labels.iter().map(|place| key.labels.get(*place)).collect(),
        };
        targets.iter().map(translate).collect()
    }
}

impl Grouping {
    /// The description of the grouping; `None` for that of the trending window and for those by user.
    fn counted_by(&self) -> Option<CountedBy> {
        let Time::Days(calendar) = &self.time else { return None };
        if self.is_by_user() {
            return None;
        }
        let bounded = self.members.iter().filter(|member| member.period != Period::All);
        let mut periods: Vec<_> = bounded
            .map(|member| match member.period {
                // Only weeks depend on the weekday.
                Period::Week => (Period::Week, member.week_starts.to_monday_one_offset()),
                period => (period, 1),
            })
            .collect();
        periods.sort_unstable();
        periods.dedup();
        Some(CountedBy {
            item: self.item,
            eligible: self.eligible,
            zone: calendar.zone.as_ref().and_then(|zone| zone.iana_name()).map(str::to_owned),
            dimensions: self.dimensions.clone(),
            periods,
        })
    }
}
