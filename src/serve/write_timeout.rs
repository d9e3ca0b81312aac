//! Write timeout: gives up a connection whose client reads too slowly, because unsent bytes wait in
//! our memory.
//!
//! A connection begins with a time credit, its `patience`, such as 30 s. The time for which a write
//! is blocked uses the credit up. The credit grows again with each byte that the client takes, by
//! the time that the byte takes at the least rate, and with the time in which no write is blocked;
//! it never exceeds `patience`. So an answer may take `patience` and the time that its bytes take
//! at the least rate. A timer that any byte resets would let a client hold an answer for ever, by
//! taking a byte now and then.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// The rate, in bytes per second, at which a client must read on average: half a megabit per
/// second, which a phone on 3G reaches.
pub const LEAST_RATE: u32 = 64 << 10;

/// How fast a client must read.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How far the client may fall behind the least rate.
    pub patience: Duration,
    /// In bytes per second.
    pub least_rate: u32,
}

impl Pace {
    /// The time that `bytes` bytes take at the least rate.
    pub fn time_for(self, bytes: usize) -> Duration {
        Duration::from_secs_f64(bytes as f64 / f64::from(self.least_rate))
    }
}

/// A stream whose writes fail with `TimedOut` once its client has fallen behind the `pace`.
pub struct WithWriteTimeout<S> {
    stream: S,
    pace: Pace,
    /// The credit that is left, as of `since`.
    left: Duration,
    /// When the blocked write began to wait, or when the last write ended.
    since: Instant,
    /// The timer of a blocked write: set while a write waits.
    waits: Option<Pin<Box<Sleep>>>,
}

impl<S> WithWriteTimeout<S> {
    /// Wraps `stream`, with the whole credit.
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

    /// Writes to a client that reads `bytes` bytes every `interval`, until a write fails or the
    /// client has read `rounds` times.
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
            // Dropping the connection ends the client's reads.
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

    /// A client cannot keep an answer in memory by taking a byte now and then.
    #[tokio::test]
    async fn a_client_that_takes_a_trickle_is_given_up() {
        let error = written(1, PACE.patience / 4, 100).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    /// The events of a stream may come a minute apart, and each has the whole patience.
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
