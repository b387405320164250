//! What a field may hold: an Arrow field taken apart once, so that no value
//! has to look at an Arrow type.

use arrow_schema::{DataType, Field, Fields, TimeUnit};

/// The canonical extension of a string that holds JSON.
const EXTENSION: &str = "ARROW:extension:name";
const JSON: &str = "arrow.json";
/// It has none, and says so.
const PARAMETERS: &str = "ARROW:extension:metadata";

/// One field of a record, list or map.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) name: Box<str>,
    /// `"name":`, escaped.
    pub(crate) key: Box<[u8]>,
    pub(crate) kind: Kind,
    pub(crate) nullable: bool,
}

/// How values of a field are converted and kept.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Null,
    Bool,
    Int(Int),
    Float32,
    Float64,
    Decimal {
        precision: u8,
        scale: i8,
    },
    Text,
    Json,
    Binary,
    Date,
    Time,
    Timestamp {
        unit: TimeUnit,
        aware: bool,
    },
    Duration(TimeUnit),
    List(Box<Slot>),
    Struct(Box<[Slot]>),
    /// String keys; the slot is the values'.
    Map(Box<Slot>),
}

/// Width and sign of an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Int {
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
}

/// No value of Python can be encoded as this Arrow type.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "field {field:?} has Arrow type {data_type}, which records cannot be encoded to; yield Arrow data or declare another type"
)]
pub(crate) struct Unsupported {
    field: String,
    data_type: String,
}

impl Slot {
    pub(crate) fn new(name: &str, kind: Kind, nullable: bool) -> Self {
        let mut key = Vec::with_capacity(name.len() + 3);
        super::json_text::string(&mut key, name);
        key.push(b':');
        Self {
            name: name.into(),
            key: key.into(),
            kind,
            nullable,
        }
    }

    pub(crate) fn from_field(field: &Field) -> Result<Self, Unsupported> {
        let kind = match field.data_type() {
            DataType::Null => Kind::Null,
            DataType::Boolean => Kind::Bool,
            DataType::Int8 => Kind::Int(Int::I8),
            DataType::Int16 => Kind::Int(Int::I16),
            DataType::Int32 => Kind::Int(Int::I32),
            DataType::Int64 => Kind::Int(Int::I64),
            DataType::UInt8 => Kind::Int(Int::U8),
            DataType::UInt16 => Kind::Int(Int::U16),
            DataType::UInt32 => Kind::Int(Int::U32),
            DataType::UInt64 => Kind::Int(Int::U64),
            DataType::Float32 => Kind::Float32,
            DataType::Float64 => Kind::Float64,
            DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
                Kind::Decimal {
                    precision: *precision,
                    scale: *scale,
                }
            }
            DataType::Utf8 | DataType::LargeUtf8 if is_json(field) => Kind::Json,
            DataType::Utf8 | DataType::LargeUtf8 => Kind::Text,
            DataType::Binary | DataType::LargeBinary => Kind::Binary,
            DataType::Date32 => Kind::Date,
            DataType::Time64(TimeUnit::Microsecond) => Kind::Time,
            DataType::Timestamp(unit, zone) => Kind::Timestamp {
                unit: *unit,
                aware: zone.is_some(),
            },
            DataType::Duration(unit) => Kind::Duration(*unit),
            DataType::List(item) | DataType::LargeList(item) => {
                Kind::List(Box::new(Self::from_field(item)?))
            }
            DataType::Struct(fields) => Kind::Struct(Self::from_fields(fields)?.into()),
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(pair)
                    if pair.len() == 2 && *pair[0].data_type() == DataType::Utf8 =>
                {
                    Kind::Map(Box::new(Self::from_field(&pair[1])?))
                }
                _ => return Err(Unsupported::new(field)),
            },
            _ => return Err(Unsupported::new(field)),
        };
        Ok(Self::new(field.name(), kind, field.is_nullable()))
    }

    pub(crate) fn from_fields(fields: &Fields) -> Result<Vec<Self>, Unsupported> {
        fields.iter().map(|field| Self::from_field(field)).collect()
    }
}

