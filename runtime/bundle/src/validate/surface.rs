//! Checks of the class's methods against the capabilities that connector.yaml
//! advertises, by the CDK's rules: parameters of streams are recognised by
//! name, hooks take what they are given.

use caisson_document::nearest;

use super::{Context, Findings};
use crate::{Argument, Class, Decorator, Facts, MANIFEST_FILE, Method, Module, ParameterKind};

/// What a stream's method and `read` may ask for, by name.
const STREAM_PARAMETERS: [&str; 5] = ["since", "state", "partition", "stream", "mode"];

/// Classes of the CDK that are connectors already: what they run brings the streams.
const WHOLE: [&str; 2] = ["caisson.airbyte.Source", "caisson.singer.Tap"];
/// What those have.
const WHOLE_HAS: [&str; 3] = ["test", "list", "read"];

pub(super) fn check(context: &Context<'_>, findings: &mut Findings) {
    let Some((module, class)) = context.entrypoint() else {
        return;
    };
    let Some((module, class)) = context.facts.class(module, class) else {
        return;
    };
    let surface = Surface::of(context.facts, module, class);
    if !surface.is_connector {
        let found = format!("the class {} is not a Connector", class.name);
        findings.add(
            "C303",
            &module.file,
            class.line,
            found,
            format!("write class {}(Connector[Config])", class.name),
        );
    }
    surface.signatures(findings);
    surface.needs(context, &module.file, class, findings);
    surface.advertised(context, findings);
}

/// Whether the entrypoint's class hands its config to what it runs, property by property.
pub(super) fn passes_its_config_on(context: &Context<'_>) -> bool {
    let class = context
        .entrypoint()
        .and_then(|(module, class)| context.facts.class(module, class));
    class.is_some_and(|(module, class)| Surface::of(context.facts, module, class).whole)
}

struct Surface<'a> {
    /// Methods by name with the file that defines each; a subclass hides its bases.
    methods: Vec<(&'a Method, &'a str)>,
    /// Those that are declared as streams, with the declaration.
    streams: Vec<(&'a Method, &'a str, &'a Decorator)>,
    is_connector: bool,
    /// Whether a base is one of [`WHOLE`].
    whole: bool,
}

