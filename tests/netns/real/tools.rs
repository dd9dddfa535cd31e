//! Where the real programs are and how they are run: to their end, within a time, with their output as text.
//!
//! `cargo xtask setup` installs what is needed; a test that finds something missing fails and says so.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use interceptor_tests::place::Place;

/// A program that has not ended after this many seconds has failed.
const SECONDS: &str = "120";

/// The path of one of our small programs for a real language's real library.
pub(crate) fn program(name: &str) -> String {
    format!("{}/netns/real/programs/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Runs a command in a place; its stdout. It must succeed.
pub(crate) fn run<A: AsRef<str>>(place: &Place, command: &[A]) -> String {
    let command: Vec<&str> = command.iter().map(AsRef::as_ref).collect();
    let output = place.output("timeout", [&["--kill-after=1", SECONDS], &command[..]].concat()).unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // 124 is timeout's own way to say that it was too long.
    assert!(output.status.success(), "{command:?} in {}: {}\n{stdout}\n{stderr}", place.name(), output.status);
    stdout.into_owned()
}

/// Runs a line of the shell, in which `$1` and so on are `args`.
pub(crate) fn shell(place: &Place, line: &str, args: &[&str]) -> String {
    run(place, &[&["bash", "-euo", "pipefail", "-c", line, "bash"], args].concat())
}

/// curl with these arguments; it takes no proxy from the environment, and prints no progress.
pub(crate) fn curl_command(args: &[&str]) -> Vec<String> {
    let all = [&["curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "30"], args].concat();
    all.into_iter().map(str::to_owned).collect()
}

/// Runs curl.
pub(crate) fn curl(place: &Place, args: &[&str]) -> String {
    run(place, &curl_command(args))
}

/// Runs one of our Python programs.
pub(crate) fn python_client(place: &Place, name: &str, args: &[&str]) -> String {
    let program = [program(name)];
    let args = args.iter().map(|arg| (*arg).to_owned());
    run(place, &python(&[]).into_iter().chain(program).chain(args).collect::<Vec<_>>())
}

/// Runs our Node program.
pub(crate) fn node_client(place: &Place, args: &[&str]) -> String {
    let program = program("client.js");
    run(place, &[&["node", &program], args].concat())
}

/// The beginning of a command: Python with the packages from PyPI and these variables.
pub(crate) fn python(variables: &[String]) -> Vec<String> {
    static PYTHON: OnceLock<(String, PathBuf)> = OnceLock::new();
    // The program itself: what is on the PATH may be a slow script that looks for it.
    let (python, packages) = PYTHON.get_or_init(|| {
        let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
        assert!(output.status.success(), "python3: {}", String::from_utf8_lossy(&output.stderr));
        (String::from_utf8(output.stdout).unwrap().trim().to_owned(), packages("python"))
    });
    let mut command = vec!["env".to_owned(), format!("PYTHONPATH={}", packages.display())];
    // Nothing is written beside our programs, which lie in the source tree.
    command.extend(["PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1"].map(str::to_owned));
    command.extend_from_slice(variables);
    command.push(python.clone());
    command
}

/// Runs one of our Node programs with the packages from npm.
pub(crate) fn node_grpc(place: &Place, args: &[&str]) -> String {
    let modules = format!("NODE_PATH={}/node_modules", packages("node").display());
    let (name, args) = args.split_first().unwrap();
    run(place, &[&["env", &modules, "node", &program(name)], args].concat())
}

/// Where `cargo xtask setup` has put the packages of PyPI (`python`) or npm (`node`): below cargo's target directory, which
/// it finds in the same way.
pub(crate) fn packages(kind: &str) -> PathBuf {
    let running = env::current_exe().unwrap();
    let tagged = running.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file());
    let target = tagged.map_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../target").into(), Path::to_path_buf);
    let dir = target.join("test-tools").join(kind);
    assert!(dir.join("installed.txt").is_file(), "no packages in {}: run `cargo xtask setup`", dir.display());
    dir
}