impl Unsupported {
    fn new(field: &Field) -> Self {
        Self {
            field: field.name().clone(),
            data_type: field.data_type().to_string(),
        }
    }
}

/// Whether a string field holds JSON.
pub(crate) fn is_json(field: &Field) -> bool {
    field.metadata().get(EXTENSION).map(String::as_str) == Some(JSON)
}

/// A nullable string field that holds JSON.
pub(crate) fn json_field(name: &str, nullable: bool) -> Field {
    let extension = [(EXTENSION, JSON), (PARAMETERS, "")];
    Field::new(name, DataType::Utf8, nullable)
        .with_metadata(extension.map(|(key, value)| (key.to_owned(), value.to_owned())))
}

/// The type of timestamps that come from records.
pub(crate) fn timestamp(aware: bool) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, aware.then(|| "UTC".into()))
}

/// A map from strings.
pub(crate) fn map_of(value: Field) -> DataType {
    let pair = Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        value.with_name("value"),
    ]);
    DataType::Map(
        Field::new("entries", DataType::Struct(pair), false).into(),
        false,
    )
}

impl Int {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::I8 => "int8",
            Self::I16 => "int16",
            Self::I32 => "int32",
            Self::I64 => "int64",
            Self::U8 => "uint8",
            Self::U16 => "uint16",
            Self::U32 => "uint32",
            Self::U64 => "uint64",
        }
    }

    /// Whether `number` is inside of its range (up to `i64::MAX`).
    pub(crate) fn holds(self, number: i64) -> bool {
        match self {
            Self::I8 => i8::try_from(number).is_ok(),
            Self::I16 => i16::try_from(number).is_ok(),
            Self::I32 => i32::try_from(number).is_ok(),
            Self::I64 => true,
            Self::U8 => u8::try_from(number).is_ok(),
            Self::U16 => u16::try_from(number).is_ok(),
            Self::U32 => u32::try_from(number).is_ok(),
            Self::U64 => number >= 0,
        }
    }
}

impl Kind {
    /// As `from_fields` of the stub spells it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Null => "null".into(),
            Self::Bool => "bool".into(),
            Self::Int(int) => int.name().into(),
            Self::Float32 => "float32".into(),
            Self::Float64 => "float64".into(),
            Self::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
            Self::Text => "string".into(),
            Self::Json => "json".into(),
            Self::Binary => "binary".into(),
            Self::Date => "date".into(),
            Self::Time => "time".into(),
            Self::Timestamp { aware: true, .. } => "timestamp".into(),
            Self::Timestamp { aware: false, .. } => "timestamp_naive".into(),
            Self::Duration(_) => "duration".into(),
            Self::List(item) => format!("list of {}", item.kind.name()),
            Self::Struct(_) => "struct".into(),
            Self::Map(value) => format!("map of {}", value.kind.name()),
        }
    }

    /// Bytes a value takes at least, in an Arrow column.
    pub(crate) fn width(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Bool => 1,
            Self::Int(Int::I8 | Int::U8) => 1,
            Self::Int(Int::I16 | Int::U16) => 2,
            Self::Int(Int::I32 | Int::U32) | Self::Float32 | Self::Date => 4,
            Self::Decimal { precision, .. } if *precision > 38 => 32,
            Self::Decimal { .. } => 16,
            Self::Text | Self::Json | Self::Binary | Self::List(_) | Self::Map(_) => 4,
            Self::Int(Int::I64 | Int::U64)
            | Self::Float64
            | Self::Time
            | Self::Timestamp { .. }
            | Self::Duration(_) => 8,
            Self::Struct(slots) => slots.iter().map(|slot| slot.kind.width()).sum(),
        }
    }
}
