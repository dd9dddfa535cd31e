//! Links that outlive their agent: `capture.fail: closed`.
//!
//! Each agent has a directory of its own in the bpf file system. Dropping [`Pins`] removes it and with it what only it held;
//! a crash does not, which is the point. The next agent removes what others have left once it captures itself.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use crate::sys;

/// One agent's pins.
#[derive(Debug)]
pub struct Pins {
    base: PathBuf,
    directory: PathBuf,
    next: u64,
    handed: bool,
    /// The last link could not be kept.
    fails: bool,
}

/// Links cannot be pinned.
#[derive(Debug, thiserror::Error)]
#[error("capture.fail is closed, but links cannot be kept below {}: {source}; mount a bpf file system there (capture.pin_directory)", .path.display())]
pub struct PinError {
    path: PathBuf,
    source: io::Error,
}

impl Pins {
    /// A directory for this agent below that of all agents.
    ///
    /// # Errors
    /// Where there is no bpf file system.
    pub fn new(base: &Path) -> Result<Self, PinError> {
        let directory = base.join(format!("{}-{}", std::process::id(), sys::monotonic_ns()));
        fs::create_dir_all(&directory).map_err(|source| PinError { path: directory.clone(), source })?;
        Ok(Self { base: base.to_owned(), directory, next: 0, handed: false, fails: false })
    }

    /// Keeps a link; what this gives is where. Told only once where the file system is not there any more: whoever asks again
    /// gets it back when that is.
    pub(super) fn keep(&mut self, link: impl AsFd) -> Option<PathBuf> {
        self.next += 1;
        let path = self.directory.join(self.next.to_string());
        let kept = fs::create_dir_all(&self.directory).and_then(|()| sys::bpf_pin(link, &path));
        match kept {
            Ok(()) => {
                self.fails = false;
                Some(path)
            }
            Err(source) => {
                // What is no bpf file system is left as it was found.
                drop(fs::remove_dir(&self.directory));
                let error = PinError { path, source };
                if !std::mem::replace(&mut self.fails, true) {
                    tracing::error!(%error, "connections pass should the agent die");
                }
                None
            }
        }
    }

    /// Removes what other agents have left.
    pub fn remove_others(&self) {
        remove_all(&self.base, |path| path != self.directory);
    }

    /// A successor has pins of its own and removes these: until then they hold.
    pub fn hand_over(&mut self) {
        self.handed = true;
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if !self.handed {
            remove(&self.base, &self.directory);
        }
    }
}

/// Removes what agents have left, as nobody wants connections refused.
pub fn remove_left(base: &Path) {
    remove_all(base, |_| true);
}

fn remove_all(base: &Path, which: impl Fn(&Path) -> bool) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| which(path)) {
        tracing::info!(path = %path.display(), "removing the hooks that another agent left");
        remove(base, &path);
    }
}

/// A bpf file system removes only what is empty.
fn remove(base: &Path, directory: &Path) {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.filter_map(Result::ok).for_each(|entry| drop(fs::remove_file(entry.path())));
    if let Err(error) = fs::remove_dir(directory) {
        tracing::warn!(path = %directory.display(), %error, "pins are left");
    }
    // Whoever is last.
    drop(fs::remove_dir(base));
}
