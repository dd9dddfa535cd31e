//! docs/security.md and docs/specification.md name a test for every promise; here they are held to that.

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
    let source = sources().into_iter().find(|file| file.path == "interceptor/src/preflight/process.rs");
    let text = source.map(|file| file.text).unwrap_or_default();
    let names: Vec<&str> = text.split('"').filter(|word| word.starts_with("CAP_") && !word.contains(' ')).collect();
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        assert!(page.contains(&format!("| {name} |")), "{name} is not explained");
    }
}
