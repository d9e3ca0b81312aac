//! Adds the columns that a table of an earlier format lacks.
//!
//! The kernel has no stable interface for it, so the entry of the log is written here. It changes
//! nothing but the schema and the properties: readers of any kind find some more columns, which are
//! null in the files of before.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use arrow::datatypes::{Field, Schema};
use delta_kernel::engine::arrow_conversion::TryFromArrow;
use delta_kernel::schema::StructType;
use serde_json::{Value, json};

use super::rows;
use super::table::{CLUSTER_ID, FORMAT, FORMAT_NOW, KAFKA_CLUSTER_ID, Table, TableKind, WRITTEN_BY};

/// What earlier releases find instead of the id of the cluster. They refuse a lake of another
/// cluster and name this, so they cannot add rows that claim to have always been there.
pub const NEEDS_NEWER: &str = "(format 2 of the lake, which needs a newer reprise)";

/// The columns of a table of `kind`, as the log declares them. Rows of earlier formats and of
/// imports lack some, so those are nullable in the table.
pub fn declared(kind: &TableKind) -> Vec<Field> {
    let columns = (kind.columns)();
    let column =
        |field: &Arc<Field>| field.as_ref().clone().with_nullable(field.is_nullable() || rows::may_lack(field.name()));
    columns.fields().iter().map(column).collect()
}

/// The `commitInfo` action of an entry that adds columns.
pub fn commit_info() -> Value {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    json!({"commitInfo": {"timestamp": now_ms, "operation": "ADD COLUMNS", "operationParameters": {},
        "engineInfo": WRITTEN_BY}})
}

/// The `metaData` action that gives `table` the columns and properties of this format; `None` if it
/// has them.
///
/// # Errors
/// If the log cannot be read.
pub fn missing(table: &Table) -> Result<Option<Value>> {
    let known = table.snapshot().schema();
    let missing: Vec<Field> =
        declared(table.kind).into_iter().filter(|field| known.field(field.name()).is_none()).collect();
    if missing.is_empty() && table.format()? == FORMAT_NOW {
        return Ok(None);
    }
    let mut metadata = table.metadata()?;
    let text = metadata["schemaString"].as_str().context("the log's metadata has no schema")?;
    let mut schema: Value = serde_json::from_str(text).context("the log's schema is damaged")?;
    let added = StructType::try_from_arrow(&Schema::new(missing)).context("the schema of new columns")?;
    let added = serde_json::to_value(&added)?["fields"].take();
    let fields = schema["fields"].as_array_mut().context("the log's schema has no fields")?;
    fields.extend(added.as_array().cloned().unwrap_or_default());
    metadata["schemaString"] = json!(schema.to_string());
    let properties = &mut metadata["configuration"];
    if let Some(cluster_id) = table.cluster_id() {
        properties[KAFKA_CLUSTER_ID] = json!(cluster_id);
    }
    properties[CLUSTER_ID] = json!(NEEDS_NEWER);
    properties[FORMAT] = json!(FORMAT_NOW.to_string());
    Ok(Some(json!({"metaData": metadata})))
}
