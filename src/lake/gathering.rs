//! Exchanges waiting plays between the workers of a process at a cut. The workers pool their plays
//! and divide the hours among themselves, so that an hour that several workers have read becomes
//! one file. Without the exchange, a history of many hours would become a file for each hour and
//! worker. Hours with many plays already have growing files, one on each worker that reads them.

use std::collections::BTreeMap;
use std::sync::{Barrier, Mutex, PoisonError};

use anyhow::Result;

use super::hours::Hours;

/// The place where the workers of one process exchange plays at each cut.
pub struct Gathering {
    workers: usize,
    all_are_here: Barrier,
    pool: Mutex<Pool>,
}

#[derive(Default)]
struct Pool {
    waiting: Hours,
    /// Hours that have a growing file, and the first worker that has one.
    growing: BTreeMap<i64, usize>,
    /// How many workers have taken their share.
    served: usize,
}

impl Gathering {
    /// An exchange between `workers` workers.
    pub fn new(workers: usize) -> Self {
        Self { workers, all_are_here: Barrier::new(workers), pool: Mutex::default() }
    }

    /// Adds the plays `waiting` at `worker` to the pool, waits until all workers have done so, and
    /// returns this worker's share of the hours: those that are `growing` there, and a part of the
    /// others. Every worker calls this once for each cut, and cuts do not overlap.
    ///
    /// # Errors
    /// If small batches cannot be concatenated.
    pub fn exchange(&self, worker: usize, waiting: Hours, growing: impl Iterator<Item = i64>) -> Result<Hours> {
        if self.workers == 1 {
            return Ok(waiting);
        }
        // The workers of a process are numbered consecutively.
        let worker = worker % self.workers;
        {
            let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
            pool.waiting.append(waiting)?;
            growing.for_each(|hour| {
                pool.growing.entry(hour).or_insert(worker);
            });
        }
        self.all_are_here.wait();
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let Pool { waiting, growing, served } = &mut *pool;
        let owner = |hour: i64| growing.get(&hour).copied().unwrap_or(hour.rem_euclid(self.workers as i64) as usize);
        let share = waiting.split(|hour| owner(hour) == worker);
        *served += 1;
        if *served == self.workers {
            *pool = Pool::default();
        }
        Ok(share)
    }
}
