//! Threads beside the dataflow: those that end when what holds them is dropped, and those that ask one question.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::JoinHandle;
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
