//! The app's profiles: one engine each, in this process, shared by all windows and alive with none.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use sync_bridge::{BridgeError, Settings, SyncHandle};

use crate::error::SetupError;

/// The profile that is meant where none is named, unless the app says otherwise.
const DEFAULT: &str = "default";
const NAME_LEN_MAX: usize = 64;

/// See the [module](self).
pub(crate) struct Engines {
    /// The folder of all profiles.
    dir: PathBuf,
    /// What they have in common.
    settings: Settings,
    /// The default one first.
    names: Vec<String>,
    used: Mutex<BTreeMap<String, SyncHandle>>,
}

impl Engines {
    /// Of an app whose profiles have these names.
    pub(crate) fn new(
        dir: PathBuf,
        settings: Settings,
        default: Option<String>,
        further: Vec<String>,
    ) -> Result<Self, SetupError> {
        let mut names = vec![default.unwrap_or_else(|| DEFAULT.to_owned())];
        names.extend(further);
        // They are folders, and headers of a request.
        let is_sound = |name: &String| {
            let chars = || name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
            !name.is_empty() && name.len() <= NAME_LEN_MAX && chars()
        };
        match names.iter().find(|name| !is_sound(name)) {
            Some(name) => Err(SetupError::Profile(name.clone())),
            None => Ok(Self { dir, settings, names, used: Mutex::default() }),
        }
    }

    /// The profile of that name, or the default one.
    pub(crate) fn get(&self, name: Option<&str>) -> Result<SyncHandle, BridgeError> {
        let name = match name {
            None => &self.names[0],
            Some(name) => self.names.iter().find(|known| *known == name).ok_or(BridgeError::Argument(
                "the app has no profile of that name; its configuration lists them (plugins.sync.profiles)",
            ))?,
        };
        let mut used = self.used();
        if let Some(handle) = used.get(name) {
            return Ok(handle.clone());
        }
        let handle = SyncHandle::new(Settings { dir: self.dir.join(name), ..self.settings.clone() });
        used.insert(name.clone(), handle.clone());
        Ok(handle)
    }

    /// Those that were used.
    pub(crate) fn all(&self) -> Vec<SyncHandle> {
        self.used().values().cloned().collect()
    }

    fn used(&self) -> MutexGuard<'_, BTreeMap<String, SyncHandle>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use sync_bridge::ErrorCode;

    use super::*;

    fn engines(default: Option<&str>, further: &[&str]) -> Result<Engines, SetupError> {
        let further = further.iter().map(|name| (*name).to_owned()).collect();
        Engines::new("dir".into(), Settings::new("", "phone", "app"), default.map(str::to_owned), further)
    }

    #[test]
    fn a_profile_is_one_engine_and_only_those_that_are_named_exist() {
        let engines = engines(None, &["work"]).expect("sound names");
        engines.get(None).expect("the default one");
        engines.get(Some("default")).expect("the same");
        assert_eq!(engines.all().len(), 1);
        engines.get(Some("work")).expect("is named");
        assert_eq!(engines.all().len(), 2);
        let unknown = engines.get(Some("other")).map(drop).expect_err("nobody named it");
        assert_eq!((unknown.code(), engines.all().len()), (ErrorCode::InvalidArgument, 2));
    }

    #[test]
    fn a_name_that_is_no_folder_is_refused() {
        for name in ["", "..", "a/b", "a b", "ä", &"a".repeat(NAME_LEN_MAX + 1)] {
            assert!(engines(Some(name), &[]).is_err() && engines(None, &[name]).is_err(), "{name}");
        }
    }
}
