//! Blocking reads and writes on a socket with a deadline for the whole exchange.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often a blocked read or write checks the deadline and the stop flag.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// A socket whose reads and writes fail with `TimedOut` after a deadline, even if bytes keep
/// trickling in, or once this process is to stop.
pub struct Bounded<'a> {
    /// The socket; its own timeouts are overwritten.
    pub socket: &'a mut TcpStream,
    /// When reads and writes begin to fail.
    pub deadline: Instant,
    /// Set when this process is to stop.
    pub stop: &'a AtomicBool,
}

impl Bounded<'_> {
    fn attempt<T>(&mut self, mut attempt: impl FnMut(&mut TcpStream) -> io::Result<T>) -> io::Result<T> {
        self.socket.set_read_timeout(Some(RETRY_INTERVAL))?;
        self.socket.set_write_timeout(Some(RETRY_INTERVAL))?;
        loop {
            if self.stop.load(Ordering::Relaxed) || Instant::now() >= self.deadline {
                return Err(ErrorKind::TimedOut.into());
            }
            match attempt(self.socket) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                outcome => return outcome,
            }
        }
    }
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.attempt(|socket| socket.read(buffer))
    }
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.attempt(|socket| socket.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
