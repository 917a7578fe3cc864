//! Words that must not turn up anywhere, and the search for them.
//!
//! A search that finds nothing proves nothing until it has found something: [`Search::proves`] plants each word in
//! each form in a file beside the searched ones, and finds it there.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use data_encoding::{BASE64_NOPAD, HEXLOWER, HEXUPPER};
use memchr::memmem;

use crate::Scratch;

/// Words to look for, in every form in which a program might have written them down by mistake.
#[derive(Debug, Default)]
pub struct Search {
    forms: Vec<(String, Vec<u8>)>,
}

impl Search {
    /// Looks for this word too: as it is, in UTF-16, in hex and in base64 at any alignment.
    pub fn plant(&mut self, name: &str, word: &[u8]) {
        assert!(word.len() >= 8, "a canary that short turns up by chance: {name}");
        let mut add = |form: &str, bytes: Vec<u8>| self.forms.push((format!("{name} ({form})"), bytes));
        add("as it is", word.to_vec());
        add("utf-16", word.iter().flat_map(|byte| [*byte, 0]).collect());
        add("hex", HEXLOWER.encode(word).into_bytes());
        add("HEX", HEXUPPER.encode(word).into_bytes());
        add("list", word.iter().map(u8::to_string).collect::<Vec<_>>().join(", ").into_bytes());
        for shift in 0..3 {
            // What precedes and follows shares base64 digits with the word's ends; the middle is the word's alone.
            let skip = (3 - shift) % 3;
            let whole = &word[skip..];
            let whole = &whole[..whole.len() - whole.len() % 3];
            add("base64", BASE64_NOPAD.encode(whole).into_bytes());
        }
    }

    /// Every word found in a file under `places`, with the file's path.
    pub fn find(&self, places: &[&Path]) -> Vec<(String, PathBuf)> {
        let files = places.iter().flat_map(|place| files(place));
        files
            .flat_map(|file| {
                let content = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
                let found = self.forms.iter().filter(move |(_, bytes)| memmem::find(&content, bytes).is_some());
                found.map(|(name, _)| (name.clone(), file.clone())).collect::<Vec<_>>()
            })
            .collect()
    }

    /// Every word found in what a process has in memory and may write to.
    ///
    /// # Panics
    /// If the memory can't be read. Linux lets a parent read it.
    pub fn find_in_memory(&self, process: u32) -> Vec<String> {
        let maps = fs::read_to_string(format!("/proc/{process}/maps")).expect("a child's memory map is readable");
        let memory = File::open(format!("/proc/{process}/mem")).expect("a child's memory is readable");
        let writable =
            maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|access| access.starts_with("rw")));
        let mut found = Vec::new();
        for line in writable {
            let (from, to) = line.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
            let [from, to] = [from, to].map(|end| u64::from_str_radix(end, 16).expect("an address"));
            let mut content = vec![0; usize::try_from(to - from).expect("an address fits")];
            // What the process gave back since is no longer there to be read, nor to hold anything.
            if memory.read_exact_at(&mut content, from).is_ok() {
                let here = self.forms.iter().filter(|(_, bytes)| memmem::find(&content, bytes).is_some());
                found.extend(here.map(|(name, _)| name.clone()));
            }
        }
        found
    }

    /// Proves that the search finds what there is.
    ///
    /// # Panics
    /// If it doesn't.
    pub fn proves(&self) {
        let scratch = Scratch::new();
        for (index, (name, bytes)) in self.forms.iter().enumerate() {
            let place = scratch.path().join(index.to_string());
            fs::create_dir(&place).expect("the scratch folder is writable");
            fs::write(place.join("file"), [&b"before "[..], bytes, b" after"].concat()).expect("it is writable");
            let found = self.find(&[&place]);
            assert!(found.iter().any(|(found, _)| found == name), "a planted {name} is not found");
        }
    }
}

/// Every file under `place`, or `place` itself if it is one.
pub fn files(place: &Path) -> Vec<PathBuf> {
    if place.is_file() {
        return vec![place.to_owned()];
    }
    let entries = fs::read_dir(place).unwrap_or_else(|error| panic!("{}: {error}", place.display()));
    entries.flat_map(|entry| files(&entry.expect("the folder is readable").path())).collect()
}
