//! The connection to another process, as timely uses it: a stream of bytes that notices when the
//! other end is gone.
//!
//! TCP does not report a peer that is frozen or cut off, and timely never checks. So bytes travel
//! in frames, with heartbeat frames between them. A process that receives nothing at all for the
//! stall timeout has lost its peer; so has one that finds the stream closed without a farewell.
//! Either is fatal: the process ends, and a supervisor starts all of them again.
//!
//! ```text
//! frame:  kind (1 byte) · length of the content (4 bytes, big endian) · content
//!         Data            a part of timely's stream
//!         Heartbeat       empty
//!         ControlMessage  a message before timely starts
//!         Farewell        empty
//! ```

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use timely::communication::allocator::zero_copy::stream::Stream;

use crate::process::failpoint;

/// Heartbeats in one stall timeout: a few may be late.
const HEARTBEATS_PER_TIMEOUT: u32 = 4;
/// How often a thread that watches a link checks whether it is to stop, so that others may read
/// from the link.
const WATCH_INTERVAL: Duration = Duration::from_millis(20);
/// Size of the read buffer; larger reads go straight to timely's buffers.
const INPUT_BYTES: usize = 256 << 10;
const HEADER_BYTES: usize = 5;
/// Limit of a control message. A data frame is as long as what timely writes at once.
const CONTROL_BYTES_MAX: usize = 4 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum FrameKind {
    Data = 0,
    Heartbeat = 1,
    ControlMessage = 2,
    Farewell = 3,
}

/// Called with the reason when a peer is lost. It ends the process, and so does not return.
pub type Lost = Arc<dyn Fn(anyhow::Error) + Send + Sync>;

/// One end of a connection. Clones share it.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    /// The name of the process at the other end, for messages.
    peer: String,
    stall_timeout: Duration,
    socket: TcpStream,
    input: Mutex<Input>,
    /// The buffer for the next frame; locked while a frame is written.
    output: Mutex<Vec<u8>>,
    /// Set when nothing more will be written.
    closed: AtomicBool,
    sent_bytes: AtomicU64,
    lost: Lost,
}

struct Input {
    socket: BufReader<TcpStream>,
    /// Bytes of the current data frame that have not been read yet.
    left: usize,
    /// Whether the peer has said farewell.
    farewell: bool,
}

