//! A connection that is given up when its client takes what it is sent too slowly: what is to be sent waits in our memory.
//!
//! A client has some patience, such as 30 s. The time in which a write waits uses it up. It comes back with each byte that is
//! taken, at a least rate, and with the time in which nothing waits. So an answer has that patience and the time for its bytes at
//! the least rate. A timer that starts again with any byte would let a client hold an answer for ever, by a byte now and then.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// The bytes a second that a client takes at least, on average: half a megabit, which a phone on 3G has.
pub const LEAST_RATE: u32 = 64 << 10;

/// How fast a client has to take what it is sent.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How far it may be behind.
    pub patience: Duration,
    /// In bytes a second.
    pub least_rate: u32,
}

impl Pace {
    /// How long `bytes` may take.
    pub fn time_for(self, bytes: usize) -> Duration {
        Duration::from_secs_f64(bytes as f64 / f64::from(self.least_rate))
    }
}

/// A stream whose writes fail once its client is behind the `pace`.
pub struct WithWriteTimeout<S> {
    stream: S,
    pace: Pace,
    /// What is left of the patience, as of `since`.
    left: Duration,
    /// When the write that waits began to, or the last one ended.
    since: Instant,
    /// Set while a write waits.
    waits: Option<Pin<Box<Sleep>>>,
}

impl<S> WithWriteTimeout<S> {
    pub fn new(stream: S, pace: Pace) -> Self {
        Self { stream, pace, left: pace.patience, since: Instant::now(), waits: None }
    }

    fn judge(&mut self, outcome: Poll<io::Result<usize>>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let now = Instant::now();
        let passed = now - self.since;
        match outcome {
            Poll::Ready(outcome) => {
                self.left = match self.waits.take() {
                    Some(_) => self.left.saturating_sub(passed),
                    None => self.left + passed,
                };
                let taken = outcome.as_ref().map_or(0, |bytes| *bytes);
                self.left = (self.left + self.pace.time_for(taken)).min(self.pace.patience);
                self.since = now;
                Poll::Ready(outcome)
            }
            Poll::Pending => {
                if self.waits.is_none() {
                    self.left = (self.left + passed).min(self.pace.patience);
                    self.since = now;
                }
                let left = self.left;
                let waits = self.waits.get_or_insert_with(|| Box::pin(sleep(left)));
                waits.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WithWriteTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(outcome, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.judge(outcome, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        self.judge(outcome.map_ok(|()| 0), context).map_ok(|_| ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WithWriteTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const PACE: Pace = Pace { patience: Duration::from_millis(200), least_rate: 50 };

    /// Writes to a client that takes `bytes` in each `interval`, until that fails or `rounds` have been taken.
    async fn written(bytes: usize, interval: Duration, rounds: usize) -> io::Result<()> {
        let (ours, mut theirs) = duplex(16);
        let mut patient = WithWriteTimeout::new(ours, PACE);
        let reads = async {
            for _ in 0..rounds {
                tokio::time::sleep(interval).await;
                if theirs.read_exact(&mut vec![0; bytes]).await.is_err() {
                    break;
                }
            }
            theirs
        };
        let text = vec![0; 16 + bytes * rounds];
        let writes = async move {
            let outcome = patient.write_all(&text).await;
            // What waits for the client is dropped with its connection.
            drop(patient);
            outcome
        };
        tokio::join!(writes, reads).0
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_given_up_and_a_slow_one_is_not() {
        let began = Instant::now();
        written(8, PACE.patience / 10, 40).await.unwrap();
        assert!(began.elapsed() > 3 * PACE.patience);
        let error = written(8, 10 * PACE.patience, 1).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    /// A byte now and then does not keep an answer in memory.
    #[tokio::test]
    async fn a_client_that_takes_a_trickle_is_given_up() {
        let error = written(1, PACE.patience / 4, 100).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    /// Events may come a minute apart, and each has its whole patience.
    #[tokio::test]
    async fn time_in_which_nothing_waits_brings_patience_back() {
        let (ours, mut theirs) = duplex(1);
        let mut patient = WithWriteTimeout::new(ours, PACE);
        for _ in 0..4 {
            let reads = async {
                tokio::time::sleep(PACE.patience / 2).await;
                theirs.read_exact(&mut [0; 2]).await.unwrap();
            };
            let (written, ()) = tokio::join!(patient.write_all(&[0; 2]), reads);
            written.unwrap();
            tokio::time::sleep(PACE.patience).await;
        }
    }
}
