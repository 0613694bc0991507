//! Names of binaries: one logical name for what the platforms call differently.

use crate::pack::is_bare_name;

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was asked for.
    #[error("the name of a binary is empty")]
    Empty,
    /// A path, or something that no file is called.
    #[error("{0:?} is not a file name: it must hold no folder, drive or control character")]
    NotAFileName(String),
}

/// What is asked for, without the platform's spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BinaryName {
    /// A shared library: `llama` for `llama.dll`, `libllama.so` and `libllama.dylib`.
    Library(String),
    /// A program: `llama-server` for itself and for `llama-server.exe`.
    Program(String),
}

impl BinaryName {
    /// Reads a file name of any platform. Letter case of its ending does not count.
    ///
    /// # Errors
    /// [`NameError`] if it is empty or not a bare file name.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        if name.trim().is_empty() {
            return Err(NameError::Empty);
        }
        if !is_bare_name(name) || name.starts_with('.') || name.trim() != name {
            return Err(NameError::NotAFileName(name.to_owned()));
        }
        let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
        let stem_of_library = || strip_lib(stem).to_owned();
        Ok(match ending.to_ascii_lowercase().as_str() {
            "dll" => Self::Library(stem.to_owned()),
            "so" | "dylib" => Self::Library(stem_of_library()),
            "exe" => Self::Program(stem.to_owned()),
            _ => Self::Program(name.to_owned()),
        })
    }

    /// What this platform calls the file.
    #[must_use]
    pub fn file_name(&self) -> String {
        match self {
            Self::Library(stem) => format!(
                "{}{stem}{}",
                std::env::consts::DLL_PREFIX,
                std::env::consts::DLL_SUFFIX
            ),
            Self::Program(stem) => format!("{stem}{}", std::env::consts::EXE_SUFFIX),
        }
    }
}

fn strip_lib(stem: &str) -> &str {
    match stem.get(..3) {
        Some(prefix) if prefix.eq_ignore_ascii_case("lib") && stem.len() > 3 => &stem[3..],
        _ => stem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_platforms_spelling_is_one_library() {
        for name in [
            "llama.dll",
            "libllama.so",
            "libllama.dylib",
            "llama.DLL",
            "libllama.SO",
        ] {
            assert_eq!(
                BinaryName::parse(name),
                Ok(BinaryName::Library("llama".into())),
                "{name}"
            );
        }
    }

    #[test]
    fn a_program_loses_its_ending() {
        for name in ["llama-server", "llama-server.exe", "llama-server.EXE"] {
            assert_eq!(
                BinaryName::parse(name),
                Ok(BinaryName::Program("llama-server".into())),
                "{name}"
            );
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_spells_them_its_own_way() {
        assert_eq!(
            BinaryName::parse("llama.dll").unwrap().file_name(),
            "libllama.so"
        );
        assert_eq!(
            BinaryName::parse("llama-server.exe").unwrap().file_name(),
            "llama-server"
        );
    }

    #[test]
    fn paths_and_nothing_are_refused() {
        for name in ["", " ", "\t"] {
            assert_eq!(BinaryName::parse(name), Err(NameError::Empty), "{name:?}");
        }
        let paths = [
            "/etc/passwd",
            "a/b",
            "..",
            ".",
            "../llama.dll",
            "a\\b",
            "C:llama.dll",
            "C:\\llama.dll",
            "llama\0.dll",
            "llama\n.dll",
            ".so",
            ".dll",
            ".hidden",
            " llama.dll",
            "llama.dll ",
            "llama.dll:stream",
        ];
        for name in paths {
            assert_eq!(
                BinaryName::parse(name),
                Err(NameError::NotAFileName(name.into())),
                "{name:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_stays_in_its_folder(name in ".{0,40}") {
            if let Ok(binary) = BinaryName::parse(&name) {
                let file = binary.file_name();
                prop_assert!(is_bare_name(&file));
                let joined = std::path::Path::new("/x").join(&file);
                prop_assert_eq!(joined.parent(), Some(std::path::Path::new("/x")));
                prop_assert_eq!(BinaryName::parse(&file).map(|again| again.file_name()), Ok(file));
            }
        }
    }
}
