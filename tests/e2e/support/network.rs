//! Machines of a test: network name spaces of their own at a switch in one more, whose cables the test can pull.
//!
//! All of them are below one user name space, so that nobody has to be root, and nothing is ever done to the network of the
//! machine that the tests run on. A name space is gone when the last process in it is: each is held by a child of ours, whose
//! end is the end of its stdin, so nothing is left behind however the test ends.
//!
//! Every machine reaches the broker on its own loopback, and is asked over HTTP, by `tests/relay.py`: neither goes through
//! the switch, so a cut parts the processes from each other and from nothing else.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::program::{Program, clean};
use super::{broker, eventually, repository};

/// Says that tests with networks may be left out where none can be made. Nothing else leaves them out.
const WITHOUT_NETNS: &str = "REPRISE_TEST_WITHOUT_NETNS";
/// Where a process has to answer HTTP to be asked by [`Network::get`].
pub const HTTP: &str = "127.0.0.1:7878";
const PORT: u16 = 2101;
const ANSWER_MAX: Duration = Duration::from_secs(10);

pub struct Network {
    machines: Vec<Holder>,
    switch: Holder,
    _broker: Holder,
    /// Of sockets. Their paths have to be short, so it is not in Cargo's folder.
    folder: TempDir,
}

impl Network {
    /// So many machines; none if the test is to do without.
    pub fn of(machines: usize) -> Option<Self> {
        if let Err(why) = is_possible() {
            let is_unwanted = std::env::var(WITHOUT_NETNS).is_ok_and(|value| value == "1");
            assert!(is_unwanted, "no network can be made here: {why}; {WITHOUT_NETNS}=1 leaves this test out");
            eprintln!("LEFT OUT, because {WITHOUT_NETNS}=1: a network that is cut");
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
        // What is last is there last.
        let http = self.http(machine);
        let holder = Holder::start(relay(holder).arg(broker::servers()).arg(broker).arg(&http).arg(HTTP), &http);
        let (cable, id) = (cable(machine), holder.0.id().to_string());
        self.switch.ip(&["link", "add", "name", &cable, "type", "veth", "peer", "name", "eth0", "netns", &id]);
        self.switch.ip(&["link", "set", &cable, "master", "switch", "up"]);
        holder.ip(&["address", "add", &format!("{}/24", ip(machine)), "dev", "eth0"]);
        holder.ip(&["link", "set", "eth0", "up"]);
        self.machines.push(holder);
    }

    /// Where a process of a cluster listens on each of `machines`.
    pub fn addresses(machines: [usize; 3]) -> Vec<String> {
        machines.map(|machine| format!("{}:{PORT}", ip(machine))).into()
    }

    /// Pulls the cable between a machine and the switch.
    pub fn cut(&self, machine: usize) {
        self.switch.ip(&["link", "set", &cable(machine), "down"]);
    }

    pub fn heal(&self, machine: usize) {
        self.switch.ip(&["link", "set", &cable(machine), "up"]);
    }

    /// Starts `reprise` on a machine.
    pub fn reprise(&self, machine: usize, arguments: &[String], variables: &[(&str, String)]) -> Program {
        let mut command = self.machines[machine].enter();
        // Should this process be killed, nobody else ends those that keep a name space.
        command.args(["setpriv", "--pdeathsig", "KILL", env!("CARGO_BIN_EXE_reprise")]).args(arguments);
        clean(&mut command);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        Program::spawn(&mut command)
    }

    /// Asks the process that listens at [`HTTP`] on a machine. Gives the status, if it answers.
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

/// A process that does nothing but hold a name space, or relay.
struct Holder(Child);

impl Holder {
    /// Waits until `ready` is there, which it makes last.
    #[track_caller]
    fn start(command: &mut Command, ready: &Path) -> Self {
        let child = with_sbin(command).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        let mut holder = Self(child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}")));
        eventually("a name space and its relay are there", || {
            let ended = holder.0.try_wait().expect("a child can be waited for");
            assert!(ended.is_none(), "{command:?} has ended: {ended:?}");
            ready.exists().then_some(())
        });
        holder
    }

    /// What runs a program in its name space, in place of itself.
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
    // The broker says its address to its clients, so it has to be one that every machine has.
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

/// What runs a script in a user name space with a network of its own.
fn unshare(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-Urn", "sh", "-c", script, "sh"]);
    command
}

/// Where `ip` is, unless one is root.
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

/// The name of the switch's end.
fn cable(machine: usize) -> String {
    format!("cable{machine}")
}
