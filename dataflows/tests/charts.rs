//! `build` equals a brute force over structs: whatever the order, the epochs, the encoding and the number of workers, and
//! however many of the plays were counted already.

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use differential_dataflow::input::InputSession;
use proptest::prelude::*;
use reprise_dataflows::catalogue::{About, Naming};
use reprise_dataflows::definition::{Cell, Definitions};
use reprise_dataflows::digest::{Inputs, InputsChange};
use reprise_dataflows::plan::Plan;
use reprise_dataflows::play::PlayBatch;
use reprise_dataflows::summarise::Summariser;
use reprise_dataflows::{Stage, Tallied, Tally, Tick, build};
use support::{Captured, Play, Tops, Workers, at, batches, brute_force, capture, play, workers};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::vec::Broadcast;
use timely::dataflow::operators::{Input, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};

const CHARTS: &str = r#"
[trending]
window = "10m"
slide = "1m"
top = 3
scopes = ["global", "country"]

[[chart]]
name = "weekly"
period = "week"
top = 4

[[chart]]
name = "monthly-devices"
period = "month"
scopes = ["global", "device", "country"]
eligible = "all"

[[chart]]
name = "artists"
period = "year"
item = "artist"
top = 2

[[chart]]
name = "tokyo-days"
period = "day"
zone = "Asia/Tokyo"
eligible = "30s"

[[chart]]
name = "ever"
period = "all"
top = 5

[[chart]]
name = "sunday-weeks"
period = "week"
week_starts = "sunday"
zone = "America/New_York"
"#;

/// An epoch: its clock, and its plays.
type EpochInput = (Option<i64>, Vec<Play>);

struct Output {
    ranked: Captured<(Cell, String)>,
    titles: Captured<(String, About)>,
    inputs: Arc<Mutex<Vec<InputsChange>>>,
}

fn run(
    definitions: &Arc<Definitions>,
    epochs: &[EpochInput],
    workers: Workers,
    from_lake: bool,
    in_turn: bool,
    query: &str,
    counted: &[Play],
) -> Output {
    let output = Output { ranked: Captured::default(), titles: Captured::default(), inputs: Arc::default() };
    let (ranked, titles, inputs) = (output.ranked.clone(), output.titles.clone(), output.inputs.clone());
    let (definitions, epochs, query) = (definitions.clone(), epochs.to_vec(), query.to_owned());
    let counted = counted.to_vec();
    timely::execute(workers.config(), move |worker| {
        let mut ticks = InputHandle::<u64, CapacityContainerBuilder<Vec<Tick>>>::new();
        let mut plays = InputHandle::<u64, CapacityContainerBuilder<Vec<PlayBatch>>>::new();
        let mut tallies = InputSession::<u64, Tally, i64>::new();
        let mut namings = InputHandle::<u64, CapacityContainerBuilder<Vec<Naming>>>::new();
        let mut queries = InputSession::<u64, String, i64>::new();
        let probe = ProbeHandle::new();
        worker.dataflow(|scope| {
            let ticks = scope.input_from(&mut ticks).broadcast();
            let plays = scope.input_from(&mut plays);
            let (tallies, queries) = (tallies.to_collection(scope), queries.to_collection(scope));
            let tallied = Tallied { tallies, namings: scope.input_from(&mut namings) };
            let charts = build(&definitions, ticks, plays, tallied, queries);
            capture(charts.ranked, &ranked, &probe);
            capture(charts.titles, &titles, &probe);
            let inputs = inputs.clone();
            charts.inputs.inspect(move |change| inputs.lock().unwrap().push(*change)).probe_with(&probe);
        });
        queries.update(query.clone(), 1);
        queries.close();
        let counted = batches(&share(&counted, worker.index(), worker.peers()), from_lake);
        checkpoint(&definitions, &counted, |tally, count| tallies.update(tally, count), |naming| namings.send(naming));
        counted.into_iter().for_each(|batch| plays.send(batch.for_window_only()));
        tallies.close();
        namings.close();
        for (epoch, (clock_us, of_epoch)) in (0..).zip(&epochs) {
            if worker.index() == 0 {
                ticks.send(Tick { epoch, clock_us: *clock_us, stage: Stage::Live, cut: None });
            }
            for piece in share(of_epoch, worker.index(), worker.peers()).chunks(7) {
                batches(piece, from_lake).into_iter().for_each(|batch| plays.send(batch));
            }
            ticks.advance_to(epoch + 1);
            plays.advance_to(epoch + 1);
            if in_turn {
                worker.step_while(|| probe.less_than(&(epoch + 1)));
            }
        }
    })
    .unwrap();
    output
}

