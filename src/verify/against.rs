//! Live against replay: compares each cell that an instance serves with the one that its lake
//! gives.
//!
//! Both sides are in the same order, so they are merged like sorted lists. The instance's answer is
//! untrusted: its lines are bounded, their order is checked, and its texts are escaped before they
//! are shown.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::BufRead;

use anyhow::{Context, Result, bail, ensure};
use reprise_dataflows::rank::digest;
use reprise_dataflows::time::instant_name;

use crate::state::charts::{AsOf, ChartCell, ChartInputs, Entry, SnapshotHeader};
use crate::text::{grouped, printable};

/// The maximum size in bytes of a line: the longest list that a charts file permits, with long
/// titles.
const LINE_BYTES_MAX: u64 = 256 << 20;

/// The snapshot of an instance, read line by line.
pub struct Live<R> {
    lines: R,
    /// The first line: the moment, the lake and the inputs of the charts.
    pub header: SnapshotHeader,
    last: Option<CellName>,
}

type CellName = (String, String, String);

impl<R: BufRead> Live<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// If the snapshot does not begin with a header.
    pub fn open(mut lines: R) -> Result<Self> {
        let header = line(&mut lines)?.context("the snapshot is empty")?;
        let header: SnapshotHeader =
            serde_json::from_slice(&header).context("the snapshot does not begin with its header")?;
        Ok(Self { lines, header, last: None })
    }

    fn next(&mut self) -> Result<Option<ChartCell>> {
        let Some(line) = line(&mut self.lines)? else { return Ok(None) };
        let cell: ChartCell =
            serde_json::from_slice(&line).context("the snapshot has a line that is not a chart cell")?;
        ensure!(cell.as_of == self.header.as_of, "the snapshot has cells of different moments");
        let place = place(&cell);
        ensure!(self.last.as_ref().is_none_or(|last| *last < place), "the cells of the snapshot are not in order");
        self.last = Some(place);
        Ok(Some(ChartCell { as_of: AsOf::default(), ..cell }))
    }
}

fn line(lines: &mut impl BufRead) -> Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = std::io::Read::take(&mut *lines, LINE_BYTES_MAX).read_until(b'\n', &mut line);
    read.context("the snapshot broke off")?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) => bail!("the snapshot broke off, or has a line of more than {} MiB", LINE_BYTES_MAX >> 20),
    }
}

fn place(cell: &ChartCell) -> CellName {
    (cell.chart.clone(), cell.period.clone(), cell.scope.clone())
}

/// One chart, as `[live, replay]`.
#[derive(Debug, PartialEq, Eq)]
struct Compared {
    inputs: [ChartInputs; 2],
    cells: [u64; 2],
    outputs: [u64; 2],
}

impl Compared {
    fn same(&self) -> bool {
        let [live, replay] = &self.inputs;
        live == replay && self.cells[0] == self.cells[1] && self.outputs[0] == self.outputs[1]
    }
}

/// The result of a comparison.
#[derive(Debug)]
pub struct Comparison {
    as_of: AsOf,
    charts: BTreeMap<String, Compared>,
    /// A description of the first difference, if there is one.
    pub difference: Option<String>,
}

/// Fails if the instance and this process have different charts, or charts with different rules:
/// their cells need not be equal then.
///
/// # Errors
/// Names the first chart that differs.
pub fn check_rules(live: &[ChartInputs], ours: &[ChartInputs]) -> Result<()> {
    const HINT: &str = "give --charts the file that the instance has, or none if it has none";
    let rules = |of: &[ChartInputs]| -> BTreeMap<String, String> {
        of.iter().map(|inputs| (inputs.chart.clone(), inputs.rules.clone())).collect()
    };
    let (live, ours) = (rules(live), rules(ours));
    for (chart, rules) in &live {
        let name = printable(chart);
        match ours.get(chart) {
            None => bail!("the instance has a chart `{name}`, which this process lacks: {HINT}"),
            Some(other) if other != rules => bail!(
                "the chart `{name}` has different rules in the instance and here: {HINT}\n  instance: {}\n  here:     {other}",
                printable(rules)
            ),
            Some(_) => {}
        }
    }
    match ours.keys().find(|chart| !live.contains_key(*chart)) {
        Some(chart) => bail!("the instance has no chart `{chart}`: {HINT}"),
        None => Ok(()),
    }
}

