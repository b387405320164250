//! `${config.x}` in a policy: text that only the connection knows, put in place when a call is bound to its policy.

use serde_json::Value;
use std::fmt;

/// Text with at least one `${config.…}` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// Keys from the root of the config, outermost first.
    Config(Vec<String>),
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `${` without `}`.
    #[error("`${{` is not closed; write ${{config.property}}")]
    Unclosed,
    /// Something else than `config.…` between the braces.
    #[error(
        "${{{0}}} is unknown; write ${{config.property}}, a property of the connection's config"
    )]
    Unknown(String),
}

/// Why a config does not fill a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// The property is not set (or null): the rule asks for nothing.
    Absent(String),
    /// The property is a secret reference, an object, a list or a boolean.
    NotText(String),
}

impl Template {
    /// `None` where the text holds no `${`.
    pub fn parse(text: &str) -> Result<Option<Self>, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, tail)) = rest.split_once("${") {
            let (inner, tail) = tail.split_once('}').ok_or(TemplateError::Unclosed)?;
            let unknown = || TemplateError::Unknown(inner.to_owned());
            let path = inner.strip_prefix("config.").ok_or_else(unknown)?;
            let keys: Vec<String> = path.split('.').map(str::to_owned).collect();
            let plain = |key: &String| {
                !key.is_empty()
                    && key
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
            };
            if !keys.iter().all(plain) {
                return Err(unknown());
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            parts.push(Part::Config(keys));
            rest = tail;
        }
        if parts.is_empty() {
            return Ok(None);
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Some(Self {
            text: text.to_owned(),
            parts,
        }))
    }

    /// The text with the config's values in place. Numbers are written as JSON writes them.
    pub fn fill(&self, config: &Value) -> Result<String, Missing> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Config(keys) => {
                    let path = || format!("config.{}", keys.join("."));
                    let value = keys.iter().try_fold(config, |value, key| value.get(key));
                    match value {
                        None | Some(Value::Null) => return Err(Missing::Absent(path())),
                        Some(Value::String(value)) => text.push_str(value),
                        Some(Value::Number(value)) => text.push_str(&value.to_string()),
                        Some(_) => return Err(Missing::NotText(path())),
                    }
                }
            }
        }
        Ok(text)
    }

    /// The pattern that a `within` for this template would most likely be: the templated labels replaced by `*`.
    #[must_use]
    pub fn likely_within(&self) -> String {
        match (self.parts.last(), self.text.rsplit_once('}')) {
            (Some(Part::Literal(tail)), _) if tail.contains('.') => {
                format!("*{}", &tail[tail.find('.').unwrap_or(0)..])
            }
            _ => "db.example.com".to_owned(),
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_template_takes_text_and_numbers_from_the_config() {
        let template = Template::parse("${config.shop}.${config.api.zone}.example.com")
            .unwrap()
            .unwrap();
        assert_eq!(
            template
                .fill(&json!({"shop": "acme", "api": {"zone": 7}}))
                .unwrap(),
            "acme.7.example.com"
        );
        assert_eq!(template.likely_within(), "*.example.com");
    }

    #[test]
    fn a_secret_reference_is_no_text() {
        let template = Template::parse("${config.host}").unwrap().unwrap();
        let config = json!({"host": {"$secret": "env:CAISSON_SECRET_HOST"}});
        assert_eq!(
            template.fill(&config),
            Err(Missing::NotText("config.host".into()))
        );
        assert_eq!(
            template.fill(&json!({})),
            Err(Missing::Absent("config.host".into()))
        );
    }

    #[test]
    fn only_the_config_can_be_named() {
        assert_eq!(Template::parse("plain.example.com").unwrap(), None);
        assert_eq!(
            Template::parse("${env.HOME}"),
            Err(TemplateError::Unknown("env.HOME".into()))
        );
        assert_eq!(
            Template::parse("${config.}"),
            Err(TemplateError::Unknown("config.".into()))
        );
        assert_eq!(Template::parse("${config.x"), Err(TemplateError::Unclosed));
    }
}
