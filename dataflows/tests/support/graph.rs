//! The whole graph, run over given plays and queries on several workers.

use std::sync::{Arc, Mutex};

use differential_dataflow::input::InputSession;
use reprise_dataflows::count::summarise::Summariser;
use reprise_dataflows::names::catalogue::{Naming, TrackInfo};
use reprise_dataflows::play::PlayBatch;
use reprise_dataflows::query::{Answer, Query};
use reprise_dataflows::rank::digest::InputsChange;
use reprise_dataflows::rules::definition::{Cell, Definitions};
use reprise_dataflows::rules::plan::Plan;
use reprise_dataflows::{Reference, Stage, Tallied, Tally, Tick, build};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::vec::Broadcast;
use timely::dataflow::operators::{Input, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};

use super::{Captured, Play, Workers, batches, capture, late_batches};

pub const CHARTS: &str = r#"
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
name = "cities"
period = "month"
scopes = ["city", "device", "global", "country"]
zone = "Europe/Lisbon"
top = 3

[[chart]]
name = "albums"
period = "week"
item = "album"
scopes = ["global", "city"]
top = 3

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

/// The clock and the plays of an epoch.
pub type EpochInput = (Option<i64>, Vec<Play>);

/// The output of [`build`] on all workers.
#[derive(Clone, Default)]
pub struct Output {
    pub ranked: Captured<(Cell, String)>,
    pub titles: Captured<(String, TrackInfo)>,
    pub inputs: Arc<Mutex<Vec<InputsChange>>>,
    pub answers: Arc<Mutex<Vec<Answer>>>,
}

/// How a graph is run.
#[derive(Clone, Debug)]
pub struct Way {
    pub workers: Workers,
    /// Whether plays are encoded as those of the lake, or as those of Kafka.
    pub from_lake: bool,
    /// Whether titles are read on demand. Only with `from_lake`.
    pub late: bool,
    /// Whether the source knows that the clock never moves, as that of a replay does.
    pub fixed_window: bool,
    /// Whether each epoch begins after the one before is complete.
    pub in_turn: bool,
    /// The plays that a checkpoint has counted.
    pub counted: Vec<Play>,
    /// By epoch, the changes of the reference data; `None` if the graph has none.
    pub reference: Option<Vec<TitleChanges>>,
}

/// Additions and retractions of the title of a track, by its id.
pub type TitleChanges = Vec<((String, TrackInfo), i64)>;

impl Way {
    pub const PLAIN: Self = Self {
        workers: Workers::ONE,
        from_lake: false,
        late: false,
        fixed_window: false,
        in_turn: true,
        counted: Vec::new(),
        reference: None,
    };
}

