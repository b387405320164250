//! A value that came from anywhere, owned, and the way to say it did not fit.

use std::fmt::Write as _;

/// What a record's field may hold, before any schema has spoken.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    /// The digits of an integer outside of `i64`.
    Big(String),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// As Python writes it: digits, a point, perhaps an exponent, or NaN.
    Decimal(String),
    /// Microseconds since 1970; of UTC if `aware`, else of no zone.
    Timestamp {
        micros: i64,
        aware: bool,
    },
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// Microseconds.
    Duration(i64),
    List(Vec<Value>),
    /// In the order of the source; keys differ.
    Map(Vec<(String, Value)>),
}

impl Value {
    /// The name of its type, as a Python author knows it.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "None",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Big(_) => "int outside of 64 bits",
            Self::Float(_) => "float",
            Self::Text(_) => "str",
            Self::Bytes(_) => "bytes",
            Self::Decimal(_) => "Decimal",
            Self::Timestamp { aware: true, .. } => "datetime with a zone",
            Self::Timestamp { aware: false, .. } => "datetime without a zone",
            Self::Date(_) => "date",
            Self::Time(_) => "time",
            Self::Duration(_) => "timedelta",
            Self::List(_) => "list",
            Self::Map(_) => "dict",
        }
    }
}

/// What to do with a field that the schema does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    Error,
    Drop,
    /// Kept as JSON in the column `_extra`.
    Extra,
}

/// The column that keeps unknown fields.
pub(crate) const EXTRA: &str = "_extra";

/// A value that does not fit its field. Never holds the value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// From the inside out.
    steps: Vec<String>,
    pub(crate) expected: String,
    pub(crate) found: String,
}

impl Misfit {
    pub(crate) fn new(expected: impl Into<String>, found: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            steps: Vec::new(),
            expected: expected.into(),
            found: found.into(),
        })
    }

    /// A field that the schema does not have.
    pub(crate) fn unknown(name: &str) -> Box<Self> {
        Self::new("no such field", "a value").within(name)
    }

    /// It happened inside field `name`.
    pub(crate) fn within(mut self: Box<Self>, name: &str) -> Box<Self> {
        self.steps.push(name.to_owned());
        self
    }

    /// It happened in this element of a list.
    pub(crate) fn at(mut self: Box<Self>, index: usize) -> Box<Self> {
        self.steps.push(format!("[{index}]"));
        self
    }

    /// `customer.lines[3].price`; empty for the record itself.
    pub(crate) fn field(&self) -> String {
        let mut path = String::new();
        for step in self.steps.iter().rev() {
            if !path.is_empty() && !step.starts_with('[') {
                path.push('.');
            }
            let _ = write!(path, "{step}");
        }
        path
    }
}

/// Where a nested value stands, for the keys of `_extra`.
#[derive(Clone, Copy)]
pub(crate) enum Trail<'a> {
    Root,
    Field(&'a Trail<'a>, &'a str),
    Item(&'a Trail<'a>, usize),
}

impl Trail<'_> {
    /// The path of field `name` at this place.
    pub(crate) fn join(&self, name: &str) -> String {
        let mut path = self.path();
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(name);
        path
    }

    fn path(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Field(above, name) => above.join(name),
            Self::Item(above, index) => format!("{}[{index}]", above.path()),
        }
    }
}

/// What is kept beside a record while it is encoded.
#[derive(Debug)]
pub(crate) struct Aside {
    pub(crate) unknown: Unknown,
    /// Bytes of variable length that the record took.
    pub(crate) bytes: usize,
    /// Unknown fields: `{"a":1,"b.c":2` without the closing brace; empty if
    /// there are none.
    pub(crate) extra: Vec<u8>,
}

impl Aside {
    pub(crate) fn new(unknown: Unknown) -> Self {
        Self {
            unknown,
            bytes: 0,
            extra: Vec::new(),
        }
    }

    /// Opens the next pair of the extra object.
    pub(crate) fn extra_key(&mut self, path: &str) -> &mut Vec<u8> {
        self.extra
            .push(if self.extra.is_empty() { b'{' } else { b',' });
        super::json_text::string(&mut self.extra, path);
        self.extra.push(b':');
        &mut self.extra
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misfit_names_its_field_from_the_outside_in() {
        let misfit = Misfit::new("int64", "str")
            .within("price")
            .at(3)
            .within("lines")
            .within("customer");
        assert_eq!(misfit.field(), "customer.lines[3].price");
    }

    #[test]
    fn a_trail_spells_the_same_path() {
        let customer = Trail::Field(&Trail::Root, "customer");
        let lines = Trail::Field(&customer, "lines");
        assert_eq!(
            Trail::Item(&lines, 3).join("price"),
            "customer.lines[3].price"
        );
    }
}
