//! The image's files: the program, directories that it writes to, and what a C library reads before it resolves a name.
//!
//! Every file has the same owner and time in every build; the order is that of the table.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context, Result};
use tar::{Builder, EntryType, Header};

/// Where the program lies: on the PATH, for `kubectl exec ds/interceptor -- interceptor`.
pub(super) const PROGRAM: &str = "usr/local/bin/interceptor";

/// Users that a manifest may name; numbers are what counts.
const PASSWD: &str = "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nnonroot:x:65532:\n";
const NSSWITCH: &str = "hosts: files dns\n";

/// One entry; a directory where there is no content.
pub(super) struct Entry<'p> {
    path: &'static str,
    mode: u32,
    content: Option<&'p [u8]>,
}

/// All entries, directories before what is in them.
pub(super) fn files(program: &[u8]) -> Vec<Entry<'_>> {
    let directory = |path, mode| Entry { path, mode, content: None };
    let file = |path, mode, content| Entry { path, mode, content: Some(content) };
    vec![
        directory("etc/", 0o755),
        file("etc/group", 0o644, GROUP.as_bytes()),
        directory("etc/interceptor/", 0o755),
        file("etc/nsswitch.conf", 0o644, NSSWITCH.as_bytes()),
        file("etc/passwd", 0o644, PASSWD.as_bytes()),
        directory("run/", 0o755),
        directory("run/interceptor/", 0o755),
        directory("tmp/", 0o1777),
        directory("usr/", 0o755),
        directory("usr/local/", 0o755),
        directory("usr/local/bin/", 0o755),
        file(PROGRAM, 0o755, program),
    ]
}

/// The entries as a tar archive.
pub(super) fn tar(entries: &[Entry<'_>]) -> Result<Vec<u8>> {
    let mut builder = Builder::new(Vec::new());
    for entry in entries {
        let content = entry.content.unwrap_or_default();
        append(&mut builder, entry.path, entry.mode, entry.content.is_none(), content)?;
    }
    builder.into_inner().context("cannot end a tar archive")
}

/// Adds one entry that is the same in every build.
pub(super) fn append(
    builder: &mut Builder<Vec<u8>>,
    path: &str,
    mode: u32,
    directory: bool,
    content: &[u8],
) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(if directory { EntryType::Directory } else { EntryType::Regular });
    header.set_size(content.len().try_into()?);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    builder.append_data(&mut header, path, content).with_context(|| format!("cannot pack {path}"))
}

/// Writes the entries below a directory.
pub(super) fn write(entries: &[Entry<'_>], root: &Path) -> Result<()> {
    for entry in entries {
        let path = root.join(entry.path);
        let written = match entry.content {
            None => fs::create_dir_all(&path),
            Some(content) => fs::File::create(&path).and_then(|mut file| file.write_all(content)),
        };
        let written = written.and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(entry.mode)));
        written.with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