/// Runs `build` over `epochs`. Each of `all_queries` enters in its epoch, on one of the workers.
pub fn run(definitions: &Arc<Definitions>, epochs: &[EpochInput], way: &Way, all_queries: &[(u64, Query)]) -> Output {
    let output = Output::default();
    let Output { ranked, titles, inputs, answers } = output.clone();
    let (definitions, epochs, all_queries) = (definitions.clone(), epochs.to_vec(), all_queries.to_vec());
    let Way { workers, from_lake, late, fixed_window, in_turn, counted, reference } = way.clone();
    timely::execute(workers.config(), move |worker| {
        let mut ticks = InputHandle::<u64, CapacityContainerBuilder<Vec<Tick>>>::new();
        let mut plays = InputHandle::<u64, CapacityContainerBuilder<Vec<PlayBatch>>>::new();
        let mut tallies = InputSession::<u64, Tally, i64>::new();
        let mut namings = InputHandle::<u64, CapacityContainerBuilder<Vec<Naming>>>::new();
        let mut queries = InputHandle::<u64, CapacityContainerBuilder<Vec<Query>>>::new();
        let mut titles_of_reference = InputSession::<u64, (String, TrackInfo), i64>::new();
        let probe = ProbeHandle::new();
        worker.dataflow(|scope| {
            let ticks = scope.input_from(&mut ticks).broadcast();
            let plays = scope.input_from(&mut plays);
            let tallied = Tallied { tallies: tallies.to_collection(scope), namings: scope.input_from(&mut namings) };
            let queries = scope.input_from(&mut queries).broadcast();
            let titles_of_reference = titles_of_reference.to_collection(scope);
            let given = reference.is_some().then_some(Reference { titles: titles_of_reference });
            let charts = build(&definitions, ticks, plays, tallied, queries, given);
            capture(charts.ranked, &ranked, &probe);
            capture(charts.titles, &titles, &probe);
            let inputs = inputs.clone();
            charts.inputs.inspect(move |change| inputs.lock().unwrap().push(*change)).probe_with(&probe);
            let answers = answers.clone();
            charts.answers.inspect(move |answer| answers.lock().unwrap().push(answer.clone())).probe_with(&probe);
        });
        let counted = batches(&share(&counted, worker.index(), worker.peers()), from_lake);
        checkpoint(&definitions, &counted, |tally, count| tallies.update(tally, count), |naming| namings.send(naming));
        let window_us = epochs[0].0.filter(|_| fixed_window).map(|clock_us| definitions.trending.window(clock_us));
        let windowed = |batch: PlayBatch| match window_us {
            Some((start_us, end_us)) => batch.with_fixed_window(start_us..end_us),
            None => batch,
        };
        counted.into_iter().for_each(|batch| plays.send(windowed(batch.for_window_only())));
        tallies.close();
        namings.close();
        for (epoch, (clock_us, of_epoch)) in (0..).zip(&epochs) {
            if worker.index() == 0 {
                ticks.send(Tick { epoch, clock_us: *clock_us, stage: Stage::Live, cut: None });
            }
            for piece in share(of_epoch, worker.index(), worker.peers()).chunks(7) {
                // Some files have titles among their columns.
                let is_late = late && piece[0].song != 0;
                let batches = if is_late { late_batches(piece) } else { batches(piece, from_lake) };
                batches.into_iter().for_each(|batch| plays.send(windowed(batch)));
            }
            for (_, query) in
                share(&all_queries, worker.index(), worker.peers()).into_iter().filter(|(at, _)| *at == epoch)
            {
                queries.send(query);
            }
            let changes = reference.iter().flat_map(|reference| reference.get(epoch as usize)).flatten();
            for (title, diff) in share(&changes.cloned().collect::<Vec<_>>(), worker.index(), worker.peers()) {
                titles_of_reference.update(title, diff);
            }
            titles_of_reference.advance_to(epoch + 1);
            titles_of_reference.flush();
            ticks.advance_to(epoch + 1);
            plays.advance_to(epoch + 1);
            queries.advance_to(epoch + 1);
            if in_turn {
                worker.step_while(|| probe.less_than(&(epoch + 1)));
            }
        }
    })
    .unwrap();
    output
}

fn share<T: Clone>(all: &[T], worker: usize, workers: usize) -> Vec<T> {
    all.iter().skip(worker).step_by(workers).cloned().collect()
}

/// Counts `plays` by a plan that has more charts than `definitions`, and translates the tallies to
/// the plan of `definitions`.
fn checkpoint(
    definitions: &Definitions,
    plays: &[PlayBatch],
    mut tally: impl FnMut(Tally, i64),
    naming: impl FnMut(Naming),
) {
    let more = format!("{CHARTS}\n[[chart]]\nname = 'more'\nperiod = 'month'\nscopes = ['device']");
    let rich = Plan::new(&Definitions::parse(&more).unwrap()).without_window();
    let translation = Plan::new(definitions).translation(&rich.counted_by()).unwrap();
    let mut summariser = Summariser::new(&rich);
    plays.iter().for_each(|batch| summariser.count(batch));
    summariser.drain(|is_pane, (key, item), count| {
        assert!(!is_pane);
        translation.keys(&key).into_iter().for_each(|key| tally((key, item), count));
    });
    summariser.drain_namings().for_each(naming);
}

/// Adds clocks to epochs: none to the first, and to each other a clock one step later.
pub fn with_clocks(epochs: &[Vec<Play>], steps_us: &[i64]) -> Vec<EpochInput> {
    let mut clock_us = None;
    let clocks = (0..).map(|epoch: usize| {
        let step_us = steps_us[epoch % steps_us.len()];
        clock_us = (epoch > 0).then(|| clock_us.unwrap_or(super::MONDAY_US) + step_us);
        clock_us
    });
    clocks.zip(epochs.iter().cloned()).collect()
}
