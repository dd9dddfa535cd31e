//! Where the running kernel keeps the few fields that hooks read and no helper gives, from the kernel's own type
//! information (BTF, docs: Documentation/bpf/btf.rst).
//!
//! aya reads that too but tells no field's place. Called once by `load`, for kernel splice and for the hooks that follow
//! threads. Any bytes are taken: what does not parse is an error, never a panic.

use std::path::Path;

/// The kernel's own type information.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const STRUCT: u32 = 4;

/// Places of fields, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offsets {
    /// `write_seq` in `struct tcp_sock`.
    pub write_seq: u32,
    /// `copied_seq` in `struct tcp_sock`.
    pub copied_seq: u32,
    /// TCP's `seq` in `struct sk_buff`: in its control block `cb`.
    pub skb_seq: u32,
    /// The cookie in `struct sock`, which `struct sock_common` begins.
    pub sock_cookie: u32,
    /// `start_time` in `struct task_struct`.
    pub task_start: u32,
    /// `pid` in `struct task_struct`.
    pub task_pid: u32,
    /// `tgid` in `struct task_struct`.
    pub task_tgid: u32,
}

/// Why the places are not known.
#[derive(Debug, thiserror::Error)]
pub enum OffsetsError {
    /// The kernel was built without type information, or it may not be read.
    #[error("reading {VMLINUX}: {0}; the kernel needs CONFIG_DEBUG_INFO_BTF")]
    Read(#[source] std::io::Error),
    /// It is not what the documentation says.
    #[error("{VMLINUX} is not readable as BTF")]
    Malformed,
    /// A field is not there under its name.
    #[error("this kernel's struct {0} has no plain field {1}")]
    Missing(&'static str, &'static str),
}

impl Offsets {
    /// The places in the running kernel.
    ///
    /// # Errors
    /// Where it does not tell.
    pub fn of_kernel() -> Result<Self, OffsetsError> {
        Self::parse(&std::fs::read(Path::new(VMLINUX)).map_err(OffsetsError::Read)?)
    }

    fn parse(btf: &[u8]) -> Result<Self, OffsetsError> {
        const WANTED: [(&str, &str); 8] = [
            ("tcp_sock", "write_seq"),
            ("tcp_sock", "copied_seq"),
            ("sk_buff", "cb"),
            ("tcp_skb_cb", "seq"),
            ("sock_common", "skc_cookie"),
            ("task_struct", "start_time"),
            ("task_struct", "pid"),
            ("task_struct", "tgid"),
        ];
        let mut found = WANTED.map(|_| None);
        let blob = Blob::new(btf).ok_or(OffsetsError::Malformed)?;
        blob.each_struct(|name, members| {
            for ((structure, field), place) in WANTED.iter().zip(&mut found) {
                if name == structure.as_bytes() && place.is_none() {
                    *place = blob.member(members, field);
                }
            }
        })
        .ok_or(OffsetsError::Malformed)?;
        let mut places = [0; WANTED.len()];
        for (place, (found, (structure, field))) in places.iter_mut().zip(found.iter().zip(WANTED)) {
            *place = found.ok_or(OffsetsError::Missing(structure, field))?;
        }
        let [write_seq, copied_seq, cb, seq, sock_cookie, task_start, task_pid, task_tgid] = places;
        let skb_seq = cb.saturating_add(seq);
        Ok(Self { write_seq, copied_seq, skb_seq, sock_cookie, task_start, task_pid, task_tgid })
    }
}

/// The two sections of a BTF blob. All words are in the machine's own byte order.
struct Blob<'a> {
    types: &'a [u8],
    strings: &'a [u8],
}

/// A struct's members as they stand in the blob.
#[derive(Clone, Copy)]
struct Members<'a> {
    bytes: &'a [u8],
    /// Whether the offsets of bit-fields are packed with their sizes.
    packed: bool,
}

impl<'a> Blob<'a> {
    fn new(btf: &'a [u8]) -> Option<Self> {
        const MAGIC: u16 = 0xeb9f;
        if u16::from_ne_bytes(btf.get(..2)?.try_into().ok()?) != MAGIC {
            return None;
        }
        let body = btf.get(usize::try_from(word(btf, 4)?).ok()?..)?;
        let section = |at: usize| {
            let start = usize::try_from(word(btf, at)?).ok()?;
            body.get(start..start.checked_add(usize::try_from(word(btf, at + 4)?).ok()?)?)
        };
        Some(Self { types: section(8)?, strings: section(16)? })
    }

