//! Checks of the code that ask what it is, not what it does: that it parses,
//! that the entrypoint exists, and that code and config schema agree.

use std::collections::HashSet;

use caisson_document::nearest;
use serde_json::Value;

use super::{Context, Findings};
use crate::generate::{GENERATED, generate_config};
use crate::{Auth, MANIFEST_FILE};

pub(super) fn check(context: &Context<'_>, findings: &mut Findings) {
    for error in &context.facts.errors {
        findings.add(
            "C301",
            &error.file,
            error.line,
            format!("not valid Python: {}", error.message),
            "",
        );
    }
    entrypoint(context, findings);
    config_use(context, findings);
    config_module(context, findings);
}

/// C302.
fn entrypoint(context: &Context<'_>, findings: &mut Findings) {
    let Some((module, class)) = context.entrypoint() else {
        return;
    };
    let facts = context.facts;
    if facts.class(module, class).is_some() {
        return;
    }
    let fault = if facts.module(module).is_none() {
        let known = facts.modules.iter().map(|module| module.module.as_str());
        let guess = nearest(module, known).map(|name| format!("did you mean `{name}`?"));
        let path = module.replace('.', "/");
        let help =
            guess.unwrap_or_else(|| format!("put it at src/{path}/__init__.py or src/{path}.py"));
        context.document.fault(
            "/entrypoint",
            format!("there is no module `{module}` under src/"),
            help,
        )
    } else {
        let classes = facts
            .modules
            .iter()
            .flat_map(|module| module.classes.iter().map(|class| class.name.as_str()));
        let guess = nearest(class, classes).map(|name| format!("did you mean `{name}`?"));
        let help = guess.unwrap_or_else(|| {
            format!("define it there, or import it: from .connector import {class}")
        });
        context.document.fault(
            "/entrypoint",
            format!("the module `{module}` has no class `{class}`"),
            help,
        )
    };
    findings.fault("C302", &fault);
}

/// C210 and C211.
fn config_use(context: &Context<'_>, findings: &mut Findings) {
    let Some(properties) = context.properties() else {
        return;
    };
    let passed_on = super::surface::passes_its_config_on(context);
    let mut used: HashSet<&str> = HashSet::new();
    for module in &context.facts.modules {
        for access in &module.config {
            let Some(first) = access.path.first() else {
                continue;
            };
            used.insert(first);
            let mut known = Some(properties);
            let mut sofar = "self.config".to_owned();
            for name in &access.path {
                // What is asked of a string or a number is not a property of config.
                let Some(properties) = known else { break };
                let Some(property) = properties.get(name) else {
                    let guess = nearest(name, properties.keys().map(String::as_str))
                        .map(|name| format!("did you mean `{name}`?"));
                    let help = guess.unwrap_or_else(|| {
                        format!("describe it in {MANIFEST_FILE} under config.properties")
                    });
                    findings.add(
                        "C210",
                        &module.file,
                        access.line,
                        format!("{sofar}.{name}: config has no property `{name}`"),
                        help,
                    );
                    break;
                };
                sofar = format!("{sofar}.{name}");
                known = property.get("properties").and_then(Value::as_object);
            }
        }
    }
    let declared = used_in_manifest(context);
    // A whole config that is handed on may be used anywhere; only its absence is told.
    for name in properties.keys() {
        if !passed_on && !used.contains(name.as_str()) && !declared.contains(name) {
            let place = caisson_document::join("/config/properties", name);
            findings.fault(
                "C211",
                &context.document.key_fault(
                    &place,
                    "is not used by self.config, auth or egress",
                    "leave it out, or use it",
                ),
            );
        }
    }
}

/// Properties that auth, egress or a stream's `start=` names.
fn used_in_manifest(context: &Context<'_>) -> HashSet<String> {
    let mut used = HashSet::new();
    let auth = context.document.pointer("/auth").and_then(Value::as_object);
    for value in auth.into_iter().flat_map(|entries| entries.values()) {
        if let Ok(auth) = serde_json::from_value::<Auth>(value.clone()) {
            used.extend(
                auth.fields()
                    .into_iter()
                    .map(|(_, field, _)| field.to_owned()),
            );
        }
    }
    let egress = context
        .document
        .pointer("/egress")
        .map(Value::to_string)
        .unwrap_or_default();
    used.extend(
        crate::template::holes(&egress)
            .unwrap_or_default()
            .into_iter()
            .map(str::to_owned),
    );
    let decorators = context
        .facts
        .modules
        .iter()
        .flat_map(|module| &module.classes)
        .flat_map(|class| &class.methods)
        .flat_map(|method| &method.decorators);
    for decorator in decorators {
        if let Some(crate::Argument::Literal(Value::String(start))) =
            decorator.keywords.get("start")
        {
            used.insert(start.clone());
        }
    }
    // The CDK starts a cursor from this one where a stream says nothing else.
    used.insert("start_date".to_owned());
    used
}

/// C307.
fn config_module(context: &Context<'_>, findings: &mut Findings) {
    let Some((module, _)) = context.entrypoint() else {
        return;
    };
    let (Some(config), Some(title)) = (context.document.pointer("/config"), context.text("/title"))
    else {
        return;
    };
    let package = module.split('.').next().unwrap_or_default();
    let file = format!("src/{package}/config.py");
    let read = context.project.read(&file, 1 << 20).map(String::from_utf8);
    let Ok(Ok(there)) = read else {
        return;
    };
    // Without the mark it is the author's own.
    if there.starts_with(GENERATED) && there != generate_config(title, config) {
        findings.add(
            "C307",
            &file,
            1,
            "does not fit connector.yaml any more",
            "run `caisson validate --write-config`",
        );
    }
}
