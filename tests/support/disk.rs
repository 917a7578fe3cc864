//! A disk so small that it can be filled: a file system in memory that only its own processes see.
//!
//! It lives in a mount namespace, which a process of this disk holds open; whoever is to work on it is started in
//! there. Not every machine lets its users make one, and then a test has to say so.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::Scratch;

const BALLAST: &str = "ballast";

/// A small disk. Dropping it throws away what is on it.
#[derive(Debug)]
pub struct SmallDisk {
    holder: Child,
    user: bool,
    place: PathBuf,
}

impl SmallDisk {
    /// One of so many KiB. Where none can be made, says so and gives none.
    pub fn mount(scratch: &Scratch, name: &str, kib: u64) -> Option<Self> {
        let place = scratch.path().join(name);
        fs::create_dir(&place).expect("the scratch folder is writable");
        // With the rights for it a namespace of mounts is enough; others need one in which they are somebody else too.
        let made = [false, true].into_iter().map(|user| Self::try_mount(&place, kib, user));
        let mut why = String::new();
        for made in made {
            match made {
                Ok(disk) => return Some(disk),
                Err(reason) => why = reason,
            }
        }
        report(&format!("SKIPPED: no small disk can be mounted on this machine: {why}"));
        None
    }

    fn try_mount(place: &Path, kib: u64, user: bool) -> Result<Self, String> {
        let script = format!("mount -t tmpfs -o size={kib}k,mode=700 tmpfs \"$1\" && echo mounted && exec cat");
        let mut holder = Command::new("unshare")
            .args(if user { &["--map-root-user", "--mount"][..] } else { &["--mount"] })
            .args(["--", "sh", "-c", &script, "sh"])
            .arg(place)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("unshare does not start: {error}"))?;
        let mut said = String::new();
        let read = BufReader::new(holder.stdout.take().expect("it is piped")).read_line(&mut said);
        if read.is_ok() && said == "mounted\n" {
            return Ok(Self { holder, user, place: place.to_owned() });
        }
        let ended = holder.wait_with_output().map_err(|error| error.to_string())?;
        Err(String::from_utf8_lossy(&ended.stderr).trim().to_owned())
    }

    /// Where it is, for those who work on it.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Where a file of it is for everybody else.
    pub fn from_outside(&self, file: impl AsRef<Path>) -> PathBuf {
        let place = self.place.strip_prefix("/").expect("a scratch folder's path begins at the root");
        Path::new(&format!("/proc/{}/root", self.holder.id())).join(place).join(file)
    }

    /// The words that start a program on this disk; the program comes after them.
    pub fn entrance(&self) -> Vec<String> {
        let mut words = vec!["nsenter".to_owned(), format!("--target={}", self.holder.id()), "--mount".to_owned()];
        if self.user {
            words.extend(["--user".to_owned(), "--preserve-credentials".to_owned()]);
        }
        words.push("--".to_owned());
        words
    }

    /// Takes what room there is, but for so many KiB.
    pub fn fill_but(&self, kib: usize) {
        let path = self.from_outside(BALLAST);
        let mut ballast = fs::File::create(&path).expect("the disk is writable");
        let mut written = 0;
        while let Ok(len) = ballast.write(&[7; 4_096]) {
            written += len as u64;
        }
        ballast.set_len(written.saturating_sub(kib as u64 * 1_024)).expect("a file can be cut");
    }

    /// Frees what [`Self::fill_but`] took.
    pub fn make_room(&self) {
        fs::remove_file(self.from_outside(BALLAST)).expect("the ballast is there");
    }
}

#[expect(clippy::print_stderr, reason = "a test that proves nothing has to say so to whoever runs it")]
fn report(what: &str) {
    eprintln!("{what}");
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
