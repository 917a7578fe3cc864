//! A keychain of its own for one story: a message bus and a Secret Service, both real, both private.

use std::{
    env, fs,
    io::Write as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{Scratch, eventually};

const PROGRAMS: [&str; 2] = ["dbus-daemon", "gnome-keyring-daemon"];

/// A running keychain. Dropping it ends it.
#[derive(Debug)]
pub struct Keychain {
    address: String,
    programs: Vec<Child>,
}

impl Keychain {
    /// An empty keychain, unlocked; none where its programs are not installed.
    pub fn start(scratch: &Scratch) -> Option<Self> {
        let installed = |program: &&str| {
            env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(program).is_file()))
        };
        if !PROGRAMS.iter().all(installed) {
            return None;
        }
        let folder = scratch.path().join("keychain");
        fs::create_dir(&folder).expect("one keychain a story");
        let socket = folder.join("bus");
        let address = format!("unix:path={}", socket.display());
        let bus = program("dbus-daemon", &folder, &address)
            .args(["--session", "--nofork", "--nopidfile", "--address", &address])
            .stdin(Stdio::null())
            .spawn()
            .expect("it is installed");
        let mut keychain = Self { address, programs: vec![bus] };
        eventually("the bus is there", Duration::from_secs(10), || socket.exists().then_some(()));

        let mut service = program("gnome-keyring-daemon", &folder, &keychain.address)
            .args(["--foreground", "--unlock", "--components=secrets"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("it is installed");
        let mut password = service.stdin.take().expect("stdin is piped");
        password.write_all(b"of a test").expect("it reads its password");
        drop(password);
        keychain.programs.push(service);
        let collections = folder.join("keyrings");
        eventually("the keychain is unlocked", Duration::from_secs(10), || collections.is_dir().then_some(()));
        Some(keychain)
    }

    /// What a program has to know to find it.
    pub fn environment(&self) -> (&str, &str) {
        ("DBUS_SESSION_BUS_ADDRESS", &self.address)
    }
}

impl Drop for Keychain {
    fn drop(&mut self) {
        for program in self.programs.iter_mut().rev() {
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}

fn program(name: &str, folder: &Path, address: &str) -> Command {
    let mut command = Command::new(name);
    command.env("XDG_DATA_HOME", folder).env("XDG_RUNTIME_DIR", folder).env("HOME", folder);
    command.env("DBUS_SESSION_BUS_ADDRESS", address).stdout(Stdio::null()).stderr(Stdio::null());
    command
}