impl<'a> Surface<'a> {
    fn of(facts: &'a Facts, module: &'a Module, class: &'a Class) -> Surface<'a> {
        let mut surface = Surface {
            methods: Vec::new(),
            streams: Vec::new(),
            is_connector: false,
            whole: false,
        };
        surface.collect(facts, module, class, 0);
        surface
    }

    fn collect(&mut self, facts: &'a Facts, module: &'a Module, class: &'a Class, depth: usize) {
        for method in &class.methods {
            if self
                .methods
                .iter()
                .any(|(known, _)| known.name == method.name)
            {
                continue;
            }
            self.methods.push((method, &module.file));
            let declared = method
                .decorators
                .iter()
                .find(|decorator| origin(module, &decorator.name) == "caisson.stream");
            self.streams
                .extend(declared.map(|decorator| (method, module.file.as_str(), decorator)));
        }
        for base in &class.bases {
            let origin = origin(module, base);
            if WHOLE.contains(&origin.as_str()) {
                self.is_connector = true;
                self.whole = true;
            } else if origin.starts_with("caisson.") && origin.ends_with(".Connector")
                || origin == "caisson.Connector"
            {
                self.is_connector = true;
            } else if let (Some((module, class)), true) =
                (facts.class(&module.module, base), depth < 16)
            {
                self.collect(facts, module, class, depth + 1);
            }
        }
    }

    fn method(&self, name: &str) -> Option<(&'a Method, &'a str)> {
        self.methods
            .iter()
            .find(|(method, _)| method.name == name)
            .copied()
    }

    fn has(&self, name: &str) -> bool {
        self.method(name).is_some() || self.whole && WHOLE_HAS.contains(&name)
    }

    fn incremental(&self) -> bool {
        let has = |(method, _, decorator): &(&Method, &str, &Decorator)| {
            declares(decorator, "cursor")
                || method
                    .parameters
                    .iter()
                    .any(|parameter| parameter.name == "state")
        };
        self.streams.iter().any(has)
    }

    fn streaming(&self) -> bool {
        self.streams
            .iter()
            .any(|(_, _, decorator)| match decorator.keywords.get("modes") {
                Some(Argument::Literal(modes)) => modes
                    .as_array()
                    .is_some_and(|modes| modes.iter().any(|mode| mode == "streaming")),
                Some(Argument::Expression(_)) => true,
                None => false,
            })
    }

    /// C304.
    fn needs(&self, context: &Context<'_>, file: &str, class: &Class, findings: &mut Findings) {
        let has = |name: &str| self.has(name);
        let streams = !self.streams.is_empty();
        for capability in context.capabilities() {
            let missing = match capability {
                "test" if !has("test") => Some("def test(self) -> None"),
                "list" if !has("list") && !streams => {
                    Some("a method with @stream(…), or def list(self)")
                }
                "read.full" if !has("read") && !streams => {
                    Some("a method with @stream(…), or def read(self, stream, state)")
                }
                "read.incremental" if !has("read") && !self.incremental() => {
                    Some("@stream(cursor=…) on a stream, or def read(self, stream, state)")
                }
                "read.streaming" if !has("read") && !self.streaming() => Some(
                    "@stream(modes=[\"streaming\", …]) on a stream, or def read(self, stream, state)",
                ),
                "write.append" | "write.upsert" if !has("write") => {
                    Some("def write(self, stream, batch)")
                }
                _ => None,
            };
            if let Some(missing) = missing {
                let found = format!(
                    "{MANIFEST_FILE} advertises {capability}, and {} has nothing for it",
                    class.name
                );
                findings.add(
                    "C304",
                    file,
                    class.line,
                    found,
                    format!("write {missing}, or leave {capability} out"),
                );
            }
        }
        if has("read") && !has("list") && !streams {
            findings.add(
                "C304",
                file,
                class.line,
                format!("{} has read and no list", class.name),
                "write def list(self), which yields Stream(…)",
            );
        }
    }

    /// C306.
    fn advertised(&self, context: &Context<'_>, findings: &mut Findings) {
        let capabilities = context.capabilities();
        let mut missing = |there: bool, wanted: &[&str], what: &str| {
            if there
                && !wanted
                    .iter()
                    .any(|capability| capabilities.contains(capability))
            {
                let fault = context.document.fault(
                    "/capabilities",
                    format!("the class has {what}"),
                    format!("add {}", wanted.join(" or ")),
                );
                findings.fault("C306", &fault);
            }
        };
        let has = |name: &str| self.has(name);
        let reads = has("read") || !self.streams.is_empty();
        missing(has("test"), &["test"], "test()");
        missing(
            has("list") || !self.streams.is_empty(),
            &["list"],
            "streams to list",
        );
        missing(
            reads,
            &["read.full", "read.incremental", "read.streaming"],
            "streams to read",
        );
        missing(
            self.incremental(),
            &["read.incremental"],
            "a stream with a cursor or a state",
        );
        missing(has("write"), &["write.append", "write.upsert"], "write()");
    }

    /// C305.
    fn signatures(&self, findings: &mut Findings) {
        let hooks: [(&str, &[&str], &[&str]); 7] = [
            ("open", &[], &[]),
            ("close", &[], &[]),
            ("test", &[], &[]),
            ("list", &[], &[]),
            ("write", &["stream", "batch"], &[]),
            ("commit", &["stream"], &["checkpoint"]),
            ("schema", &["stream"], &[]),
        ];
        for (name, needed, also) in hooks {
            if let Some((method, file)) = self.method(name) {
                hook(method, file, needed, also, findings);
            }
        }
        if let Some((method, file)) = self.method("read") {
            by_name(method, file, None, findings);
            if !method
                .parameters
                .iter()
                .any(|parameter| parameter.name == "stream")
            {
                findings.add(
                    "C305",
                    file,
                    method.line,
                    "read() does not take the stream",
                    "write def read(self, stream, state)",
                );
            }
        }
        for (method, file, decorator) in &self.streams {
            by_name(method, file, Some(decorator), findings);
        }
    }
}

/// A hook that is called with a fixed number of arguments.
fn hook(method: &Method, file: &str, needed: &[&str], also: &[&str], findings: &mut Findings) {
    let positional: Vec<_> = method
        .parameters
        .iter()
        .filter(|parameter| parameter.kind == ParameterKind::Positional)
        .collect();
    let any = method
        .parameters
        .iter()
        .any(|parameter| parameter.kind == ParameterKind::VarPositional);
    let must = positional
        .iter()
        .filter(|parameter| !parameter.default)
        .count();
    let keyword = method
        .parameters
        .iter()
        .any(|parameter| parameter.kind == ParameterKind::KeywordOnly && !parameter.default);
    let (low, high) = (needed.len() + 1, needed.len() + 1 + also.len());
    let takes_enough = any || positional.len() >= low;
    if takes_enough && must <= high && !keyword {
        return;
    }
    let all: Vec<&str> = ["self"].iter().chain(needed).chain(also).copied().collect();
    let written = if method.is_async { "async def" } else { "def" };
    let found = format!(
        "{}({}) is not what the CDK calls",
        method.name,
        parameters(method)
    );
    findings.add(
        "C305",
        file,
        method.line,
        found,
        format!("write {written} {}({})", method.name, all.join(", ")),
    );
}

/// A method whose parameters are recognised by name.
fn by_name(method: &Method, file: &str, stream: Option<&Decorator>, findings: &mut Findings) {
    let known = STREAM_PARAMETERS.join(", ");
    if method
        .parameters
        .first()
        .is_none_or(|first| first.name != "self")
    {
        findings.add(
            "C305",
            file,
            method.line,
            format!("{}() does not take self", method.name),
            "write self first",
        );
        return;
    }
    for parameter in method.parameters.iter().skip(1) {
        let variable = matches!(
            parameter.kind,
            ParameterKind::VarPositional | ParameterKind::VarKeyword
        );
        if variable || parameter.default || STREAM_PARAMETERS.contains(&parameter.name.as_str()) {
            continue;
        }
        let guess = nearest(&parameter.name, STREAM_PARAMETERS)
            .map(|name| format!("did you mean `{name}`?"));
        let found = format!(
            "{}() asks for `{}`, which the CDK does not know",
            method.name, parameter.name
        );
        findings.add(
            "C305",
            file,
            method.line,
            found,
            guess.unwrap_or_else(|| format!("a stream may ask for: {known}")),
        );
    }
    let Some(decorator) = stream else { return };
    if !decorator.called {
        findings.add(
            "C305",
            file,
            decorator.line,
            "@stream without parentheses",
            "write @stream()",
        );
    }
    let asks = |name: &str| {
        method
            .parameters
            .iter()
            .any(|parameter| parameter.name == name)
    };
    if asks("since") && !declares(decorator, "cursor") {
        findings.add(
            "C305",
            file,
            method.line,
            format!(
                "{}() asks for `since`, and its stream has no cursor",
                method.name
            ),
            "write @stream(cursor=\"…\")",
        );
    }
    if asks("since") && asks("state") {
        findings.add(
            "C305",
            file,
            method.line,
            format!("{}() asks for both `since` and `state`", method.name),
            "take `since` for a managed cursor, or `state` for your own",
        );
    }
}

/// True if a keyword is given and is not empty.
fn declares(decorator: &Decorator, keyword: &str) -> bool {
    match decorator.keywords.get(keyword) {
        None => false,
        Some(Argument::Expression(_)) => true,
        Some(Argument::Literal(value)) => !value.is_null() && value != "",
    }
}

fn parameters(method: &Method) -> String {
    let written = |parameter: &crate::Parameter| match parameter.kind {
        ParameterKind::VarPositional => format!("*{}", parameter.name),
        ParameterKind::VarKeyword => format!("**{}", parameter.name),
        _ => parameter.name.clone(),
    };
    method
        .parameters
        .iter()
        .map(written)
        .collect::<Vec<_>>()
        .join(", ")
}

/// The absolute dotted name that a dotted name of this module stands for.
fn origin(module: &Module, dotted: &str) -> String {
    let (first, rest) = dotted
        .split_once('.')
        .map_or((dotted, ""), |(first, rest)| (first, rest));
    let Some(import) = module.imports.iter().find(|import| import.bound == first) else {
        return format!("{}.{dotted}", module.module);
    };
    let base = match &import.name {
        Some(name) => format!("{}.{name}", import.module),
        // `import a.b` binds `a`, `import a.b as c` binds the whole.
        None if import.module.split('.').next() == Some(first) => first.to_owned(),
        None => import.module.clone(),
    };
    if rest.is_empty() {
        base
    } else {
        format!("{base}.{rest}")
    }
}
