//! Simulated machines: network namespaces connected by a bridge in a further namespace, with links
//! that the test can take down.
//!
//! All of them belong to one user namespace, so no root is needed, and the network of the host is
//! never changed. A namespace exists as long as a process in it: a child of the test holds each,
//! and ends when its stdin closes. Nothing is left behind, however the test ends.
//!
//! Every machine reaches the broker on its own loopback through `tests/relay.py`, and the test
//! reaches each machine's HTTP the same way. Neither path crosses the bridge, so a cut separates
//! the processes from each other and from nothing else.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::program::{Program, clean};
use super::{broker, eventually, repository};

/// If set to 1, tests with networks are skipped where no namespace can be created. Nothing else
/// skips them.
const WITHOUT_NETNS: &str = "REPRISE_TEST_WITHOUT_NETNS";
/// The address at which a process must listen for [`Network::get`] to reach it.
pub const HTTP: &str = "127.0.0.1:7878";
const PORT: u16 = 2101;
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The machines, the bridge between them, and the relay to the broker.
pub struct Network {
    machines: Vec<Holder>,
    switch: Holder,
    _broker: Holder,
    /// For the relays' sockets. Not in Cargo's folder, because socket paths have to be short.
    folder: TempDir,
}

impl Network {
    /// A network of `machines` machines; `None` if the test is to be skipped.
    pub fn of(machines: usize) -> Option<Self> {
        if let Err(why) = is_possible() {
            let is_unwanted = std::env::var(WITHOUT_NETNS).is_ok_and(|value| value == "1");
            assert!(is_unwanted, "no network can be created here: {why}; {WITHOUT_NETNS}=1 skips this test");
            eprintln!("SKIPPED, because {WITHOUT_NETNS}=1: a network cut");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("reprise-net-").tempdir().expect("a folder can be made");
        let ready = folder.path().join("switch");
        let make = "ip link add name switch type bridge && ip link set switch up && : >\"$1\" && exec cat";
        let switch = Holder::start(unshare(make).arg(&ready), &ready);
        let socket = folder.path().join("broker");
        let broker = Holder::start(relay(Command::new("python3")).arg(&socket).arg(broker::servers()), &socket);
        let mut network = Self { machines: Vec::new(), switch, _broker: broker, folder };
        for machine in 0..machines {
            network.plug_in(machine, &socket);
        }
        Some(network)
    }

    fn plug_in(&mut self, machine: usize, broker: &Path) {
        let mut holder = self.switch.enter();
        holder.args(["unshare", "-n", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh", "python3"]);
        // The relay creates its sockets in the order of its arguments, so `http` exists last.
        let http = self.http(machine);
        let holder = Holder::start(relay(holder).arg(broker::servers()).arg(broker).arg(&http).arg(HTTP), &http);
        let (cable, id) = (cable(machine), holder.0.id().to_string());
        self.switch.ip(&["link", "add", "name", &cable, "type", "veth", "peer", "name", "eth0", "netns", &id]);
        self.switch.ip(&["link", "set", &cable, "master", "switch", "up"]);
        holder.ip(&["address", "add", &format!("{}/24", ip(machine)), "dev", "eth0"]);
        holder.ip(&["link", "set", "eth0", "up"]);
        self.machines.push(holder);
    }

    /// The cluster address of a process on each of `machines`.
    pub fn addresses(machines: [usize; 3]) -> Vec<String> {
        machines.map(|machine| format!("{}:{PORT}", ip(machine))).into()
    }

    /// Takes the link between a machine and the bridge down.
    pub fn cut(&self, machine: usize) {
        self.switch.ip(&["link", "set", &cable(machine), "down"]);
    }

    /// Brings the link up again.
    pub fn heal(&self, machine: usize) {
        self.switch.ip(&["link", "set", &cable(machine), "up"]);
    }

    /// Starts `reprise` on a machine.
    pub fn reprise(&self, machine: usize, arguments: &[String], variables: &[(&str, String)]) -> Program {
        let mut command = self.machines[machine].enter();
        // Without the signal, the processes in the namespaces would outlive a killed test process.
        command.args(["setpriv", "--pdeathsig", "KILL", env!("CARGO_BIN_EXE_reprise")]).args(arguments);
        clean(&mut command);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        Program::spawn(&mut command)
    }

    /// Sends a GET request to the process that listens at [`HTTP`] on a machine. Returns the
    /// status, or `None` if there is no answer.
    pub fn get(&self, machine: usize, path: &str) -> Option<u16> {
        let mut socket = UnixStream::connect(self.http(machine)).ok()?;
        socket.set_read_timeout(Some(ANSWER_MAX)).ok()?;
        socket.write_all(format!("GET {path} HTTP/1.0\r\nHost: {HTTP}\r\n\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        answer.split_whitespace().nth(1)?.parse().ok()
    }

    fn http(&self, machine: usize) -> PathBuf {
        self.folder.path().join(format!("http-{machine}"))
    }
}

/// A child process that keeps a namespace alive; some also relay connections.
struct Holder(Child);

impl Holder {
    /// Waits until the file `ready` exists, which the child creates last.
    #[track_caller]
    fn start(command: &mut Command, ready: &Path) -> Self {
        let child = with_sbin(command).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        let mut holder = Self(child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}")));
        eventually("the namespace and its relay are ready", || {
            let ended = holder.0.try_wait().expect("a child can be waited for");
            assert!(ended.is_none(), "{command:?} has ended: {ended:?}");
            ready.exists().then_some(())
        });
        holder
    }

    /// A command that runs a program in the holder's namespace.
    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        with_sbin(&mut command).args(["--preserve-credentials", "-U", "-n", "-t", &self.0.id().to_string()]);
        command
    }

    #[track_caller]
    fn ip(&self, arguments: &[&str]) {
        Program::spawn(self.enter().arg("ip").args(arguments)).succeed();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_possible() -> Result<(), String> {
    // The broker advertises its address to clients, so the address has to work on every machine.
    let servers = broker::servers();
    if servers.contains(',') || !["127.0.0.1:", "localhost:"].iter().any(|host| servers.starts_with(host)) {
        return Err(format!("the broker has to be on loopback, and is {servers}"));
    }
    let advice = "it needs iproute2, util-linux, python3 and user name spaces \
        (Ubuntu: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0)";
    let tried = with_sbin(&mut unshare("ip link set lo up && python3 -c ''")).output();
    match tried.map_err(|error| format!("unshare does not run ({error}); {advice}"))? {
        tried if tried.status.success() => Ok(()),
        tried => Err(format!("{}; {advice}", String::from_utf8_lossy(&tried.stderr).trim())),
    }
}

/// A command that runs a shell script in new user and network namespaces.
fn unshare(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-Urn", "sh", "-c", script, "sh"]);
    command
}

/// Adds the folders in which `ip` is installed, which are not in every user's PATH.
fn with_sbin(command: &mut Command) -> &mut Command {
    command.env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()))
}

fn relay(mut python: Command) -> Command {
    python.arg(repository().join("tests/relay.py"));
    python
}

fn ip(machine: usize) -> String {
    format!("10.213.0.{}", machine + 1)
}

/// The name of a link's end at the bridge.
fn cable(machine: usize) -> String {
    format!("cable{machine}")
}
