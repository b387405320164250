//! Errors of the schema validator, in words for people. The one place that
//! decides what a fault says; none of it may show a value of the document.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde_json::Value;

use crate::expected::{alternatives, expected, format_phrase, literal, one_of, type_phrase};
use crate::mark::{join, quoted};
use crate::{Document, Fault, Schema, nearest};

/// More faults than this help nobody.
const MAX_FAULTS: usize = 100;

/// A value by its type and size alone: `a string of 12 characters`.
#[must_use]
pub fn describe(value: &Value) -> String {
    let counted = |base: &str, count: usize, unit: &str| match count {
        0 => format!("an empty {base}"),
        1 => format!("a {base} of 1 {unit}"),
        many => format!("a {base} of {many} {unit}s"),
    };
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(_) => "true or false".to_owned(),
        Value::Number(number) if number.is_f64() => "a number".to_owned(),
        Value::Number(_) => "an integer".to_owned(),
        Value::String(text) => counted("string", text.chars().count(), "character"),
        Value::Array(items) => counted("list", items.len(), "item"),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

/// Every way in which `part`, which stands at `pointer`, does not fit `schema`.
pub(crate) fn faults(
    document: &Document,
    pointer: &str,
    schema: &Schema,
    part: &Value,
) -> Vec<Fault> {
    reduce(
        document,
        pointer,
        Some(&schema.value),
        schema.validator.iter_errors(part),
    )
}

/// Words for all `errors`, in the order of the text.
pub(crate) fn reduce<'a>(
    document: &Document,
    pointer: &str,
    schema: Option<&Value>,
    errors: impl Iterator<Item = ValidationError<'a>>,
) -> Vec<Fault> {
    let words = Words {
        document,
        base: pointer,
        schema: schema.unwrap_or(&Value::Null),
    };
    let mut faults = Vec::new();
    for error in errors.take(MAX_FAULTS) {
        words.say(&error, &mut faults);
    }
    faults.sort_by_key(|fault| (fault.line, fault.column));
    faults.dedup();
    faults
}

struct Words<'a> {
    document: &'a Document,
    base: &'a str,
    schema: &'a Value,
}