/// Compares all cells. `replay` are the cells of the replay in order, `inputs` the plays that it
/// counted.
///
/// # Errors
/// If the charts have different rules, or the snapshot is malformed or incomplete.
pub fn compare<R: BufRead>(mut live: Live<R>, replay: Vec<ChartCell>, inputs: Vec<ChartInputs>) -> Result<Comparison> {
    check_rules(&live.header.charts, &inputs)?;
    let pairs = live.header.charts.iter().cloned().zip(inputs);
    let compared = |(live, replay): (ChartInputs, ChartInputs)| {
        ensure!(live.chart == replay.chart, "the charts of the snapshot are not in order");
        Ok((live.chart.clone(), Compared { inputs: [live, replay], cells: [0; 2], outputs: [0; 2] }))
    };
    let charts = pairs.map(compared).collect::<Result<_>>()?;
    let mut comparison = Comparison { as_of: live.header.as_of, charts, difference: None };
    let mut replay = replay.into_iter().map(|cell| ChartCell { as_of: AsOf::default(), ..cell });
    let (mut there, mut here) = (live.next()?, replay.next());
    while there.is_some() || here.is_some() {
        let order = match (&there, &here) {
            (Some(there), Some(here)) => place(there).cmp(&place(here)),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        let live_cell = if order.is_le() { std::mem::replace(&mut there, live.next()?) } else { None };
        let replay_cell = if order.is_ge() { std::mem::replace(&mut here, replay.next()) } else { None };
        comparison.note(live_cell.as_ref(), replay_cell.as_ref())?;
    }
    comparison.note_inputs();
    Ok(comparison)
}

impl Comparison {
    fn note(&mut self, live: Option<&ChartCell>, replay: Option<&ChartCell>) -> Result<()> {
        for (side, cell) in [live, replay].into_iter().enumerate() {
            let Some(cell) = cell else { continue };
            let chart = self.charts.get_mut(&cell.chart);
            let chart = chart
                .with_context(|| format!("a cell belongs to `{}`, which is not a chart", printable(&cell.chart)))?;
            chart.cells[side] += 1;
            let digest = digest::of_text(&serde_json::to_string(cell)?);
            chart.outputs[side] = chart.outputs[side].wrapping_add(digest);
        }
        if live != replay && self.difference.is_none() {
            self.difference = Some(difference(live, replay)?);
        }
        Ok(())
    }

    /// The cells may be equal although different plays were counted, as only the top of each list
    /// is compared.
    fn note_inputs(&mut self) {
        let differs = |chart: &&Compared| chart.inputs[0] != chart.inputs[1];
        if let (None, Some(chart)) = (&self.difference, self.charts.values().find(differs)) {
            let [live, replay] = &chart.inputs;
            self.difference = Some(format!(
                "{}: every cell is the same, but different plays were counted: live {} plays, digest {:016x}; replay {} plays, \
                 digest {:016x}",
                live.chart, live.plays, live.digest, replay.plays, replay.digest
            ));
        }
    }

    /// Whether both sides have the same inputs and the same cells.
    pub fn same(&self) -> bool {
        self.difference.is_none() && self.charts.values().all(Compared::same)
    }

    /// A table with a line for each chart, or two if its sides differ.
    pub fn report(&self) -> String {
        let clock = self.as_of.clock_us.map_or_else(|| "no clock".to_owned(), instant_name);
        let version = self.as_of.lake_version.unwrap_or_default();
        let mut text = format!("lake version {version}, epoch {}, clock {clock}\n", self.as_of.epoch);
        let widest = self.charts.keys().map(String::len).max().unwrap_or(0).max("chart".len());
        let _ = writeln!(text, "{:widest$}  {:>9}  {:>15}  digest of inputs  of outputs", "chart", "cells", "plays");
        for (name, chart) in &self.charts {
            let line = |side: usize| {
                let (inputs, outputs) = (&chart.inputs[side], chart.outputs[side]);
                let plays = grouped(inputs.plays);
                let cells = chart.cells[side];
                format!("{name:widest$}  {cells:>9}  {plays:>15}  {:016x}  {outputs:016x}", inputs.digest)
            };
            if chart.same() {
                let _ = writeln!(text, "{}  same", line(0));
            } else {
                let _ = writeln!(text, "{}  live\n{}  replay: DIFFERENT", line(0), line(1));
            }
        }
        text
    }
}

/// Describes how the two sides of a cell differ.
fn difference(live: Option<&ChartCell>, replay: Option<&ChartCell>) -> Result<String> {
    let name = |cell: &ChartCell| format!("{} · {} · {}", cell.chart, cell.period, cell.scope);
    let text = match (live, replay) {
        (Some(live), Some(replay)) => {
            let place = name(live);
            let entries = |rank: usize| (live.entries.get(rank), replay.entries.get(rank));
            let ranks = 0..live.entries.len().max(replay.entries.len());
            match ranks.map(entries).enumerate().find(|(_, (live, replay))| live != replay) {
                Some((rank, (live, replay))) => {
                    format!("{place}, rank {}: live {}, replay {}", rank + 1, shown(live)?, shown(replay)?)
                }
                None => format!("{place}: the bounds of the period differ"),
            }
        }
        (Some(live), None) => {
            let place = name(live);
            format!(
                "{place}: live lists {}, rank 1 {}; the replay has no such cell",
                live.entries.len(),
                shown(live.entries.first())?
            )
        }
        (None, Some(replay)) => {
            let place = name(replay);
            format!(
                "{place}: the replay lists {}, rank 1 {}; live has no such cell",
                replay.entries.len(),
                shown(replay.entries.first())?
            )
        }
        (None, None) => String::new(),
    };
    Ok(printable(&text).into_owned())
}

fn shown(entry: Option<&Entry>) -> Result<String> {
    entry.map_or_else(|| Ok("nothing".to_owned()), |entry| Ok(serde_json::to_string(entry)?))
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor};

    use super::*;
    use crate::state::charts::{Changes, Charts, Filter, tests as fixtures};

    fn text(charts: &Charts) -> String {
        let header =
            SnapshotHeader { as_of: charts.as_of(), topic: "t".into(), lake: "/l".into(), charts: charts.inputs() };
        let cells = charts.cells(&Filter::default());
        let cells = cells.iter().map(|cell| serde_json::to_string(cell).unwrap() + "\n").collect::<String>();
        serde_json::to_string(&header).unwrap() + "\n" + &cells
    }

    fn compared(snapshot: &str, replay: &Charts) -> Result<Comparison> {
        let live = Live::open(BufReader::new(Cursor::new(snapshot.as_bytes())))?;
        compare(live, replay.cells(&Filter::default()), replay.inputs())
    }

    fn error(snapshot: &str, replay: &Charts) -> String {
        format!("{:#}", compared(snapshot, replay).unwrap_err())
    }

    #[test]
    fn the_same_charts_are_the_same() {
        let charts = fixtures::filled();
        let comparison = compared(&text(&charts), &charts).unwrap();
        assert!(comparison.same() && comparison.difference.is_none());
        insta::assert_snapshot!(comparison.report(), @r"
        lake version 41, epoch 1795400000000, clock 2026-11-20T14:41:40Z
        chart         cells            plays  digest of inputs  of outputs
        artists           1                0  0000000000000000  bce910ac56d192c1  same
        trending          1                0  0000000000000000  067ea1c1a993fa2b  same
        weekly            3               20  0000000000000007  ff8fd5eace0cf475  same
        ");
    }

    /// The first cell that differs is named, with both sides' entries.
    #[test]
    fn a_difference_is_described_exactly() {
        let charts = fixtures::filled();
        let live = text(&charts);
        let difference = |live: &str| {
            let comparison = compared(live, &charts).unwrap();
            assert!(!comparison.same());
            comparison.difference.unwrap()
        };
        let changed = live.replace(r#""plays":19}"#, r#""plays":20}"#);
        assert_eq!(
            difference(&changed),
            r#"artists · all · global, rank 1: live {"rank":1,"artist":"Anna","plays":20}, replay {"rank":1,"artist":"Anna","plays":19}"#
        );
        let without: String =
            live.lines().filter(|line| !line.contains("2026-W46")).map(|line| format!("{line}\n")).collect();
        assert!(difference(&without).starts_with("weekly · 2026-W46 · global: the replay lists 1"));
        assert!(difference(&without).ends_with("live has no such cell"));
        let more = live.clone() + &live.lines().last().unwrap().replace("global", "x-land") + "\n";
        assert!(difference(&more).contains("weekly · 2026-W47 · x-land: live lists 3"));
        let inputs = live.replacen(r#""plays":20"#, r#""plays":21"#, 1);
        assert!(difference(&inputs).contains("different plays were counted: live 21 plays"), "{}", difference(&inputs));
    }

    #[test]
    fn what_is_no_snapshot_is_refused() {
        let charts = fixtures::filled();
        let live = text(&charts);
        for (snapshot, expected) in [
            (String::new(), "empty"),
            ("<html>\n".to_owned(), "does not begin with its header"),
            (live[..live.len() - 3].to_owned(), "broke off"),
            (live.clone() + "{}\n", "not a chart cell"),
            (live.clone() + live.lines().last().unwrap() + "\n", "not in order"),
            (live.replacen("1795400000000", "1795400000001", 1), "different moments"),
            (
                live.replacen(r#""chart":"weekly""#, r#""chart":"daily""#, 1),
                "a chart `daily`, which this process lacks",
            ),
            (live.replacen("top 100", "top 99", 1), "has different rules in the instance and here"),
        ] {
            let message = error(&snapshot, &charts);
            assert!(message.contains(expected), "{expected}: {message}");
        }
    }

    /// Control characters from an instance are escaped.
    #[test]
    fn escape_sequences_stay_text() {
        let charts = fixtures::filled();
        let mut other = charts.clone();
        let cell = reprise_dataflows::rules::definition::Cell {
            chart: 1,
            start_day: 0,
            scope: reprise_dataflows::rules::definition::Scope::Global,
        };
        other.apply(Changes { ranked: vec![((cell, "\u{1b}[2J\u{202e}".to_owned()), 99)], ..Changes::default() });
        let difference = compared(&text(&other), &charts).unwrap().difference.unwrap();
        assert!(!difference.contains(['\u{1b}', '\u{202e}']), "{difference}");
    }
}
