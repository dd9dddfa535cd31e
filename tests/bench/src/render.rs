//! `--render FILE`: puts a result into docs/performance.md, between two markers, with its charts and the result itself
//! beside it. A test compares the document with the result that lies there, so that neither can change alone.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::figures;
use crate::markdown;
use crate::report::Report;

const BEGIN: &str = "<!-- From here on made by `cargo xtask bench --render`; do not edit. -->\n";
const END: &str = "<!-- As far as here. -->\n";
/// Beside the document: charts and the result.
const DIR: &str = "performance";

/// Puts the result in `file` into the documents.
pub(crate) fn run(file: &Path) -> Result<()> {
    let report = Report::read(file)?;
    ensure!(report.failed().is_empty(), "{} holds scenarios that failed: {:?}", file.display(), report.failed());
    let (document, dir) = (document(), docs().join(DIR));
    let text = fs::read_to_string(&document).with_context(|| format!("reading {}", document.display()))?;
    let new = replaced(&text, &markdown::text(&report, DIR))
        .with_context(|| format!("{} lacks one of the two markers", document.display()))?;
    figures::write(&report, &dir)?;
    report.write(&dir.join("result.json"))?;
    fs::write(&document, new).with_context(|| format!("writing {}", document.display()))
}

/// The document with `section` between its markers; `None` without markers.
fn replaced(text: &str, section: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{section}\n{END}{after}"))
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

fn document() -> PathBuf {
    docs().join("performance.md")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{BEGIN, DIR, END, docs, document, replaced};
    use crate::figures;
    use crate::markdown;
    use crate::report::Report;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let text = format!("a\n{BEGIN}old\n{END}b\n");
        let new = replaced(&text, "new\n").unwrap();
        assert_eq!(new, format!("a\n{BEGIN}\nnew\n\n{END}b\n"));
        assert_eq!(replaced(&new, "new\n").unwrap(), new, "a second time it changes nothing");
        assert_eq!(replaced("a\n", "new"), None);
    }

    #[test]
    fn the_document_shows_the_result_that_lies_beside_it() {
        let dir = docs().join(DIR);
        let report = Report::read(&dir.join("result.json")).unwrap();
        let text = fs::read_to_string(document()).unwrap();
        let again = "write it anew with `cargo xtask bench --render docs/performance/result.json`";
        assert!(replaced(&text, &markdown::text(&report, DIR)).unwrap() == text, "docs/performance.md: {again}");
        for figure in figures::ALL {
            let Some(chart) = figure.chart(&report) else { continue };
            let file = dir.join(format!("{}.svg", figure.name));
            assert!(fs::read_to_string(&file).unwrap() == chart.text(), "{}: {again}", file.display());
        }
    }
}