impl Words<'_> {
    fn say(&self, error: &ValidationError<'_>, faults: &mut Vec<Fault>) {
        let place = format!("{}{}", self.base, error.instance_path().as_str());
        let parent = self.parent(error);
        let help = hint(parent).unwrap_or_default();
        let found = || describe(error.instance());
        let wanted = || parent.and_then(|parent| expected(parent, self.schema));
        let mut fault = |message: String| faults.push(self.document.fault(&place, message, help));
        match error.kind() {
            Kind::AdditionalProperties { unexpected }
            | Kind::UnevaluatedProperties { unexpected } => {
                for key in unexpected {
                    faults.push(self.unknown_key(&place, key, parent, error.instance()));
                }
            }
            Kind::Required { property } => {
                let name = literal(property);
                let help = property
                    .as_str()
                    .and_then(|name| hint(parent?.pointer(&join("/properties", name))))
                    .unwrap_or(help);
                faults.push(
                    self.document
                        .fault(&place, format!("missing key {name}"), help),
                );
            }
            Kind::Type { kind } => {
                let wanted = wanted().unwrap_or_else(|| types(kind));
                fault(format!("expected {wanted}, found {}", found()));
            }
            Kind::Enum { options } => {
                let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
                let nearest = error
                    .instance()
                    .as_str()
                    .and_then(|text| nearest(text, options.iter().filter_map(Value::as_str)));
                let guess = nearest.map(|name| format!("did you mean `{name}`?"));
                let help = if help.is_empty() {
                    guess.unwrap_or_default()
                } else {
                    help.to_owned()
                };
                let message = format!("expected {}, found {}", one_of(options), found());
                faults.push(self.document.fault(&place, message, help));
            }
            Kind::Constant { expected_value } => {
                fault(format!(
                    "expected {}, found {}",
                    literal(expected_value),
                    found()
                ));
            }
            Kind::Minimum { .. }
            | Kind::Maximum { .. }
            | Kind::ExclusiveMinimum { .. }
            | Kind::ExclusiveMaximum { .. } => {
                let wanted = wanted().unwrap_or_else(|| bounds(error.kind()));
                fault(format!("expected {wanted}, found one outside"));
            }
            Kind::MinLength { .. }
            | Kind::MaxLength { .. }
            | Kind::MinItems { .. }
            | Kind::MaxItems { .. }
            | Kind::MinProperties { .. }
            | Kind::MaxProperties { .. } => {
                fault(format!(
                    "expected {}, found {}",
                    sizes(error.kind()),
                    found()
                ));
            }
            Kind::MultipleOf { multiple_of } => {
                fault(format!("expected a multiple of {multiple_of}"))
            }
            Kind::Format { format } => {
                fault(format!(
                    "expected {}, found {} that is none",
                    format_phrase(format),
                    found()
                ));
            }
            Kind::Pattern { pattern } => match parent
                .and_then(|parent| parent.get("x-name")?.as_str())
            {
                Some(name) => fault(format!("expected {name}, found {} that is none", found())),
                None => {
                    let message = format!("does not match the pattern {pattern}");
                    let described = parent.and_then(|parent| parent.get("description")?.as_str());
                    let help = if help.is_empty() {
                        described.unwrap_or_default()
                    } else {
                        help
                    };
                    faults.push(self.document.fault(&place, message, help));
                }
            },
            Kind::PropertyNames { error: inner } => {
                let key = inner.instance().as_str().unwrap_or_default().to_owned();
                let rule = self.parent(inner);
                let help = hint(rule)
                    .or_else(|| rule.and_then(|rule| rule.get("description")?.as_str()))
                    .unwrap_or(help);
                let message = format!("the key {} is not allowed here", quoted(&key));
                faults.push(self.document.key_fault(&join(&place, &key), message, help));
            }
            Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
                self.choice(error, &place, context, help, faults);
            }
            Kind::OneOfMultipleValid { .. } => fault("fits more than one of its forms".to_owned()),
            Kind::UniqueItems => fault("an item stands in this list twice".to_owned()),
            Kind::AdditionalItems { limit } => fault(format!("expected at most {limit} items")),
            Kind::UnevaluatedItems { .. } => {
                fault("this list has more items than it may".to_owned())
            }
            Kind::Contains => fault("an item that must be in this list is missing".to_owned()),
            Kind::FalseSchema => {
                faults.push(
                    self.document
                        .key_fault(&place, "this key is not allowed here", help),
                );
            }
            Kind::Not { .. } => fault("this value is not allowed here".to_owned()),
            Kind::Custom { message, .. } => fault(message.clone()),
            other => fault(format!("fails the rule {}", other.keyword())),
        }
    }

    /// The subschema whose keyword failed.
    fn parent(&self, error: &ValidationError<'_>) -> Option<&Value> {
        let path = error.schema_path().as_str();
        let parent = &path[..path.rfind('/')?];
        self.schema.pointer(parent)
    }

    fn unknown_key(
        &self,
        place: &str,
        key: &str,
        parent: Option<&Value>,
        instance: &Value,
    ) -> Fault {
        let properties = parent.and_then(|parent| parent.get("properties")?.as_object());
        let known: Vec<&str> = properties
            .iter()
            .flat_map(|map| map.keys().map(String::as_str))
            .collect();
        // A name that is there already is not what somebody meant to write once more.
        let free = known
            .iter()
            .copied()
            .filter(|name| instance.get(name).is_none());
        let help = match nearest(key, free) {
            Some(name) => format!("did you mean `{name}`?"),
            None if known.is_empty() => hint(parent).unwrap_or_default().to_owned(),
            None if known.len() <= 24 => format!("known keys: {}", known.join(", ")),
            None => String::new(),
        };
        self.document.key_fault(
            &join(place, key),
            format!("unknown key {}", backquoted(key)),
            help,
        )
    }

    /// A choice between branches: the schema's own hint, or one sentence where no branch is near,
    /// or the constants of the key that tells the branches apart, or the faults of the branch that
    /// fits best.
    fn choice(
        &self,
        error: &ValidationError<'_>,
        place: &str,
        context: &[Vec<ValidationError<'static>>],
        help: &str,
        faults: &mut Vec<Fault>,
    ) {
        let here = error.instance_path().as_str();
        let wrong_kind = |branch: &[ValidationError<'_>]| {
            branch.iter().any(|inner| {
                inner.instance_path().as_str() == here
                    && matches!(
                        inner.kind(),
                        Kind::Type { .. } | Kind::Constant { .. } | Kind::Enum { .. }
                    )
            })
        };
        if context.iter().all(|branch| wrong_kind(branch)) {
            let branches = self.branches(error);
            let phrases: Vec<String> = context
                .iter()
                .enumerate()
                .filter_map(|(index, branch)| {
                    branches
                        .get(index)
                        .and_then(|schema| expected(schema, self.schema))
                        .or_else(|| branch.iter().find_map(|inner| wanted_by(inner.kind())))
                })
                .collect();
            let message = format!(
                "expected {}, found {}",
                alternatives(&phrases),
                describe(error.instance())
            );
            faults.push(self.document.fault(place, message, help));
            return;
        }
        if let Some((inner, constants)) = discriminator(context) {
            let place = format!("{}{}", self.base, inner.instance_path().as_str());
            let guess = inner
                .instance()
                .as_str()
                .and_then(|text| nearest(text, constants.iter().filter_map(Value::as_str)))
                .map(|name| format!("did you mean `{name}`?"))
                .unwrap_or_default();
            let message = format!(
                "expected {}, found {}",
                one_of(&constants),
                describe(inner.instance())
            );
            faults.push(self.document.fault(&place, message, guess));
            return;
        }
        let only_missing: Option<Vec<String>> = context
            .iter()
            .map(|branch| match branch.as_slice() {
                [only] if only.instance_path().as_str() == here => match only.kind() {
                    Kind::Required { property } => Some(literal(property)),
                    _ => None,
                },
                _ => None,
            })
            .collect();
        if let Some(names) = only_missing {
            faults.push(self.document.fault(
                place,
                format!("missing key {}", alternatives(&names)),
                help,
            ));
            return;
        }
        if !help.is_empty() {
            faults.push(self.document.fault(place, "fits none of its forms", help));
            return;
        }
        // The branch whose discriminating constants fit comes first, then the one with fewest faults.
        let best = context
            .iter()
            .filter(|branch| !wrong_kind(branch))
            .min_by_key(|branch| {
                let constants = branch
                    .iter()
                    .filter(|inner| matches!(inner.kind(), Kind::Constant { .. }))
                    .count();
                (constants, branch.len())
            });
        for inner in best.into_iter().flatten() {
            self.say(inner, faults);
        }
    }

    fn branches(&self, error: &ValidationError<'_>) -> Vec<&Value> {
        self.schema
            .pointer(error.schema_path().as_str())
            .and_then(Value::as_array)
            .map(|branches| branches.iter().collect())
            .unwrap_or_default()
    }
}

