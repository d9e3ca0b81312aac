//! Threads beside the dataflow: those that end when what holds them is dropped, those that have a last word then, and those
//! that ask one question.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How soon somebody who wants to leave is heard while there is no answer.
const STOP_INTERVAL: Duration = Duration::from_millis(50);

/// The holder of such a thread.
pub struct Background {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Starts a thread that does `work` until the flag that it is given is set. It is unparked then.
    pub fn start(name: &str, work: impl FnOnce(&AtomicBool) + Send + 'static) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || work(&flag));
        Ok(Self { stop, thread: Some(thread.with_context(|| format!("the thread {name} cannot be started"))?) })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// The holder of a thread that has something left to do when this is dropped. It may be left behind: what it does must not
/// keep the process from ending.
pub struct Closing {
    stop: Arc<AtomicBool>,
    thread: Thread,
    ended: Receiver<()>,
    last_max: Duration,
    left_behind: Box<dyn Fn()>,
}

impl Closing {
    /// Starts a thread that does `work` until the flag that it is given is set, and once more. It is unparked then. After
    /// `last_max` nobody waits for it any longer, and `left_behind` says so.
    pub fn start(
        name: &str,
        last_max: Duration,
        left_behind: impl Fn() + 'static,
        work: impl FnOnce(&AtomicBool) + Send + 'static,
    ) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let (end, ended): (Sender<()>, _) = channel();
        let work = move || {
            work(&flag);
            // Dropping it is how its end is heard of.
            drop(end);
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
        let thread = thread.with_context(|| format!("the thread {name} cannot be started"))?.thread().clone();
        Ok(Self { stop, thread, ended, last_max, left_behind: Box::new(left_behind) })
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.unpark();
        if self.ended.recv_timeout(self.last_max) == Err(RecvTimeoutError::Timeout) {
            (self.left_behind)();
        }
    }
}

/// Asks on a thread of its own, since an answer may take long, and does not wait for it when `stop` is set.
pub fn unless_stopped<T: Send + 'static>(
    stop: &AtomicBool,
    ask: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<Option<T>> {
    let (answered, answer) = channel();
    let ask = move || drop(answered.send(ask()));
    std::thread::Builder::new().name("reprise-ask".to_owned()).spawn(ask).context("a thread cannot be started")?;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        match answer.recv_timeout(STOP_INTERVAL) {
            Ok(answer) => return answer.map(Some),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => bail!("the thread that asks has died"),
        }
    }
}
