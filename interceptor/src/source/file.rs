//! The static source: one YAML file, read again when it changes and on SIGHUP.
//!
//! Looks at the file's identity a few times a second instead of using inotify: mounted ConfigMaps are swapped by
//! symbolic links, editors replace files, and network file systems tell nothing. Owned by `agent`'s control loop.
//!
//! A file that is put in the place of another one is whole. One that is written anew where it is may be seen half written,
//! and half of a list is a valid list: it is taken only once it has stayed as it is from one look to the next. A change so
//! soon after another one that they have the same time is found by reading what is that young once more.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{Config, ConfigErrors, Parsed};
use crate::privileges::hint;

/// For how long the time of a file's last change may be that of the next one as well: the clock of file systems ticks a
/// hundred times a second or more often.
const TICK: Duration = Duration::from_millis(50);

/// How often a file that is written all the time is looked at before it is taken as it is.
const PATIENCE: u32 = 4;

/// A configuration file.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
    seen: Option<Identity>,
    /// What it held when it was read, where it had just been written.
    young: Option<Vec<u8>>,
    /// How it was at the last look, where it was being written, and how often it has been so in a row.
    unsettled: Option<(Identity, u32)>,
}

/// What changes when a file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    file: (u64, u64),
    changed: (i64, i64),
    size: u64,
}

/// A file that gives no configuration.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("reading the configuration file {}: {source}{}", .path.display(), hint(.source))]
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
        Self { path: path.to_owned(), seen: None, young: None, unsettled: None }
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
        let bytes = self.bytes();
        self.parse(bytes)
    }

    /// Reads the file if it has changed since the last look.
    pub fn changed(&mut self) -> Option<Result<Parsed, FileError>> {
        let now = self.identity();
        if now == self.seen {
            let before = self.young.take()?;
            let bytes = self.bytes();
            let same = bytes.as_ref().is_ok_and(|bytes| *bytes == before);
            return (!same).then(|| self.parse(bytes));
        }
        if self.is_being_written(now) {
            return None;
        }
        Some(self.read())
    }

    /// Whether the same file was written since it was last looked at, and not too often yet.
    fn is_being_written(&mut self, now: Option<Identity>) -> bool {
        let (Some(now), Some(seen)) = (now, self.seen) else { return false };
        let looks = match self.unsettled {
            _ if now.file != seen.file => return false,
            Some((before, _)) if before == now => return false,
            Some((_, looks)) => looks + 1,
            None => 1,
        };
        self.unsettled = Some((now, looks));
        looks <= PATIENCE
    }

    fn bytes(&mut self) -> Result<Vec<u8>, FileError> {
        // Taken before reading: a change in between is seen at the next look.
        self.seen = self.identity();
        self.unsettled = None;
        let read = fs::read(&self.path).map_err(|source| FileError::Read { path: self.path.clone(), source });
        self.young = read.as_ref().ok().filter(|_| self.is_young()).cloned();
        read
    }

    fn parse(&self, bytes: Result<Vec<u8>, FileError>) -> Result<Parsed, FileError> {
        Ok(Config::parse_bytes(&bytes?, &self.path.display().to_string())?)
    }

    /// Whether what was read may have been written again at the same time.
    fn is_young(&self) -> bool {
        let modified = fs::metadata(&self.path).and_then(|meta| meta.modified());
        // One from the future, by a clock that was set back, is looked at for as long as it takes.
        modified.is_ok_and(|modified| modified.elapsed().map_or(true, |age| age < TICK))
    }

    fn identity(&self) -> Option<Identity> {
        let meta = fs::metadata(&self.path).ok()?;
        let (file, changed) = ((meta.dev(), meta.ino()), (meta.mtime(), meta.mtime_nsec()));
        Some(Identity { file, changed, size: meta.size() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("interceptor-source-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    fn spaces(read: Option<Result<Parsed, FileError>>) -> Option<usize> {
        read.map(|read| read.unwrap().config.topology.spaces.len())
    }

    #[test]
    fn a_file_is_read_again_only_when_it_changed() {
        let dir = Directory::new("changed");
        let path = dir.0.join("config.yaml");
        let mut source = FileSource::new(&path);
        assert!(matches!(source.read(), Err(FileError::Read { .. })));
        fs::write(&path, "spaces: [{name: a}]").unwrap();
        assert_eq!(spaces(source.changed()), Some(1));
        assert!(source.changed().is_none());
        let replace = |text: &str| {
            fs::write(dir.0.join("new"), text).unwrap();
            fs::rename(dir.0.join("new"), &path).unwrap();
        };
        replace("spaces: [{name: a}, {name: b}]");
        assert_eq!(spaces(source.changed()), Some(2));
        replace("spaces: nonsense");
        assert!(matches!(source.changed(), Some(Err(FileError::Invalid(_)))));
        fs::remove_dir_all(&dir.0).unwrap();
        assert!(matches!(source.changed(), Some(Err(FileError::Read { .. }))));
        assert!(source.changed().is_none(), "an error is told once");
    }

    #[test]
    fn half_of_a_file_that_is_being_written_is_not_taken() {
        let dir = Directory::new("half");
        let path = dir.0.join("config.yaml");
        fs::write(&path, "spaces:\n- name: a\n- name: b\n").unwrap();
        let mut source = FileSource::new(&path);
        assert_eq!(spaces(Some(source.read())), Some(2));
        fs::write(&path, "spaces:\n- name: a\n").unwrap();
        assert_eq!(spaces(source.changed()), None, "more may follow");
        fs::write(&path, "spaces:\n- name: a\n- name: b\n- name: c\n").unwrap();
        assert_eq!(spaces(source.changed()), None, "it has just changed again");
        assert_eq!(spaces(source.changed()), Some(3), "nothing more has come");
        // One that never rests is taken all the same.
        let mut looks = 0;
        let taken = loop {
            looks += 1;
            fs::write(&path, format!("spaces: []\n#{}", "x".repeat(looks))).unwrap();
            if let Some(read) = source.changed() {
                break read.unwrap().config.topology.spaces.len();
            }
        };
        assert_eq!((taken, looks), (0, 5));
    }

    #[test]
    fn root_is_told_why_it_may_not_read_a_file_and_of_one_that_is_not_there_nothing_more() {
        let text = |kind: io::ErrorKind| FileError::Read { path: "/node.yaml".into(), source: kind.into() }.to_string();
        assert!(text(io::ErrorKind::PermissionDenied).contains("owned by root or open to all"));
        assert_eq!(text(io::ErrorKind::NotFound), "reading the configuration file /node.yaml: entity not found");
    }

    #[test]
    fn a_change_at_the_same_time_and_of_the_same_size_is_seen() {
        let dir = Directory::new("tick");
        let path = dir.0.join("config.yaml");
        fs::write(&path, "").unwrap();
        let at = fs::metadata(&path).unwrap().modified().unwrap();
        let write = |text: &str| {
            let file = fs::File::options().truncate(true).write(true).open(&path).unwrap();
            io::Write::write_all(&mut &file, text.as_bytes()).unwrap();
            file.set_modified(at).unwrap();
        };
        write("spaces: [{name: a}]");
        let mut source = FileSource::new(&path);
        assert_eq!(spaces(Some(source.read())), Some(1));
        write("spaces: [         ]");
        assert_eq!(spaces(source.changed()), Some(0));
        assert_eq!(spaces(source.changed()), None);
    }
}
