//! docs/security.md and docs/specification.md name a test for every promise; here they are held to that.

use std::collections::BTreeMap;

use crate::tree::{documents, sources};

const PAGE: &str = "docs/security.md";
const SPECIFICATION: &str = "docs/specification.md";

/// The words between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn page() -> String {
    read(PAGE)
}

fn read(path: &str) -> String {
    let text = documents().into_iter().find(|document| document.path == path).map(|document| document.text);
    assert!(text.is_some(), "{path} is not there");
    text.unwrap_or_default()
}

fn is_test(name: &str) -> bool {
    let head = format!("fn {name}()");
    sources().iter().any(|file| {
        // A test's attribute stands close above it, perhaps with others.
        file.text.match_indices(&head).any(|(at, _)| {
            file.text[..at].lines().rev().take(4).any(|line| line.contains("#[test]") || line.contains("::test"))
        })
    })
}

#[test]
fn every_test_that_the_security_page_names_exists() {
    let page = page();
    // A name of four words or more is a test's: settings and reasons are shorter.
    let names: Vec<&str> = quoted(&page).filter(|word| word.matches('_').count() >= 3 && !word.contains('=')).collect();
    assert!(names.len() > 40, "{names:?}");
    let missing: Vec<&str> = names.into_iter().filter(|name| !is_test(name)).collect();
    assert!(missing.is_empty(), "no test of that name: {missing:#?}");
}

#[test]
fn every_row_of_the_security_page_is_proved() {
    let page = page();
    let rows: Vec<&str> = page.lines().skip_while(|line| !line.starts_with("### Requests")).collect();
    let rows = rows.into_iter().take_while(|line| !line.starts_with("## What nginx"));
    let rows: Vec<&str> = rows.filter(|line| line.starts_with("| ") && !line.contains("proved by")).collect();
    assert!(rows.len() >= 30, "{} rows", rows.len());
    for row in rows {
        let proofs = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        let mut names = quoted(proofs).peekable();
        assert!(names.peek().is_some(), "proved by nothing: {row}");
        names.for_each(|name| assert!(is_test(name), "no test {name}: {row}"));
    }
}

#[test]
fn every_promise_of_the_specification_is_enforced_by_a_test_that_exists() {
    let page = read(SPECIFICATION);
    let rows: Vec<&str> =
        page.lines().filter(|line| line.starts_with("| ") && !line.ends_with("enforced by |")).collect();
    assert!(rows.len() >= 20, "{} rows", rows.len());
    for row in rows {
        let proofs = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        let mut names = quoted(proofs).peekable();
        assert!(names.peek().is_some(), "enforced by nothing: {row}");
        names.for_each(|name| assert!(is_test(name), "no test {name}: {row}"));
    }
}

#[test]
fn every_capability_that_the_agent_uses_is_on_the_security_page() {
    let page = page();
    let texts: Vec<String> = sources()
        .into_iter()
        .filter(|file| ["interceptor/src/preflight/process.rs", "interceptor/src/privileges.rs"].contains(&&*file.path))
        .map(|file| file.text)
        .collect();
    let words = texts.iter().flat_map(|text| text.split(|c: char| !c.is_ascii_uppercase() && c != '_'));
    // What it drops others with is gone afterwards.
    let mut names: Vec<&str> =
        words.filter(|word| word.starts_with("CAP_") && !["CAP_SETPCAP", "CAP_SYS_RESOURCE"].contains(word)).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 6, "{names:?}");
    for name in names {
        assert!(page.contains(&format!("| {name} |")), "{name} is not explained");
    }
}

#[test]
fn the_inventory_of_unsafe_code_is_the_codes_own() {
    let keyword = "un".to_owned() + "safe";
    let marks = ["{", "fn", "impl"].map(|after| format!("{keyword} {after}"));
    let is_unsafe = |line: &&str| marks.iter().any(|mark| line.contains(mark.as_str()));
    let all = sources();
    let counted = all.iter().map(|file| (file.path.as_str(), file.code().filter(is_unsafe).count()));
    // Here the words are only looked for.
    let counted: BTreeMap<&str, usize> =
        counted.filter(|(path, count)| *count > 0 && !path.starts_with("tests/tidy/")).collect();
    let page = page();
    let rows =
        page.lines().skip_while(|line| !line.starts_with("## Unsafe code")).skip_while(|line| !line.starts_with("|"));
    let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
    let told = rows.filter_map(|row| {
        let mut cells = row.split('|').map(str::trim).skip(1);
        Some((cells.next()?.trim_matches('`'), cells.next()?.parse().ok()?))
    });
    assert_eq!(told.collect::<BTreeMap<&str, usize>>(), counted, "the table in {PAGE} and the code differ");
}

#[test]
fn every_row_of_the_threat_model_names_its_tests() {
    let page = page();
    let rows: Vec<&str> = page
        .lines()
        .skip_while(|line| !line.starts_with("## Who might attack"))
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.starts_with("| ") && !line.contains("| shown by |"))
        .collect();
    assert!(rows.len() >= 25, "{} rows", rows.len());
    for row in rows {
        let proofs = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        let mut names = quoted(proofs).peekable();
        assert!(names.peek().is_some(), "shown by nothing: {row}");
        names.for_each(|name| assert!(is_test(name), "no test {name}: {row}"));
    }
}
