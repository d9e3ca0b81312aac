//! The workers that run the dataflow: the threads of this process, alone or together with those of
//! the other processes of a cluster.

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

/// The message by which processes tell each other that their workers may start.
#[derive(Serialize, Deserialize)]
struct ReadyToStart;

/// [`ReadyToStart`] as JSON.
const READY: &[u8] = b"null";

/// The workers of this process, and the cluster that it is in, if any.
pub struct Team {
    /// Workers of each process.
    pub threads: usize,
    /// The cluster; `None` for a process alone.
    pub cluster: Option<Joined>,
}

impl Team {
    /// A single process.
    pub fn alone(workers: usize) -> Self {
        Self { threads: workers, cluster: None }
    }

    /// The number of this process. The first one mints ticks, commits and serves.
    pub fn process(&self) -> usize {
        self.cluster.as_ref().map_or(0, |cluster| cluster.membership.process)
    }

    /// The number of workers of all processes.
    pub fn workers(&self) -> usize {
        self.processes() * self.threads
    }

    /// The number of processes.
    pub fn processes(&self) -> usize {
        self.cluster.as_ref().map_or(1, |cluster| cluster.links.len())
    }

    /// Starts the workers. `work` must build the same dataflows, in the same order, on every worker
    /// of every process.
    ///
    /// # Errors
    /// If a thread cannot be started.
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

    /// Watches the links for lost peers until the returned holders are dropped, which must happen
    /// before the workers start. All processes but process 0 leave out the link to process 0: they
    /// read control messages from it.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn watch(&self) -> Result<Vec<Background>> {
        let silent = usize::from(self.process() > 0);
        self.links().into_iter().skip(silent).map(watch).collect()
    }

    /// Watches the first link only, which is that to process 0 in all other processes, while no
    /// message is read from it.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn watch_first(&self) -> Result<Option<Background>> {
        self.links().into_iter().next().map(watch).transpose()
    }

    /// Waits until all processes are ready to start their workers: a process that is not ready does
    /// not yet read what the others send. Returns false if process 0 has left.
    ///
    /// # Errors
    /// If another process is lost while we wait.
    pub fn await_all(&self) -> Result<bool> {
        if self.cluster.is_none() {
            return Ok(true);
        }
        if self.process() > 0 {
            let first = self.links().into_iter().next().context("a single process has no other to wait for")?;
            first.send_control(READY).context("cannot tell process 0 that this process is ready")?;
            return Ok(self.receive::<ReadyToStart>()?.is_some());
        }
        for link in self.links() {
            link.receive_control().context("not all processes of the cluster have become ready")?;
        }
        self.broadcast(&ReadyToStart)?;
        Ok(true)
    }

    /// Sends a control message to all other processes, before the workers start.
    ///
    /// # Errors
    /// If a process is lost.
    pub fn broadcast(&self, start: &impl Serialize) -> Result<()> {
        let message = serde_json::to_vec(start)?;
        self.links()
            .iter()
            .try_for_each(|link| link.send_control(&message))
            .context("cannot send the start position to the cluster")
    }

    /// Waits for the next control message of process 0. `None` if it leaves instead.
    ///
    /// # Errors
    /// If process 0 is lost, or its message is not a `T`.
    pub fn receive<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        let first = self.links().into_iter().next().context("a single process has no other to receive from")?;
        let message = first.receive_control().context("process 0 has not sent the start position")?;
        message.map(|message| serde_json::from_slice(&message).context("process 0 sent an invalid message")).transpose()
    }

    /// Says farewell on all links of a cluster whose workers were not started.
    pub fn leave(&self) {
        self.links().iter().for_each(|link| drop(link.leave()));
    }

    /// The links to the other processes, in the order of their numbers.
    pub fn links(&self) -> Vec<Link> {
        self.cluster.iter().flat_map(|cluster| cluster.links.iter().flatten().cloned()).collect()
    }
}

fn watch(link: Link) -> Result<Background> {
    Background::start("reprise-watch", move |stop| link.watch(stop))
}