fn share(plays: &[Play], worker: usize, workers: usize) -> Vec<Play> {
    plays.iter().skip(worker).step_by(workers).cloned().collect()
}

/// Tallies of `plays` by a plan that counts by more than `definitions` ask for, as tallies of `definitions`.
fn checkpoint(
    definitions: &Definitions,
    plays: &[PlayBatch],
    mut tally: impl FnMut(Tally, i64),
    naming: impl FnMut(Naming),
) {
    let more = format!("{CHARTS}\n[[chart]]\nname = 'more'\nperiod = 'month'\nscopes = ['device']");
    let rich = Plan::new(&Definitions::parse(&more).unwrap()).without_window();
    let translation = Plan::new(definitions).translation(&rich.dimensions()).unwrap();
    let mut summariser = Summariser::new(&rich);
    plays.iter().for_each(|batch| summariser.count(batch));
    summariser.drain(|is_pane, (key, item), count| {
        assert!(!is_pane);
        translation.keys(&key).into_iter().for_each(|key| tally((key, item), count));
    });
    summariser.drain_namings().for_each(naming);
}

fn named(definitions: &Definitions, ranked: BTreeMap<(Cell, String), i64>) -> Tops {
    let mut cells = BTreeMap::<_, BTreeMap<String, i64>>::new();
    for ((cell, item), count) in ranked {
        let chart = definitions.chart(cell.chart);
        let period = chart.map_or(String::new(), |chart| chart.period.name(cell.start_day, chart.calendar.week_starts));
        let cell = (definitions.name(cell.chart).to_owned(), period, cell.scope.name());
        cells.entry(cell).or_default().insert(item, count);
    }
    cells.into_iter().map(|(cell, counts)| (cell, support::top(counts, usize::MAX))).collect()
}

/// What had been counted for each chart at the end of `epoch`.
fn inputs_at(output: &Output, epoch: u64) -> BTreeMap<u32, Inputs> {
    let mut inputs = BTreeMap::<u32, Inputs>::new();
    for (chart, _, change) in output.inputs.lock().unwrap().iter().filter(|(_, time, _)| *time <= epoch) {
        inputs.entry(*chart).or_default().add(*change);
    }
    inputs.retain(|_, inputs| *inputs != Inputs::default());
    inputs
}

/// The inputs when all of `plays` come at once, on one worker, from Kafka.
fn inputs_at_once(definitions: &Arc<Definitions>, plays: &[Play], clock_us: Option<i64>) -> BTreeMap<u32, Inputs> {
    inputs_at(&run(definitions, &[(clock_us, plays.to_vec())], Workers::ONE, false, true, "", &[]), 0)
}

/// How many of `plays` a chart counts, by the greatest sum that any kind of its scopes has without a limit.
fn counted_once(definitions: &Definitions, chart: u32, plays: &[Play], clock_us: Option<i64>) -> i64 {
    let mut unlimited = definitions.clone();
    unlimited.trending.top = usize::MAX;
    unlimited.charts.iter_mut().for_each(|chart| chart.top = usize::MAX);
    let name = definitions.name(chart);
    let tops = brute_force(&unlimited, plays, clock_us);
    let cells = tops.iter().filter(|((of, _, scope), _)| of == name && scope == "global");
    cells.flat_map(|(_, top)| top).map(|(_, count)| count).sum()
}

/// The title and artist of the latest UTC day, then the greater.
fn brute_force_titles(plays: &[Play]) -> BTreeMap<String, About> {
    let mut titles = BTreeMap::<String, (i64, String, String)>::new();
    for play in plays {
        let about = (play.timestamp_us.div_euclid(86_400_000_000), play.title(), play.artist());
        let known = titles.entry(play.id()).or_insert_with(|| about.clone());
        *known = about.max(known.clone());
    }
    titles.into_iter().map(|(id, (_, title, artist))| (id, About { title, artist })).collect()
}

