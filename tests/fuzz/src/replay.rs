//! The committed corpora, replayed: what was found once is not lost again.

use std::fs;
use std::path::{Path, PathBuf};

use super::TARGETS;

/// All of them together, bytes: a corpus is committed to be read by people, too.
const MAX_BYTES: u64 = 200 * 1024;

fn corpus(target: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<PathBuf> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", directory.display());
    files
}

fn replay(target: &str) {
    let (_, run) = TARGETS.iter().find(|(name, _)| *name == target).unwrap();
    for file in corpus(target) {
        // Shown by the test harness when the target panics.
        println!("{}", file.display());
        run(&fs::read(&file).unwrap());
    }
}

#[test]
fn request_head() {
    replay("request_head");
}

#[test]
fn response_head() {
    replay("response_head");
}

#[test]
fn chunked() {
    replay("chunked");
}

#[test]
fn classify() {
    replay("classify");
}

#[test]
fn host() {
    replay("host");
}

#[test]
fn config() {
    replay("config");
}

#[test]
fn connection() {
    replay("connection");
}

#[test]
fn every_target_has_a_binary_and_the_corpora_are_small() {
    let manifest = include_str!("../Cargo.toml");
    let mut bytes = 0;
    for (target, _) in TARGETS {
        assert!(manifest.contains(&format!("path = \"targets/{target}.rs\"")), "{target}");
        bytes += corpus(target).iter().map(|file| fs::metadata(file).unwrap().len()).sum::<u64>();
    }
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
    assert!(bytes <= MAX_BYTES, "{bytes} bytes");
}
