//! Programs of the soak in pods, with what they print read as it comes.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::SyncSender;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result};
use interceptor_tests::place::Place;
use interceptor_tests::wait;

use crate::app;
use crate::told::Told;

/// A line that a program printed.
pub(crate) enum Line {
    /// By a client of that place.
    Told(String, Box<Told>),
    /// By a server: it has executed this request.
    Executed(u64),
    /// Something else, which nobody expects.
    Noise(String),
}

/// A running program; dropping it kills it.
pub(crate) struct App {
    child: Child,
    reader: Option<JoinHandle<()>>,
    who: String,
}

impl App {
    /// Starts `interceptor-soak app WORDS` in a place.
    pub(crate) fn start(place: &Place, words: &[&str], lines: &SyncSender<Line>) -> Result<App> {
        let program = std::env::current_exe().context("finding the path of the running executable")?;
        let who = place.name().to_owned();
        let mut command = place.command(program, [&[app::WORD], words].concat())?;
        command.stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting {words:?} in {who}"))?;
        let stdout = child.stdout.take().context("a program has no stdout")?;
        let (name, lines) = (who.clone(), lines.clone());
        let reader = thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if lines.send(parse(&name, &line)).is_err() {
                    break;
                }
            }
        });
        Ok(App { child, reader: Some(reader), who })
    }

    /// Waits until it has ended by itself.
    pub(crate) fn ended(&mut self, limit: Duration) -> Result<()> {
        let what = format!("the program in {} to end", self.who);
        let status = wait::until(limit, &what, || self.child.try_wait()?.context("it still runs"))?;
        anyhow::ensure!(status.success(), "the program in {} ended with {status}", self.who);
        Ok(())
    }

    /// Fails if it has ended.
    pub(crate) fn expect_running(&mut self) -> Result<()> {
        let ended = self.child.try_wait().context("waiting for a program")?;
        ended.map_or(Ok(()), |status| anyhow::bail!("the program in {} ended with {status}", self.who))
    }
}

impl Drop for App {
    fn drop(&mut self) {
        // One that has ended already is what we want.
        self.child.kill().ok();
        self.child.wait().ok();
        if let Some(reader) = self.reader.take() {
            reader.join().ok();
        }
    }
}

fn parse(who: &str, line: &str) -> Line {
    if let Ok(id) = line.parse() {
        return Line::Executed(id);
    }
    match serde_json::from_str(line) {
        Ok(told) => Line::Told(who.to_owned(), Box::new(told)),
        Err(_) => Line::Noise(format!("{who}: {line}")),
    }
}
