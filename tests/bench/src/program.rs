//! Programs beside this one: started, looked at, killed.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use crate::Failure;

/// A running program. Dropping it kills it.
pub(crate) struct Program {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Program {
    /// Starts it, with what it complains of in this file.
    pub(crate) fn spawn(command: &mut Command, complaints: &Path) -> Result<Self, Failure> {
        let complaints = fs::File::options().create(true).append(true).open(complaints)?;
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(complaints).spawn()?;
        let stdout = child.stdout.take().ok_or("its output is piped")?;
        Ok(Self { child, stdout: BufReader::new(stdout) })
    }

    /// The next line it prints.
    pub(crate) fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            return Err("a program that was to be measured ended".into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// Its memory in MiB: what is resident of it, program text included.
    pub(crate) fn resident_mib(&self) -> Result<f64, Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse()?;
        Ok(kib / 1024.0)
    }

    /// Kills it as a power cut would, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A program of ours: built beside this one.
pub(crate) fn ours(name: &str) -> Result<PathBuf, Failure> {
    let path = env::current_exe()?.with_file_name(name);
    if path.exists() { Ok(path) } else { Err(format!("{} is not built", path.display()).into()) }
}

/// A program of the system, if it is installed.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    let sbin = [PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")];
    let folders = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    folders.into_iter().chain(sbin).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// A TCP port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Connects to a server that may still be starting.
pub(crate) fn connect(port: u16) -> Result<TcpStream, Failure> {
    for _ in 0..500 {
        if let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            stream.set_nodelay(true)?;
            return Ok(stream);
        }
        thread::sleep(Duration::from_millis(10));
    }
    Err("a server that was to be measured does not start".into())
}
