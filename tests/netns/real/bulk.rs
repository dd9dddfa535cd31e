//! A gibibyte from nginx and a gibibyte to it, compared byte by byte with what was there before.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::time::Instant;

use super::servers::nginx;
use super::site::Site;
use super::tools::{curl, shell};
use crate::stage::vip;

const BYTES: u64 = 1 << 30;
/// Each of these parts begins with its number; the rest is a hole, so that the file takes little of the disk.
const PART: u64 = 64 * 1024;
const PEAK_KIB: u64 = 64 * 1024;

#[test]
fn a_gibibyte_passes_whole_from_nginx_and_to_it() {
    let mut site = Site::new("realbulk");
    let caller = site.scene.caller("caller", Some("default"));
    site.deploy("nginx", "default", 30, nginx);
    let file = site.files().join("big.bin");
    let content = File::create(&file).unwrap();
    content.set_len(BYTES).unwrap();
    for part in 0..BYTES / PART {
        content.write_all_at(&(part + 1).to_be_bytes(), part * PART).unwrap();
    }
    let (path, stored) = (file.display().to_string(), site.uploads().join("big.bin").display().to_string());
    let mut stage = site.scene.start();
    let base = format!("http://{}", vip(30));
    let begin = Instant::now();
    let compared = "curl -sS --noproxy '*' --max-time 100 \"$1\" | cmp - \"$2\"";
    shell(&caller, compared, &[&format!("{base}/big.bin"), &path]);
    let down = begin.elapsed();
    let begin = Instant::now();
    let args =
        ["--max-time", "100", "-o", "/dev/null", "-w", "%{http_code}", "-T", &path, &format!("{base}/upload/big.bin")];
    assert_eq!(curl(&caller, &args), "201");
    let up = begin.elapsed();
    shell(&caller, "cmp \"$1\" \"$2\"", &[&path, &stored]);
    let (download, upload) = (stage.request("/big.bin"), stage.request("/upload/big.bin"));
    assert_eq!((&download["status"], &upload["status"]), (&200.into(), &201.into()));
    assert!(download["bytes_out"].as_u64() > Some(BYTES), "{download}");
    assert!(upload["bytes_in"].as_u64() > Some(BYTES), "{upload}");
    let status = fs::read_to_string(format!("/proc/{}/status", stage.agent.process().pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let peak: u64 = line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap();
    println!("1 GiB down in {down:?}, up in {up:?}, the agent's peak {peak} KiB");
    assert!(peak < PEAK_KIB, "{peak} KiB");
}
