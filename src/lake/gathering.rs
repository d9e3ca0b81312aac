//! At a cut the workers of a process put their waiting plays together and share out the hours, so that an hour which several of
//! them have read becomes one file. Without it a history that is spread over many hours would become a file for each hour and
//! worker. Hours with many plays have files that grow already, one at each worker that reads them.

use std::collections::BTreeMap;
use std::sync::{Barrier, Mutex, PoisonError};

use anyhow::Result;

use super::hours::Hours;

/// Where the workers of one process meet at each cut.
pub struct Gathering {
    workers: usize,
    all_are_here: Barrier,
    pool: Mutex<Pool>,
}

#[derive(Default)]
struct Pool {
    waiting: Hours,
    /// Hours that a file grows for, and the first worker that has one.
    growing: BTreeMap<i64, usize>,
    /// Workers that have taken their share.
    served: usize,
}

impl Gathering {
    /// A place for so many `workers`.
    pub fn new(workers: usize) -> Self {
        Self { workers, all_are_here: Barrier::new(workers), pool: Mutex::default() }
    }

    /// Gives away what waits at `worker`, waits until all have done so, and takes a share of the hours: first
    /// those that are `growing` there. Every worker calls this once for each cut, and no two cuts overlap.
    ///
    /// # Errors
    /// When small batches cannot be put together.
    pub fn exchange(&self, worker: usize, waiting: Hours, growing: impl Iterator<Item = i64>) -> Result<Hours> {
        if self.workers == 1 {
            return Ok(waiting);
        }
        // The workers of a process have numbers that follow each other.
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
