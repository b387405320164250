//! `caisson new`: a project that runs, whose tests pass and which validates,
//! before its author has written a line.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use caisson_document::Faults;

use crate::connection::is_name;
use crate::generate::KEYWORDS;
use crate::{Manifest, generate_config};

/// Which template a project begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A source over a REST API.
    Source,
    /// A destination that writes files.
    Destination,
}

/// Why no project was made.
#[derive(Debug, thiserror::Error)]
pub enum ScaffoldError {
    /// The name is not one that a connector can have.
    #[error(
        "{0:?} is no name for a connector; write lower-case letters, digits and single hyphens, such as acme-crm"
    )]
    Name(String),
    /// Something is there already.
    #[error("{path} is there already and is not empty", path = .0.display())]
    Exists(PathBuf),
    /// The system refused.
    #[error("cannot write {path}: {source}", path = .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The template itself is wrong; a test rules it out.
    #[error(transparent)]
    Template(#[from] Faults),
}

macro_rules! template {
    ($path:literal) => {
        include_str!(concat!("../templates/", $path))
    };
}

/// Where a file goes, with `{{package}}` in it, and its text.
type File = (&'static str, &'static str);

const SHARED: &[File] = &[
    ("src/{{package}}/__init__.py", template!("shared/init.py")),
    ("src/{{package}}/py.typed", ""),
    ("requirements.lock", template!("shared/requirements.lock")),
    ("dependencies.toml", template!("shared/dependencies.toml")),
    ("pyproject.toml", template!("shared/pyproject.toml")),
    (".gitignore", template!("shared/gitignore")),
    (
        ".github/workflows/validate.yml",
        template!("shared/validate.yml"),
    ),
];

const SOURCE: &[File] = &[
    ("connector.yaml", template!("source/connector.yaml")),
    ("README.md", template!("source/README.md")),
    (
        "src/{{package}}/connector.py",
        template!("source/connector.py"),
    ),
    ("src/{{package}}/schemas.py", template!("source/schemas.py")),
    (
        "tests/test_{{module}}.py",
        template!("source/test_connector.py"),
    ),
    ("tests/cassettes/api.har", template!("source/api.har")),
    ("policies/{{name}}.yaml", template!("source/policy.yaml")),
    (
        "samples/connection.yaml",
        template!("source/connection.yaml"),
    ),
    ("samples/config.yaml", template!("source/config.yaml")),
];

const DESTINATION: &[File] = &[
    ("connector.yaml", template!("destination/connector.yaml")),
    ("README.md", template!("destination/README.md")),
    (
        "src/{{package}}/connector.py",
        template!("destination/connector.py"),
    ),
    (
        "src/{{package}}/schemas.py",
        template!("destination/schemas.py"),
    ),
    (
        "tests/test_{{module}}.py",
        template!("destination/test_connector.py"),
    ),
    (
        "policies/{{name}}.yaml",
        template!("destination/policy.yaml"),
    ),
    (
        "samples/connection.yaml",
        template!("destination/connection.yaml"),
    ),
    ("samples/config.yaml", template!("destination/config.yaml")),
    (
        "samples/orders.jsonl",
        template!("destination/orders.jsonl"),
    ),
];

/// Writes a new project into `dir`, which must be missing or empty. Returns the files written,
/// within `dir`, sorted.
///
/// # Errors
/// If the name cannot be a connector's, or the directory cannot be written or holds something.
pub fn scaffold(name: &str, kind: Kind, dir: &Path) -> Result<Vec<String>, ScaffoldError> {
    let names = Names::of(name).ok_or_else(|| ScaffoldError::Name(name.to_owned()))?;
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| ScaffoldError::Io { path, source }
    };
    match fs::read_dir(dir) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(ScaffoldError::Exists(dir.to_owned()));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io(dir)(error)),
    }
    let own = match kind {
        Kind::Source => SOURCE,
        Kind::Destination => DESTINATION,
    };
    let mut files: Vec<(String, String)> = SHARED
        .iter()
        .chain(own)
        .map(|(path, text)| (names.fill(path), names.fill(text)))
        .collect();
    let manifest = Manifest::parse("connector.yaml", &names.fill(own[0].1))?;
    files.push((
        crate::ProjectDir::config_module(&manifest),
        generate_config(&manifest.title, &manifest.config),
    ));
    files.sort();
    for (path, text) in &files {
        let target = dir.join(path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(io(parent))?;
        }
        fs::write(&target, text).map_err(io(&target))?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

/// Writes the generated config module of a project anew. Returns its path within the project, and
/// whether it has changed.
///
/// # Errors
/// If connector.yaml has faults or the file cannot be written. A link in its place is replaced and not followed: the
/// project may be somebody else's.
pub fn write_config(project: &crate::ProjectDir) -> Result<(String, bool), crate::ProjectError> {
    let manifest = project.manifest()?;
    let path = crate::ProjectDir::config_module(&manifest);
    let text = generate_config(&manifest.title, &manifest.config);
    let there = project.read(&path, text.len() as u64).ok();
    let changed = there.as_deref() != Some(text.as_bytes());
    if changed {
        project.write(&path, &text)?;
    }
    Ok((path, changed))
}

/// Names that the templates import, and that a connector's class can therefore not have.
const IMPORTED: [&str; 10] = [
    "Batch",
    "Config",
    "Connector",
    "Cursor",
    "Customer",
    "Iterator",
    "Order",
    "Reject",
    "Stream",
    "Any",
];

/// The spellings of a connector's name.
struct Names {
    name: String,
    module: String,
    class: String,
    title: String,
}

impl Names {
    fn of(name: &str) -> Option<Names> {
        let module = name.replace('-', "_");
        if !is_name(name) {
            return None;
        }
        let capital = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
        let words: Vec<String> = name.split('-').map(capital).collect();
        let class = words.concat();
        let taken = KEYWORDS.contains(&class.as_str()) || IMPORTED.contains(&class.as_str());
        let class = if taken {
            format!("{class}Connector")
        } else {
            class
        };
        Some(Names {
            name: name.to_owned(),
            module,
            class,
            title: words.join(" "),
        })
    }

    fn fill(&self, text: &str) -> String {
        text.replace("{{name}}", &self.name)
            .replace("{{package}}", &format!("caisson_{}", self.module))
            .replace("{{module}}", &self.module)
            .replace("{{class}}", &self.class)
            .replace("{{title}}", &self.title)
    }
}
