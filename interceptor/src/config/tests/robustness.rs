//! No text makes the parser panic, overflow the stack or take long: mutations of the example, bombs and oversized files.

use std::time::Instant;

use super::said;
use crate::config::load::{MAX_BYTES, MAX_DEPTH, MAX_NODES};
use crate::config::{Config, EXAMPLE};

/// Whatever it says, it returns; and each diagnostic has a place inside the text.
fn survives(bytes: &[u8]) {
    if let Err(errors) = Config::parse_bytes(bytes, "f") {
        let lines = bytes.iter().filter(|b| matches!(b, b'\n' | b'\r')).count() + 1;
        assert!(!errors.diagnostics.is_empty());
        for diagnostic in &errors.diagnostics {
            assert!((1..=lines + 1).contains(&diagnostic.line) && diagnostic.column > 0, "{diagnostic}");
        }
    }
}

/// A small xorshift generator: the same mutations in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound).unwrap()).unwrap()
    }
}

/// What the example says without its comments, so that more mutations hit something.
fn seed() -> Vec<u8> {
    let lines = EXAMPLE.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.flat_map(|line| [line, "\n"]).collect::<String>().into_bytes()
}

#[test]
fn the_example_cut_anywhere() {
    let seed = seed();
    (0..seed.len()).for_each(|end| survives(&seed[..end]));
    (0..EXAMPLE.len()).step_by(7).for_each(|end| survives(&EXAMPLE.as_bytes()[..end]));
}

#[test]
fn the_example_with_a_byte_that_is_another_one() {
    let seed = seed();
    for at in 0..seed.len() {
        for byte in b"\0\t\n\r \"'#%&*,-:?[]{}|>!@`~\x7f\x80\xff" {
            let mut bytes = seed.clone();
            bytes[at] = *byte;
            // One in eight: all of them take a while in a debug build.
            if (at + usize::from(*byte)) % 8 == 0 {
                survives(&bytes);
            }
        }
    }
}

#[test]
fn the_example_with_lines_moved_repeated_and_broken() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let tokens: [&[u8]; 12] =
        [b"- ", b"? ", b": ", b"&a ", b"*a", b"<<: ", b"|\n", b">-\n", b"---\n", b"...\n", b"%YAML 1.2\n", b"!!str "];
    for _ in 0..2000 {
        let mut bytes = seed();
        for _ in 0..=random.below(8) {
            let (from, to) = (random.below(bytes.len()), random.below(bytes.len()));
            let piece = bytes[from.min(to)..from.max(to).min(from.min(to) + 40)].to_vec();
            match random.below(4) {
                0 => drop(bytes.splice(to..to, piece)),
                1 => drop(bytes.drain(from.min(to)..from.max(to).min(from.min(to) + 40))),
                2 => drop(bytes.splice(from..from, tokens[random.below(tokens.len())].iter().copied())),
                _ => bytes[from] = u8::try_from(random.below(256)).unwrap(),
            }
            if bytes.is_empty() {
                break;
            }
        }
        survives(&bytes);
    }
}

#[test]
fn bombs_end_in_an_error_soon() {
    let start = Instant::now();
    let deep = format!("f:1:{}: nested deeper than {MAX_DEPTH} levels", MAX_DEPTH + 1);
    assert_eq!(said(&("[".repeat(40) + &"]".repeat(40))), [deep]);
    for piece in [
        "[", "{", "- ", "? ", ": ", "{a: ", "[? ", "&a ", "a: ", "- - ", "!a ", "a: &a\n", "\"", "*a ", "|\n ", "%",
        "\t",
    ] {
        survives(piece.repeat(20_000).as_bytes());
    }
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let alias = format!("*a{}, ", level - 1).repeat(10);
        laughs.push_str(&format!("a{level}: &a{level} [{alias}]\n"));
    }
    assert_eq!(said(&laughs), [format!("f:6:25: more than {MAX_NODES} values, aliases expanded")]);
    let ladder: String = (1..100).map(|level| format!("- &a{level} [*a{}]\n", level - 1)).collect();
    let said = said(&format!("- &a0 [x]\n{ladder}"));
    assert!(said.len() == 1 && said[0].ends_with("nested deeper than 16 levels, aliases expanded"), "{said:?}");
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn a_file_that_is_too_large_is_not_even_read() {
    assert_eq!(said(&"#".repeat(MAX_BYTES + 1)), ["f:1:1: larger than 8 MiB"]);
}

#[test]
fn a_cluster_of_a_few_thousand_services_is_read_in_no_time() {
    let mut text = "spaces: [{name: a}]\ncapture: {cgroup: /c}\nservices:\n".to_owned();
    for n in 0..5000 {
        let (high, low) = (n / 250, n % 250);
        text.push_str(&format!(
            "- name: s{n}\n  space: a\n  addresses: [10.0.{high}.{low}]\n  ports: [{{name: http, port: 80}}]\n  \
             endpoints: [{{address: 10.1.{high}.{low}}}, {{address: 10.2.{high}.{low}, ports: {{http: 8080}}}}]\n"
        ));
    }
    let start = Instant::now();
    assert_eq!(Config::parse(&text, "f").unwrap().config.topology.services.len(), 5000);
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}
