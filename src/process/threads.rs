//! Threads besides the dataflow's: some end when their holder is dropped, some have work left to do
//! at that moment, and some make a single request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How often [`unless_stopped`] checks the stop flag while it waits for an answer.
const STOP_INTERVAL: Duration = Duration::from_millis(50);

/// The holder of a background thread. Dropping it stops the thread and waits for its end.
pub struct Background {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Starts a thread that runs `work`, which must return once the flag that it is given is set.
    /// The thread is unparked when that happens.
    ///
    /// # Errors
    /// If the thread cannot be started.
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

/// The holder of a background thread that has work left to do when the holder is dropped. Dropping
/// it waits for a limited time, so that this work cannot keep the process from ending.
pub struct Closing {
    stop: Arc<AtomicBool>,
    thread: Thread,
    ended: Receiver<()>,
    last_max: Duration,
    left_behind: Box<dyn Fn()>,
}

impl Closing {
    /// Starts a thread that runs `work` until the flag that it is given is set, and then a last
    /// time. The thread is unparked when that happens. If it has not ended `last_max` later,
    /// `left_behind` is called, and the thread is not waited for any longer.
    ///
    /// # Errors
    /// If the thread cannot be started.
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
            // Dropping the sender tells the holder that the thread has ended.
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

/// Runs `request` on its own thread, because it may block for long, and returns its answer. Returns
/// `None` without waiting for it once `stop` is set.
///
/// # Errors
/// The error of `request`, or if the thread cannot be started or has panicked.
pub fn unless_stopped<T: Send + 'static>(
    stop: &AtomicBool,
    request: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<Option<T>> {
    let (answered, answer) = channel();
    let request = move || drop(answered.send(request()));
    std::thread::Builder::new()
        .name("reprise-request".to_owned())
        .spawn(request)
        .context("a thread cannot be started")?;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        match answer.recv_timeout(STOP_INTERVAL) {
            Ok(answer) => return answer.map(Some),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => bail!("the thread of the request has died"),
        }
    }
}
