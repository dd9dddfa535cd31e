//! The project's own files, as the tidy tests look at them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A Rust file.
pub(crate) struct Source {
    /// Below the project's root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    pub(crate) fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests/") || self.path.ends_with("tests.rs")
    }

    /// The lines without comments.
    pub(crate) fn code(&self) -> impl Iterator<Item = &str> {
        self.text.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line })
    }
}

/// A Markdown file.
pub(crate) struct Document {
    pub(crate) path: String,
    directory: PathBuf,
    pub(crate) text: String,
}

impl Document {
    /// Links to files, without their anchors.
    pub(crate) fn links(&self) -> impl Iterator<Item = &str> {
        let ends = self.text.match_indices("](").filter_map(|(at, _)| self.text[at + 2..].split(')').next());
        ends.map(|link| link.split('#').next().unwrap_or_default())
            .filter(|link| !link.is_empty() && !link.contains("://"))
    }

    pub(crate) fn target(&self, link: &str) -> PathBuf {
        self.directory.join(link)
    }
}

pub(crate) fn sources() -> Vec<Source> {
    files("rs").into_iter().map(|(path, file)| Source { path, text: read(&file) }).collect()
}

/// Which top-level modules of the agent each of them names, tests left out.
pub(crate) fn uses_between_rooms() -> BTreeMap<String, BTreeSet<String>> {
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in sources().iter().filter(|file| !file.is_test()) {
        let Some(path) = file.path.strip_prefix("interceptor/src/") else { continue };
        let room = path.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        if room == "lib" || room == "main" {
            continue;
        }
        let text = file.text.split("#[cfg(test)]").next().unwrap_or_default();
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for after in line.split("crate::").skip(1) {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                let used = &after[..end];
                assert!(!used.is_empty(), "{}: write one `use crate::` a module: {line}", file.path);
                if used != room {
                    uses.entry(room.to_owned()).or_default().insert(used.to_owned());
                }
            }
        }
    }
    uses
}

pub(crate) fn documents() -> Vec<Document> {
    let document = |(path, file): (String, PathBuf)| Document {
        path,
        directory: file.parent().map(Path::to_owned).unwrap_or_default(),
        text: read(&file),
    };
    files("md").into_iter().map(document).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(file: &Path) -> String {
    let text = fs::read_to_string(file);
    assert!(text.is_ok(), "reading {}: {text:?}", file.display());
    text.unwrap_or_default()
}

fn files(extension: &str) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    let mut waiting = vec![root()];
    while let Some(directory) = waiting.pop() {
        let entries = fs::read_dir(&directory);
        assert!(entries.is_ok(), "reading {}: {entries:?}", directory.display());
        for entry in entries.into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let hidden = name.to_string_lossy().starts_with('.') || name == "target";
            if path.is_dir() && !hidden {
                waiting.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let below = path.strip_prefix(root()).unwrap_or(&path).to_string_lossy().into_owned();
                found.push((below, path));
            }
        }
    }
    assert!(!found.is_empty(), "no .{extension} file found");
    found.sort();
    found
}