    /// Shows every struct. None: the list of types is cut off or holds a kind that is not known.
    fn each_struct(&self, mut show: impl FnMut(&[u8], Members<'a>)) -> Option<()> {
        let mut rest = self.types;
        while !rest.is_empty() {
            let info = word(rest, 4)?;
            let (count, kind) = (usize::try_from(info & 0xffff).ok()?, (info >> 24) & 0x1f);
            // What follows the twelve bytes that every type has.
            let extra = match kind {
                1 | 14 | 17 => 4,
                2 | 7..=12 | 16 | 18 => 0,
                3 => 12,
                STRUCT | 5 | 15 | 19 => 12 * count,
                6 | 13 => 8 * count,
                _ => return None,
            };
            let (head, tail) = rest.split_at_checked(12 + extra)?;
            if kind == STRUCT {
                show(self.string(word(head, 0)?)?, Members { bytes: head.get(12..)?, packed: info >> 31 == 1 });
            }
            rest = tail;
        }
        Some(())
    }

    /// The place of a member that begins at a whole byte.
    fn member(&self, members: Members<'_>, name: &str) -> Option<u32> {
        let of_name = |member: &&[u8]| {
            word(member, 0).and_then(|at| self.string(at)).is_some_and(|found| found == name.as_bytes())
        };
        let bits = word(members.bytes.chunks_exact(12).find(of_name)?, 8)?;
        let bits = if members.packed { bits & 0x00ff_ffff } else { bits };
        (bits % 8 == 0).then_some(bits / 8)
    }

    fn string(&self, at: u32) -> Option<&'a [u8]> {
        self.strings.get(usize::try_from(at).ok()?..)?.split(|byte| *byte == 0).next()
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRINGS: &[u8] = b"\0tcp_sock\0write_seq\0copied_seq\0sk_buff\0cb\0tcp_skb_cb\0seq\0\
        sock_common\0skc_cookie\0task_struct\0start_time\0pid\0tgid\0";

    fn at(name: &str) -> u32 {
        let found = STRINGS.windows(name.len() + 2).position(|part| part[1..=name.len()] == *name.as_bytes());
        u32::try_from(found.unwrap() + 1).unwrap()
    }

    fn blob(types: &[Vec<u32>]) -> Vec<u8> {
        let types: Vec<u8> = types.iter().flatten().flat_map(|word| word.to_ne_bytes()).collect();
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
        let header = [0x0001_eb9f, 24, 0, len(&types), len(&types), len(STRINGS)];
        let mut bytes: Vec<u8> = header.iter().flat_map(|word| word.to_ne_bytes()).collect();
        bytes.extend([types.as_slice(), STRINGS].concat());
        bytes
    }

    fn structure(name: &str, packed: u32, members: &[(&str, u32)]) -> Vec<u32> {
        let count = u32::try_from(members.len()).unwrap();
        let mut words = vec![at(name), STRUCT << 24 | packed << 31 | count, 64];
        members.iter().for_each(|(member, bits)| words.extend([at(member), 1, *bits]));
        words
    }

    fn kernel() -> Vec<Vec<u32>> {
        vec![
            vec![0, 1 << 24, 4, 32],
            structure("tcp_sock", 1, &[("copied_seq", 0x0100_0000 | 80), ("write_seq", 800)]),
            structure("sk_buff", 0, &[("cb", 320)]),
            structure("tcp_skb_cb", 0, &[("seq", 32)]),
            structure("sock_common", 0, &[("skc_cookie", 768)]),
            structure("task_struct", 0, &[("pid", 320), ("tgid", 352), ("start_time", 640)]),
        ]
    }

    #[test]
    fn the_places_are_found_also_beside_bit_fields() {
        let offsets = Offsets::parse(&blob(&kernel())).unwrap();
        let splice = Offsets { write_seq: 100, copied_seq: 10, skb_seq: 44, ..offsets };
        assert_eq!(offsets, Offsets { sock_cookie: 96, task_start: 80, task_pid: 40, task_tgid: 44, ..splice });
    }

    #[test]
    fn the_running_kernel_tells_them_or_says_why_not() {
        match Offsets::of_kernel() {
            Ok(offsets) => assert!(offsets.write_seq != offsets.copied_seq && offsets.skb_seq >= 24, "{offsets:?}"),
            Err(error) => assert!(matches!(error, OffsetsError::Read(_)), "{error}"),
        }
    }

    #[test]
    fn a_field_that_is_missing_is_named() {
        let mut types = kernel();
        types[2] = structure("sk_buff", 0, &[("seq", 320)]);
        let error = Offsets::parse(&blob(&types)).unwrap_err();
        assert_eq!(error.to_string(), "this kernel's struct sk_buff has no plain field cb");
    }

    #[test]
    fn whatever_is_cut_off_is_an_error() {
        let whole = blob(&kernel());
        for len in 0..whole.len() - STRINGS.len() {
            assert!(Offsets::parse(&whole[..len]).is_err(), "{len}");
        }
        let mut unknown = kernel();
        unknown.insert(1, vec![0, 30 << 24, 4]);
        assert!(matches!(Offsets::parse(&blob(&unknown)), Err(OffsetsError::Malformed)));
    }
}