fn check(
    counted: &[Play],
    epochs: &[Vec<Play>],
    clock_steps_us: &[i64],
    workers: Workers,
    from_lake: bool,
    in_turn: bool,
) {
    let definitions = Arc::new(Definitions::parse(CHARTS).unwrap());
    let mut clock_us = None;
    let clocks = (0..).map(|epoch: usize| {
        let step_us = clock_steps_us[epoch % clock_steps_us.len()];
        clock_us = (epoch > 0).then(|| clock_us.unwrap_or(support::MONDAY_US) + step_us);
        clock_us
    });
    let epochs: Vec<EpochInput> = clocks.zip(epochs.iter().cloned()).collect();
    let query = "S11";
    let output = run(&definitions, &epochs, workers, from_lake, in_turn, query, counted);
    let mut plays = counted.to_vec();
    for (epoch, (clock_us, of_epoch)) in (0..).zip(&epochs) {
        plays.extend(of_epoch.iter().cloned());
        let context = format!("epoch {epoch}, {workers:?}, lake: {from_lake}, in turn: {in_turn}");
        let expected = brute_force(&definitions, &plays, *clock_us);
        let ranked = at(&output.ranked, epoch);
        assert_eq!(named(&definitions, ranked.clone()), expected, "{context}");

        let inputs = inputs_at(&output, epoch);
        assert_eq!(inputs, inputs_at_once(&definitions, &plays, *clock_us), "{context}");
        for (chart, inputs) in inputs {
            assert_eq!(inputs.plays, counted_once(&definitions, chart, &plays, *clock_us), "{context}");
        }

        let titles: BTreeMap<String, About> = at(&output.titles, epoch).into_keys().collect();
        let expected = brute_force_titles(&plays);
        for (_, item) in ranked.into_keys().filter(|(cell, _)| definitions.name(cell.chart) != "artists") {
            assert_eq!(titles.get(&item), expected.get(&item), "{context}");
        }
        assert_eq!(titles.get(query), expected.get(query), "{context}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A play more, or one that counts elsewhere, is seen in the digest of each chart that it touches.
    #[test]
    fn digests_tell_other_plays_apart(plays in prop::collection::vec(play(), 1..40), other in play(), at in any::<prop::sample::Index>()) {
        let definitions = Arc::new(Definitions::parse(CHARTS).unwrap());
        let at = at.index(plays.len());
        let mut replaced = plays.clone();
        replaced[at] = other;
        let fewer = [&plays[..at], &plays[at + 1..]].concat();
        let inputs = inputs_at_once(&definitions, &plays, None);
        for others in [replaced, fewer] {
            let mut unlimited = Definitions::clone(&definitions);
            unlimited.charts.iter_mut().for_each(|chart| chart.top = usize::MAX);
            let others_inputs = inputs_at_once(&definitions, &others, None);
            let (tops, others_tops) = (brute_force(&unlimited, &plays, None), brute_force(&unlimited, &others, None));
            for index in 0..definitions.charts.len() as u32 {
                let of = |tops: &Tops| {
                    let cells = tops.clone().into_iter();
                    cells.filter(|((name, _, _), _)| name == definitions.name(index)).collect::<Vec<_>>()
                };
                let same = of(&tops) == of(&others_tops);
                prop_assert_eq!(inputs.get(&index) == others_inputs.get(&index), same, "{}", definitions.name(index));
            }
        }
    }

    #[test]
    fn equal_a_brute_force(
        counted in prop_oneof![Just(Vec::new()), prop::collection::vec(play(), 1..60)],
        epochs in prop::collection::vec(prop::collection::vec(play(), 0..60), 1..6),
        clock_steps_us in prop::collection::vec(prop_oneof![4 => 0..400_000_000i64, 1 => 600_000_000..2_000_000_000i64], 1..6),
        workers in workers(),
        from_lake in any::<bool>(),
        in_turn in any::<bool>(),
    ) {
        check(&counted, &epochs, &clock_steps_us, workers, from_lake, in_turn);
    }
}
