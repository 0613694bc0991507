//! Small files of `/proc` and `/sys`, read below a root of choice so that tests can lay out machines that are not at hand.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The tree in which `/proc` and `/sys` lie.
pub(crate) struct SystemFiles {
    root: PathBuf,
}

impl SystemFiles {
    /// This machine's own.
    pub(crate) fn of_this_machine() -> Self {
        Self {
            root: PathBuf::from("/"),
        }
    }

    #[cfg(test)]
    pub(crate) fn below(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Where the absolute path `path` lies in this tree.
    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The file's text without white space around it, if it can be read.
    pub(crate) fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        let text = fs::read(self.path(path)).ok()?;
        Some(String::from_utf8_lossy(&text).trim().to_owned())
    }

    /// The file's only word, read as a number or the like.
    pub(crate) fn value<T: FromStr>(&self, path: impl AsRef<Path>) -> Option<T> {
        self.text(path)?.parse().ok()
    }

    /// The names in a folder, sorted; empty if there is no such folder.
    pub(crate) fn names(&self, folder: impl AsRef<Path>) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(folder)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort_unstable();
        names
    }
}

/// Reads a list of CPUs as the kernel writes it: `0-3,8,10-11`. What is not a number is passed over.
pub(crate) fn cpu_list(text: &str) -> Vec<u32> {
    /// No machine has more; a broken file shall not fill the memory.
    const MOST: u32 = 1 << 16;
    let mut cpus = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<u32>(), last.trim().parse::<u32>()) {
            cpus.extend(first..=last.min(MOST));
        }
    }
    cpus
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A tree with these files, for as long as the folder lives.
    pub(crate) fn laid_out(files: &[(&str, &str)]) -> (tempfile::TempDir, SystemFiles) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let system = SystemFiles::below(folder.path());
        (folder, system)
    }

    #[test]
    fn cpu_lists_are_read_as_the_kernel_writes_them() {
        assert_eq!(cpu_list("0-3,8,10-11\n"), [0, 1, 2, 3, 8, 10, 11]);
        assert_eq!(cpu_list("5"), [5]);
        assert_eq!(cpu_list(""), [0u32; 0]);
        assert_eq!(cpu_list("3-1,x,-,7"), [7]);
    }

    #[test]
    fn what_is_not_there_is_none() {
        let (_folder, system) = laid_out(&[("/proc/a", " 7 \n"), ("/proc/b", "seven")]);
        assert_eq!(system.value::<u32>("/proc/a"), Some(7));
        assert_eq!(system.value::<u32>("/proc/b"), None);
        assert_eq!(system.text("/proc/c"), None);
        assert_eq!(system.names("/proc"), ["a", "b"]);
        assert!(system.names("/sys").is_empty());
    }

    proptest! {
        #[test]
        fn no_cpu_list_breaks_the_reader(text in "[0-9,\\- x]{0,60}") {
            let _ = cpu_list(&text);
        }
    }
}
