//! Two machines and the cable between them, that can be bad or cut.
//!
//! Each machine is a network namespace, the cable is a pair of virtual Ethernet devices. A namespace belongs to who
//! makes it, and a program with several threads can't go into one. So a test runs itself once more, inside: what runs
//! there is alone with its networks, needs no rights outside, and takes all of it along when it ends, however it ends.

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::{binaries, skipped};

const INSIDE: &str = "SYNC_TESTS_INSIDE";
const NEAR: &str = "10.77.0.1";
const NET: &str = "10.77.0";
/// Where a user's shell may not look.
const PLACES: [&str; 2] = ["/usr/sbin", "/sbin"];
/// What a wire is made of, tried out where nobody is harmed.
const TRIAL: &str = "ip link add near type veth peer name far && ip link set near up &&
    iptables -A INPUT -i near -m statistic --mode random --probability 0.5 -j DROP &&
    tc qdisc add dev near root tbf rate 1mbit burst 4kb latency 100ms";

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the near machine, where the story itself runs, and its relay.
    Near,
    /// To the far machine.
    Far,
}

impl Way {
    /// There and back.
    pub const BOTH: &[Self] = &[Self::Near, Self::Far];
}

/// The cable, with the far machine at its end. Dropping it takes that machine away.
#[derive(Debug)]
pub struct Wire {
    far: Child,
    moves: u8,
}

/// Tells a story between two machines. `test` is the test's own name, as `--exact` has it.
///
/// Where no namespaces can be made, says so instead.
///
/// # Panics
/// If the story does.
#[expect(clippy::print_stdout, reason = "it is the output of the same test, inside")]
pub fn on_a_wire(test: &str, story: impl FnOnce(&mut Wire)) {
    if env::var_os(INSIDE).is_some_and(|inside| inside == test) {
        return story(&mut Wire::lay());
    }
    if let Err(why) = run(unshare().args(["sh", "-c", TRIAL])) {
        return skipped(&format!("no network of its own can be made on this machine: {why}"));
    }
    let this = env::current_exe().expect("a running test has an executable");
    let mut again = unshare();
    again.arg(this).args(["--exact", test, "--nocapture"]).env(INSIDE, test);
    let told = again.env("SYNC_BIN_DIR", binaries::folder()).output().expect("it started a moment ago");
    let said = [told.stdout, told.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    println!("{said}");
    assert!(told.status.success() && said.contains("1 passed"), "{test} failed, see above");
}

impl Wire {
    fn lay() -> Self {
        let mut far = Command::new("unshare")
            .args(["--net", "--", "sh", "-c", "echo here; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare is there");
        let mut said = String::new();
        let stdout = BufReader::new(far.stdout.take().expect("it is piped")).read_line(&mut said);
        assert!(stdout.is_ok() && said == "here\n", "there is no far machine");
        let wire = Self { far, moves: 0 };
        wire.near("ip link set lo up");
        wire.near("ip link add near type veth peer name far");
        wire.near(&format!("ip link set far netns {}", wire.far.id()));
        wire.near(&format!("ip addr add {NEAR}/24 dev near"));
        wire.near("ip link set near up");
        wire.far("ip link set lo up");
        wire.far(&format!("ip addr add {NET}.2/24 dev far"));
        wire.far("ip link set far up");
        wire
    }

    /// The near machine's address.
    pub fn host(&self) -> &'static str {
        NEAR
    }

    /// The words that start a program on the far machine; the program comes after them.
    pub fn entrance(&self) -> Vec<String> {
        vec!["nsenter".to_owned(), format!("--net=/proc/{}/ns/net", self.far.id()), "--".to_owned()]
    }

    /// From now on so many of a hundred packets don't arrive, without a word to anybody.
    pub fn lose(&self, percent: u8, ways: &[Way]) {
        self.mend();
        let chance = f32::from(percent) / 100.0;
        for way in ways {
            let device = if *way == Way::Near { "near" } else { "far" };
            let rule =
                format!("iptables -A INPUT -i {device} -m statistic --mode random --probability {chance:.4} -j DROP");
            self.at(*way, &rule);
        }
    }

    /// From now on nothing arrives.
    pub fn cut(&self, ways: &[Way]) {
        self.lose(100, ways);
    }

    /// Everything arrives again.
    pub fn mend(&self) {
        for way in Way::BOTH {
            self.at(*way, "iptables -F INPUT");
        }
    }

    /// How many packets did not arrive since it last got better or worse.
    pub fn lost(&self) -> u64 {
        let count = |way: &Way| {
            let rules = self.at(*way, "iptables -L INPUT -v -n -x");
            let dropping = rules.lines().filter(|rule| rule.contains("DROP"));
            let packets = dropping.filter_map(|rule| rule.split_whitespace().next());
            packets.map(|packets| packets.parse::<u64>().expect("iptables counts packets")).sum::<u64>()
        };
        Way::BOTH.iter().map(count).sum()
    }

    /// How many packets had to wait for others or were given up for them, since it is narrow.
    pub fn crowded_out(&self) -> u64 {
        let count = |(way, device): (Way, &str)| {
            let said = self.at(way, &format!("tc -s qdisc show dev {device}"));
            let number = |name: &str| {
                let number = said.split_once(name).and_then(|(_, rest)| rest.split([',', ' ', ')']).next());
                number.and_then(|number| number.parse::<u64>().ok()).expect("tc counts packets")
            };
            number("dropped ") + number("overlimits ")
        };
        [(Way::Near, "near"), (Way::Far, "far")].into_iter().map(count).sum()
    }

    /// From now on no more than so many kilobits a second pass, each way.
    pub fn narrow(&self, kbit: u32) {
        for (way, device) in [(Way::Near, "near"), (Way::Far, "far")] {
            self.at(way, &format!("tc qdisc add dev {device} root tbf rate {kbit}kbit burst 8kb latency 200ms"));
        }
    }

    /// The far machine has another address from now on, as a phone has that leaves the house.
    pub fn move_far(&mut self) {
        self.moves += 1;
        self.far("ip addr flush dev far");
        self.far(&format!("ip addr add {NET}.{}/24 dev far", 2 + self.moves));
    }

    fn at(&self, way: Way, line: &str) -> String {
        match way {
            Way::Near => self.near(line),
            Way::Far => self.far(line),
        }
    }

    fn near(&self, line: &str) -> String {
        must(&words(line))
    }

    fn far(&self, line: &str) -> String {
        must(&[self.entrance(), words(line)].concat())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.far.kill();
        let _ = self.far.wait();
    }
}

/// A command in a network of its own, in which its user may do everything.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "--"]).env("PATH", path());
    command
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

fn must(words: &[String]) -> String {
    let (program, args) = words.split_first().expect("a command has a name");
    run(Command::new(program).args(args).env("PATH", path())).unwrap_or_else(|why| panic!("{words:?}: {why}"))
}

/// What it says.
fn run(command: &mut Command) -> Result<String, String> {
    let done = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if done.status.success() { Ok(said(&done.stdout)) } else { Err(said(&done.stderr)) }
}

fn path() -> std::ffi::OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&path).chain(PLACES.iter().map(|place| Path::new(place).to_owned()));
    env::join_paths(places).expect("a path in PATH has no colon")
}