impl Link {
    /// A link over `socket`. Nothing that the peer sent on it may have been read ahead. Heartbeats
    /// begin at once. `peer` names the other end in messages.
    ///
    /// # Errors
    /// If the socket cannot be set up, or the thread for heartbeats cannot be started.
    pub fn new(socket: TcpStream, peer: String, stall_timeout: Duration, lost: Lost) -> Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(stall_timeout))?;
        // A healthy peer reads what it receives at once, so a write that blocks means a lost peer.
        socket.set_write_timeout(Some(stall_timeout))?;
        let input = BufReader::with_capacity(INPUT_BYTES, socket.try_clone()?);
        let link = Self(Arc::new(Inner {
            peer,
            stall_timeout,
            socket,
            input: Mutex::new(Input { socket: input, left: 0, farewell: false }),
            output: Mutex::default(),
            closed: AtomicBool::new(false),
            sent_bytes: AtomicU64::new(0),
            lost,
        }));
        let weak = Arc::downgrade(&link.0);
        let heartbeats = move || {
            while let Some(inner) = weak.upgrade() {
                if inner.closed.load(Ordering::Relaxed) {
                    return;
                }
                inner.send_heartbeat();
                let interval = inner.stall_timeout / HEARTBEATS_PER_TIMEOUT;
                // Do not keep the link alive while this thread sleeps.
                drop(inner);
                std::thread::sleep(interval);
            }
        };
        std::thread::Builder::new().name("reprise-beat".to_owned()).spawn(heartbeats)?;
        Ok(link)
    }

    /// Bytes of data frames sent so far, with their headers.
    pub fn sent_bytes(&self) -> u64 {
        self.0.sent_bytes.load(Ordering::Relaxed)
    }

    /// Sends a control message, before timely has the link.
    ///
    /// # Errors
    /// If the peer is lost.
    pub fn send_control(&self, message: &[u8]) -> Result<()> {
        self.0.write_frame(FrameKind::ControlMessage, message)
    }

    /// Waits for a control message. `None` if the peer says farewell instead.
    ///
    /// # Errors
    /// If the peer is lost, or sends another frame than a control message.
    pub fn receive_control(&self) -> Result<Option<Vec<u8>>> {
        let mut input = self.0.input();
        match self.0.next_frame(&mut input)? {
            None => Ok(None),
            Some((FrameKind::ControlMessage, bytes)) if bytes <= CONTROL_BYTES_MAX => {
                let mut message = vec![0; bytes];
                input.socket.read_exact(&mut message).map_err(|error| self.0.lose(error))?;
                Ok(Some(message))
            }
            Some((kind, bytes)) => Err(damaged(format!("an unexpected {kind:?} frame of {bytes} bytes"))),
        }
    }

    /// Reads heartbeats, and reports a lost peer, until `until` is set or a frame of another kind
    /// comes, which is left unread. For the time before timely has the link, when nothing else
    /// reads from it.
    pub fn watch(&self, until: &AtomicBool) {
        let mut input = self.0.input();
        if let Err(error) = self.0.read_heartbeats(&mut input, until) {
            self.0.lose(error);
        }
    }

    /// Says farewell: nothing more will be sent.
    ///
    /// # Errors
    /// If the peer has closed the connection.
    pub fn leave(&self) -> Result<()> {
        if self.0.closed.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        // An error here does not count as a lost peer: it may have left before us.
        self.0.write_locked(self.0.output(), FrameKind::Farewell, &[])?;
        self.0.socket.shutdown(Shutdown::Write)
    }
}

impl Inner {
    fn input(&self) -> MutexGuard<'_, Input> {
        self.input.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_frame(&self, kind: FrameKind, content: &[u8]) -> Result<()> {
        self.write_locked(self.output(), kind, content).map_err(|error| self.lose(error))
    }

    fn output(&self) -> MutexGuard<'_, Vec<u8>> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes header and content in one call, so that a small frame is one packet.
    fn write_locked(&self, mut frame: MutexGuard<'_, Vec<u8>>, kind: FrameKind, content: &[u8]) -> Result<()> {
        let length = u32::try_from(content.len()).map_err(|_| damaged("a frame of more than 4 GiB".to_owned()))?;
        frame.clear();
        frame.push(kind as u8);
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(content);
        (&self.socket).write_all(&frame)
    }

    /// Sends a heartbeat, unless another frame is being written, which serves as well.
    fn send_heartbeat(&self) {
        if let Ok(frame) = self.output.try_lock()
            && !self.closed.load(Ordering::Relaxed)
        {
            // A part of the frame may have gone out, so nothing may follow it. Closing the socket
            // makes the reading thread report the loss.
            if self.write_locked(frame, FrameKind::Heartbeat, &[]).is_err() {
                let _ = self.socket.shutdown(Shutdown::Both);
            }
        }
    }

