//! The UID of a pod, as the kubelet names the pod's cgroup by it.
//!
//! Read from files by `topology`, from the API by the Kubernetes source, from directory names by `discovery`. Pure text:
//! nothing here looks at the machine.

use std::fmt;

/// Longer than any that is made: a UUID has 36 characters, the hash of a static pod 32.
const MAX: usize = 63;

/// A pod's UID: a UUID, or the hash that the kubelet gives to a static pod (32 hexadecimal digits, no dashes).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodUid(Box<str>);

impl PodUid {
    /// The UID in `text`; `None` where that is none.
    ///
    /// It becomes a part of directory names: nothing but letters, digits and dashes is let through. Manifests of static
    /// pods may bring one of their own, so that its form is not held to a UUID's.
    pub fn new(text: &str) -> Option<Self> {
        let ends = |end: Option<u8>| end.is_some_and(|byte| byte.is_ascii_alphanumeric());
        let fits = text.len() <= MAX
            && ends(text.bytes().next())
            && ends(text.bytes().last())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        fits.then(|| Self(text.into()))
    }

    /// Its text, with dashes as the API has them.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_is_letters_digits_and_dashes() {
        for good in ["3f2b1c9a-5d61-4be8-9f5e-0a6c1d2e3f40", "8b7d1c5e9f0a4b3c2d1e0f9a8b7c6d5e", "a"] {
            assert_eq!(PodUid::new(good).as_ref().map(PodUid::as_str), Some(good));
        }
        let long = "a".repeat(64);
        for bad in ["", "-a", "a-", "..", "a/b", "a_b", "a b", "a.b", "ä", &long] {
            assert_eq!(PodUid::new(bad), None, "{bad}");
        }
    }
}
