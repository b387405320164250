//! What an author's Python source says, as data: the JSON that the CDK's
//! `caisson._inspect` prints. It parses source files and never imports them;
//! the checks of this crate read the facts and never the Python.
//!
//! Unknown keys are ignored, so that an older daemon reads a newer CDK.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of this shape that [`Facts::format`] names.
pub const FACTS_FORMAT: u32 = 1;

/// Everything that the inspection found out about one project.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The version of this shape, [`FACTS_FORMAT`].
    pub format: u32,
    /// The interpreter that parsed the files, such as `3.11.2`.
    pub python: String,
    /// The top-level names of that interpreter's standard library (`sys.stdlib_module_names`).
    #[serde(default)]
    pub stdlib: Vec<String>,
    /// Every `*.py` file under `src/`, in the order of their paths.
    #[serde(default)]
    pub modules: Vec<Module>,
    /// Files that are no Python; they do not appear under `modules`.
    #[serde(default)]
    pub errors: Vec<SourceError>,
}

/// A file that could not be parsed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceError {
    /// The path within the project, with `/`: `src/caisson_shop/connector.py`.
    pub file: String,
    /// The line from 1.
    pub line: usize,
    /// The column in characters from 1.
    pub column: usize,
    /// What the parser said, without the source line.
    pub message: String,
}

/// One parsed source file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Module {
    /// The path within the project, with `/`: `src/caisson_shop/connector.py`.
    pub file: String,
    /// The dotted name it is imported by: `caisson_shop.connector`; a package's `__init__.py` is
    /// `caisson_shop`.
    pub module: String,
    /// Every import statement anywhere in the file, one entry per imported name.
    #[serde(default)]
    pub imports: Vec<Import>,
    /// Classes at the top level of the file.
    #[serde(default)]
    pub classes: Vec<Class>,
    /// Names that are assigned, or defined as functions, at the top level of the file.
    #[serde(default)]
    pub names: Vec<String>,
    /// Uses of the connection's config anywhere in the file.
    #[serde(default)]
    pub config: Vec<ConfigAccess>,
    /// Places that take the value out of a secret: `.reveal`, also by way of `getattr` and the like. The path is that of the
    /// property of config, empty where it cannot be told.
    #[serde(default)]
    pub reveals: Vec<ConfigAccess>,
    /// String literals that contain `://`.
    #[serde(default)]
    pub urls: Vec<UrlLiteral>,
}

/// One imported name: `import a.b as c`, or one name of `from a import b as c`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Import {
    /// The absolute dotted module; relative imports are resolved (`.config` in `caisson_shop` is
    /// `caisson_shop.config`).
    pub module: String,
    /// The name taken from it (`from a import b`: `b`; `*` for all); null for `import a`.
    #[serde(default)]
    pub name: Option<String>,
    /// The name bound in this file (`c`; for `import a.b` it is `a`).
    pub bound: String,
    /// The line from 1.
    pub line: usize,
}

/// A class at the top level of a file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// The line of `class`, from 1.
    pub line: usize,
    /// Its bases as written, subscripts left out: `Connector[Config]` is `Connector`,
    /// `caisson.Connector` stays `caisson.Connector`.
    #[serde(default)]
    pub bases: Vec<String>,
    /// Functions defined in its body.
    #[serde(default)]
    pub methods: Vec<Method>,
}

/// A function in the body of a class.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Method {
    /// Its name.
    pub name: String,
    /// The line of `def`, from 1.
    pub line: usize,
    /// True for `async def`.
    #[serde(default, rename = "async")]
    pub is_async: bool,
    /// True if its own body contains `yield` or `yield from`.
    #[serde(default)]
    pub generator: bool,
    /// Its parameters in order, `self` included.
    #[serde(default)]
    pub parameters: Vec<Parameter>,
    /// Its decorators from the top down.
    #[serde(default)]
    pub decorators: Vec<Decorator>,
}

/// A parameter of a method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// Its name without stars.
    pub name: String,
    /// How it is passed.
    pub kind: ParameterKind,
    /// True if it has a default.
    #[serde(default)]
    pub default: bool,
}

/// How a parameter is passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParameterKind {
    /// By position or name, also before `/`.
    Positional,
    /// `*args`.
    VarPositional,
    /// After `*`.
    KeywordOnly,
    /// `**kwargs`.
    VarKeyword,
}

/// A decorator of a method.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Decorator {
    /// Its dotted name as written: `stream`, `caisson.stream`.
    pub name: String,
    /// The line from 1.
    pub line: usize,
    /// True if it is called: `@stream(…)`, false for `@stream`.
    #[serde(default)]
    pub called: bool,
    /// Its positional arguments.
    #[serde(default)]
    pub arguments: Vec<Argument>,
    /// Its keyword arguments by name.
    #[serde(default)]
    pub keywords: BTreeMap<String, Argument>,
}

/// An argument of a decorator: a literal, or source text that only running it could tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Argument {
    /// A literal that JSON can hold (`ast.literal_eval`; tuples become lists).
    Literal(Value),
    /// Anything else, as `ast.unparse` writes it.
    Expression(String),
}

/// One use of the connection's config: `self.config.shop`, `self.config.network.port` or
/// `getattr(self.config, "shop")`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfigAccess {
    /// The attribute names after `config`: `["network", "port"]`.
    pub path: Vec<String>,
    /// The line from 1.
    pub line: usize,
}

/// A string literal that contains `://`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UrlLiteral {
    /// Its text. In an f-string every hole is written `{}`, but a hole that is exactly
    /// `self.config.NAME` is written `${config.NAME}`.
    pub value: String,
    /// The line from 1.
    pub line: usize,
}

impl Facts {
    /// The module of this dotted name.
    #[must_use]
    pub fn module(&self, name: &str) -> Option<&Module> {
        self.modules.iter().find(|module| module.module == name)
    }

    /// Finds the class that `name` stands for in `module`, through re-exports
    /// (`from .connector import Shop`), with the module that defines it.
    #[must_use]
    pub fn class(&self, module: &str, name: &str) -> Option<(&Module, &Class)> {
        let mut module = self.module(module)?;
        let mut name = name.to_owned();
        // A chain of re-exports longer than this is a circle.
        for _ in 0..16 {
            if let Some(class) = module.classes.iter().find(|class| class.name == name) {
                return Some((module, class));
            }
            let import = module.imports.iter().find(|import| import.bound == name)?;
            name = import.name.clone()?;
            module = self.module(&import.module)?;
        }
        None
    }
}
