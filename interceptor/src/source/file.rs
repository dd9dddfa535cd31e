//! The static source: one YAML file, read again when it changes and on SIGHUP.
//!
//! Looks at the file's identity a few times a second instead of using inotify: mounted ConfigMaps are swapped by
//! symbolic links, editors replace files, and network file systems tell nothing. Owned by `agent`'s control loop.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::{Config, ConfigErrors, Parsed};

/// A configuration file.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
    seen: Option<Identity>,
}

/// What changes when a file does.
type Identity = (u64, u64, i64, i64, u64);

/// A file that gives no configuration.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("reading the configuration file {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no valid configuration.
    #[error("{0}")]
    Invalid(#[from] ConfigErrors),
}

impl FileSource {
    /// A source that has read nothing yet.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), seen: None }
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file, changed or not.
    ///
    /// # Errors
    /// Where it cannot be read or is not valid.
    pub fn read(&mut self) -> Result<Parsed, FileError> {
        // Taken before reading: a change in between is seen at the next look.
        self.seen = self.identity();
        let bytes = fs::read(&self.path).map_err(|source| FileError::Read { path: self.path.clone(), source })?;
        Ok(Config::parse_bytes(&bytes, &self.path.display().to_string())?)
    }

    /// Reads the file if it has changed since the last look.
    pub fn changed(&mut self) -> Option<Result<Parsed, FileError>> {
        if self.identity() == self.seen {
            return None;
        }
        Some(self.read())
    }

    fn identity(&self) -> Option<Identity> {
        let meta = fs::metadata(&self.path).ok()?;
        Some((meta.dev(), meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.size()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_again_only_when_it_changed() {
        let dir = std::env::temp_dir().join(format!("interceptor-source-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("config.yaml");
        let mut source = FileSource::new(&path);
        assert!(matches!(source.read(), Err(FileError::Read { .. })));
        fs::write(&path, "spaces: [{name: a}]").unwrap();
        assert_eq!(source.changed().unwrap().unwrap().config.topology.spaces.len(), 1);
        assert!(source.changed().is_none());
        fs::write(dir.join("new"), "spaces: [{name: a}, {name: b}]").unwrap();
        fs::rename(dir.join("new"), &path).unwrap();
        assert_eq!(source.changed().unwrap().unwrap().config.topology.spaces.len(), 2);
        fs::write(&path, "spaces: nonsense").unwrap();
        assert!(matches!(source.changed(), Some(Err(FileError::Invalid(_)))));
        fs::remove_dir_all(&dir).unwrap();
        assert!(matches!(source.changed(), Some(Err(FileError::Read { .. }))));
        assert!(source.changed().is_none(), "an error is told once");
    }
}
