//! The workers that run the dataflow: threads of this process alone, or with those of the other processes of a cluster.

use anyhow::{Context, Result, anyhow};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use timely::WorkerConfig;
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};
use timely::communication::{Hooks, WorkerGuards};
use timely::execute::execute_from;
use timely::worker::Worker;

use super::join::Joined;
use super::link::Link;
use crate::process::threads::Background;

/// What processes say to each other when their workers may start.
#[derive(Serialize, Deserialize)]
struct ReadyToStart;

/// [`ReadyToStart`] as JSON.
const READY: &[u8] = b"null";

/// The workers of this process, and perhaps the cluster that it is in.
pub struct Team {
    /// So many workers has each process.
    pub threads: usize,
    pub cluster: Option<Joined>,
}

impl Team {
    pub fn alone(workers: usize) -> Self {
        Self { threads: workers, cluster: None }
    }

    /// The number of this process. The first one mints ticks, commits and serves.
    pub fn process(&self) -> usize {
        self.cluster.as_ref().map_or(0, |cluster| cluster.membership.process)
    }

    /// The number of all workers.
    pub fn workers(&self) -> usize {
        self.processes() * self.threads
    }

    pub fn processes(&self) -> usize {
        self.cluster.as_ref().map_or(1, |cluster| cluster.links.len())
    }

    /// Starts the workers. Those of all processes build the same dataflows, in the same order.
    pub fn start<F>(&self, work: F) -> Result<WorkerGuards<()>>
    where
        F: Fn(&mut Worker) + Send + Sync + 'static,
    {
        let guards = match &self.cluster {
            None => timely::execute(timely::Config::process(self.threads), work),
            Some(cluster) => {
                let hooks = Hooks::default();
                let threads = ProcessBuilder::new_typed_vector(self.threads, hooks.refill.clone(), None);
                let (process, links) = (cluster.membership.process, cluster.links.clone());
                let (builders, guard) =
                    initialize_networking_from_sockets(threads, links, process, self.threads, hooks)
                        .context("the threads of the cluster's links cannot be started")?;
                let builders = builders.into_iter().map(AllocatorBuilder::Tcp).collect();
                execute_from(builders, Box::new(guard), WorkerConfig::default(), work)
            }
        };
        guards.map_err(|error| anyhow!("the dataflow cannot be started: {error}"))
    }

    /// Notices it when another process is gone, until what is given is dropped, which has to be before the workers start. In a
    /// process that is not the first it leaves the link alone on which process 0 is to be heard.
    pub fn watch(&self) -> Result<Vec<Background>> {
        let silent = usize::from(self.process() > 0);
        self.links().into_iter().skip(silent).map(watch).collect()
    }

    /// Likewise for process 0, while nothing is to be heard from it.
    pub fn watch_first(&self) -> Result<Option<Background>> {
        self.links().into_iter().next().map(watch).transpose()
    }

    /// Waits until all processes are ready to start their workers: who is not does not read yet what the others send. False if
    /// process 0 has left.
    pub fn await_all(&self) -> Result<bool> {
        if self.cluster.is_none() {
            return Ok(true);
        }
        if self.process() > 0 {
            let first = self.links().into_iter().next().context("a process alone has nobody to wait for")?;
            first.say(READY).context("process 0 cannot be told that we are ready")?;
            return Ok(self.hear::<ReadyToStart>()?.is_some());
        }
        for link in self.links() {
            link.hear().context("not all processes of the cluster have become ready")?;
        }
        self.announce(&ReadyToStart)?;
        Ok(true)
    }

    /// Tells all other processes where to go on, before the workers start.
    pub fn announce(&self, start: &impl Serialize) -> Result<()> {
        let word = serde_json::to_vec(start)?;
        self.links().iter().try_for_each(|link| link.say(&word)).context("the cluster cannot be told where to go on")
    }

    /// What process 0 announces. None if it has left instead.
    pub fn hear<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        let first = self.links().into_iter().next().context("a process alone has nobody to listen to")?;
        let word = first.hear().context("process 0 does not say where to go on")?;
        word.map(|word| serde_json::from_slice(&word).context("what process 0 says makes no sense")).transpose()
    }

    /// Takes leave of a cluster whose workers were not started.
    pub fn leave(&self) {
        self.links().iter().for_each(|link| drop(link.leave()));
    }

    /// The links to the other processes, in their order.
    pub fn links(&self) -> Vec<Link> {
        self.cluster.iter().flat_map(|cluster| cluster.links.iter().flatten().cloned()).collect()
    }
}

fn watch(link: Link) -> Result<Background> {
    Background::start("reprise-watch", move |stop| link.watch(stop))
}