    /// Reads heartbeats until `until` is set or another frame comes, which it leaves unread.
    fn read_heartbeats(&self, input: &mut Input, until: &AtomicBool) -> Result<()> {
        let mut received_at = Instant::now();
        while !until.load(Ordering::Relaxed) {
            self.socket.set_read_timeout(Some(WATCH_INTERVAL))?;
            let filled = uninterrupted(|| input.socket.fill_buf().map(|bytes| bytes.first().copied()));
            // The rest of a frame that has begun may take as long as the stall timeout.
            self.socket.set_read_timeout(Some(self.stall_timeout))?;
            match filled {
                Ok(None) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(Some(kind)) if kind == FrameKind::Heartbeat as u8 => {
                    input.socket.read_exact(&mut [0; HEADER_BYTES])?;
                    received_at = Instant::now();
                }
                Ok(Some(_)) => return Ok(()),
                Err(error) if !is_late(&error) || received_at.elapsed() >= self.stall_timeout => return Err(error),
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// The header of the next frame that is neither a heartbeat nor empty data: its kind and
    /// length. `None` once the connection has ended after a farewell.
    fn next_frame(&self, input: &mut Input) -> Result<Option<(FrameKind, usize)>> {
        loop {
            let mut header = [0; HEADER_BYTES];
            match uninterrupted(|| input.socket.fill_buf().map(<[u8]>::is_empty)) {
                Ok(false) => {}
                // After a farewell the connection may end in any way.
                Ok(true) | Err(_) if input.farewell => return Ok(None),
                Ok(true) => return Err(self.lose(ErrorKind::UnexpectedEof.into())),
                Err(error) => return Err(self.lose(error)),
            }
            input.socket.read_exact(&mut header).map_err(|error| self.lose(error))?;
            let [kind, length @ ..] = header;
            let bytes = u32::from_be_bytes(length) as usize;
            match kind {
                0 if bytes > 0 => return Ok(Some((FrameKind::Data, bytes))),
                0 | 1 => {}
                2 => return Ok(Some((FrameKind::ControlMessage, bytes))),
                3 => input.farewell = true,
                other => return Err(damaged(format!("a frame of the unknown kind {other}"))),
            }
        }
    }

    /// Reports a lost peer to `lost`, with a reason made from `error`.
    fn lose(&self, error: Error) -> Error {
        let peer = &self.peer;
        let what = match error.kind() {
            _ if is_late(&error) => {
                let seconds = self.stall_timeout.as_secs_f64();
                format!("{peer} has sent nothing for {seconds} s: it is frozen, or the network is cut")
            }
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                format!("{peer} has closed the connection; its log says why")
            }
            _ => format!("the connection to {peer} has failed: {error}"),
        };
        (self.lost)(anyhow!(
            "{what}. Without it, no process of the cluster can continue: start all of them again; what is committed is safe"
        ));
        error
    }
}

fn is_late(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Retries an attempt that a signal interrupted, as happens when this process is suspended and
/// continued.
fn uninterrupted<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match attempt() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

fn damaged(what: String) -> Error {
    Error::new(ErrorKind::InvalidData, format!("invalid data on a link of the cluster: {what}"))
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        failpoint::reach("link")?;
        let mut input = self.0.input();
        while input.left == 0 {
            match self.0.next_frame(&mut input)? {
                None => return Ok(0),
                Some((FrameKind::Data, bytes)) => input.left = bytes,
                Some((kind, _)) => return Err(damaged(format!("a {kind:?} among data"))),
            }
        }
        let wanted = buffer.len().min(input.left);
        let read = uninterrupted(|| input.socket.read(&mut buffer[..wanted])).map_err(|error| self.0.lose(error))?;
        if read == 0 && wanted > 0 {
            return Err(self.0.lose(ErrorKind::UnexpectedEof.into()));
        }
        input.left -= read;
        Ok(read)
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.write_frame(FrameKind::Data, bytes)?;
        self.0.sent_bytes.fetch_add((HEADER_BYTES + bytes.len()) as u64, Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Stream for Link {
    fn try_clone(&self) -> Result<Self> {
        Ok(self.clone())
    }

    /// Does nothing, so the link stays blocking: timely has a thread of its own for each direction.
    fn set_nonblocking(&self, _nonblocking: bool) -> Result<()> {
        Ok(())
    }

    fn shutdown(&self, how: Shutdown) -> Result<()> {
        match how {
            Shutdown::Write => self.leave(),
            Shutdown::Read | Shutdown::Both => self.0.socket.shutdown(how),
        }
    }
}

#[cfg(test)]
mod tests;
