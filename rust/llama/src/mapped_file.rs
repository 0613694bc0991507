//! The pages of a model's file that are held in memory beside copies of the same weights.
//!
//! A CPU module may pack weights anew for its processor (AMX, and what ggml calls repacking). llama.cpp copies them
//! out of the mapped file then, and keeps the file mapped: such a model is resident twice.

use std::path::Path;

use crate::MemoryUse;

/// Gives the file's pages back where at least half of it was copied. What is still used of it comes back, page
/// by page, when it is next read; the system keeps it cached meanwhile.
pub(crate) fn release_copied(path: &Path, memory: &[MemoryUse]) {
    let weights = |mapped: bool| -> u64 {
        let parts = memory.iter().filter(|part| is_mapped(part) == mapped);
        parts.map(|part| part.model).sum()
    };
    // llama.cpp counts all of the file that it keeps mapped, what was copied included.
    if 2 * weights(false) >= weights(true) {
        release(path);
    }
}

fn is_mapped(part: &MemoryUse) -> bool {
    matches!(part.buffer_type.as_str(), "CPU" | "CPU_Mapped")
}

#[cfg(target_os = "linux")]
fn release(path: &Path) {
    let (Ok(path), Ok(maps)) = (
        path.canonicalize(),
        std::fs::read_to_string("/proc/self/maps"),
    ) else {
        return;
    };
    for range in maps.lines().filter_map(|line| range_of(line, &path)) {
        // SAFETY: the range is a mapping of a file that is only read, so that its pages come back from the file
        // with the same bytes. A mapping that is gone meanwhile, or locked, is refused with an error.
        unsafe {
            libc::madvise(
                std::ptr::with_exposed_provenance_mut(range.start),
                range.len(),
                libc::MADV_DONTNEED,
            );
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn release(_: &Path) {}

/// The addresses of a line of `/proc/self/maps` that maps this file, or another split of the same model, for
/// reading only.
#[cfg(target_os = "linux")]
fn range_of(line: &str, path: &Path) -> Option<std::ops::Range<usize>> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let only_read = fields.next()?.starts_with("r--");
    let begins = line.find('/')?;
    if !only_read || !same_model(Path::new(&line[begins..]), path) {
        return None;
    }
    let address = |text| usize::from_str_radix(text, 16).ok();
    Some(address(start)?..address(end)?)
}

#[cfg(target_os = "linux")]
fn same_model(one: &Path, other: &Path) -> bool {
    let stem = |path: &Path| -> Option<String> {
        let name = path.file_name()?.to_str()?;
        // name-00001-of-00003.gguf
        let split = name
            .strip_suffix(".gguf")
            .and_then(|stem| stem.rsplit_once("-of-"));
        Some(match split.and_then(|(first, _)| first.rsplit_once('-')) {
            Some((stem, _)) => stem.to_owned(),
            None => name.to_owned(),
        })
    };
    one.parent() == other.parent() && stem(one).is_some() && stem(one) == stem(other)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_read_only_mappings_of_the_model_are_meant() {
        let model = Path::new("/models/a b.gguf");
        let line = "7f00-8f00 r--s 00000000 fe:00 42      /models/a b.gguf";
        assert_eq!(range_of(line, model), Some(0x7f00..0x8f00));
        for other in [
            "7f00-8f00 rw-p 00000000 fe:00 42      /models/a b.gguf",
            "7f00-8f00 r--s 00000000 fe:00 42      /models/b.gguf",
            "7f00-8f00 r--s 00000000 fe:00 42      /other/a b.gguf",
            "7f00-8f00 r--p 00000000 00:00 0 ",
        ] {
            assert_eq!(range_of(other, model), None, "{other}");
        }
    }

    #[test]
    fn the_splits_of_a_model_belong_together() {
        let first = Path::new("/models/big-00001-of-00002.gguf");
        assert!(same_model(
            first,
            Path::new("/models/big-00002-of-00002.gguf")
        ));
        assert!(!same_model(
            first,
            Path::new("/models/bug-00002-of-00002.gguf")
        ));
        assert!(!same_model(first, Path::new("/models/big.gguf")));
    }
}