/// What one keyword wants, where the schema cannot be looked at.
fn wanted_by(kind: &Kind) -> Option<String> {
    match kind {
        Kind::Type { kind } => Some(types(kind)),
        Kind::Constant { expected_value } => Some(literal(expected_value)),
        Kind::Enum { options } => options.as_array().map(|options| one_of(options)),
        _ => None,
    }
}

/// Where every branch wants another constant at one place (`type: bearer`, `type: basic`), that
/// place and those constants.
fn discriminator<'a>(
    context: &'a [Vec<ValidationError<'static>>],
) -> Option<(&'a ValidationError<'static>, Vec<Value>)> {
    let constant = |error: &ValidationError<'_>| match error.kind() {
        Kind::Constant { expected_value } => Some(Value::clone(expected_value)),
        _ => None,
    };
    let first = context
        .first()?
        .iter()
        .find(|error| constant(error).is_some())?;
    let constants: Option<Vec<Value>> = context
        .iter()
        .map(|branch| {
            branch
                .iter()
                .filter(|error| error.instance_path() == first.instance_path())
                .find_map(constant)
        })
        .collect();
    Some((first, constants?))
}

fn backquoted(key: &str) -> String {
    let plain =
        key.len() <= 48 && !key.is_empty() && key.chars().all(|c| !c.is_control() && c != '`');
    if plain {
        format!("`{key}`")
    } else {
        quoted(key)
    }
}

fn hint(schema: Option<&Value>) -> Option<&str> {
    schema?.get("x-write-instead")?.as_str()
}

fn types(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(one) => type_phrase(&one.to_string()).to_owned(),
        TypeKind::Multiple(set) => {
            let phrases: Vec<String> = set
                .iter()
                .map(|one| type_phrase(&one.to_string()).to_owned())
                .collect();
            alternatives(&phrases)
        }
    }
}

fn bounds(kind: &Kind) -> String {
    match kind {
        Kind::Minimum { limit } => format!("a number of at least {limit}"),
        Kind::Maximum { limit } => format!("a number of at most {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("a number above {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("a number below {limit}"),
        _ => "another number".to_owned(),
    }
}

fn sizes(kind: &Kind) -> String {
    match kind {
        Kind::MinLength { limit: 1 }
        | Kind::MinItems { limit: 1 }
        | Kind::MinProperties { limit: 1 } => "something that is not empty".to_owned(),
        Kind::MinLength { limit } => format!("at least {limit} characters"),
        Kind::MaxLength { limit } => format!("at most {limit} characters"),
        Kind::MinItems { limit } => format!("at least {limit} items"),
        Kind::MaxItems { limit } => format!("at most {limit} items"),
        Kind::MinProperties { limit } => format!("at least {limit} keys"),
        Kind::MaxProperties { limit } => format!("at most {limit} keys"),
        _ => "another size".to_owned(),
    }
}
