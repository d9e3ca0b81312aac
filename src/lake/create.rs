//! Creates a table: its folders, and version 0 of its log.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use arrow::datatypes::Schema;
use delta_kernel::engine::arrow_conversion::TryFromArrow;
use delta_kernel::schema::StructType;
use serde_json::json;
use uuid::Uuid;

use super::columns::NEEDS_NEWER;
use super::layout::{LOG, STAGING};
use super::store::Place;
use super::table::{
    CLUSTER_ID, FORMAT, FORMAT_NOW, KAFKA_CLUSTER_ID, TOPIC, TOPIC_ID, TableKind, WRITTEN_BY, entry_name,
};
use super::{Identity, columns};

/// Whether there is a table of `kind` in `lake`. Any entry or checkpoint of the log counts, because
/// version 0 may have been cleaned up.
///
/// # Errors
/// If the log's folder cannot be listed.
pub fn exists(lake: &Place, kind: &TableKind) -> Result<bool> {
    let log = lake.join(kind.folder).join(LOG);
    let is_version = |name: &String| name.ends_with(".json") || name.ends_with(".parquet");
    Ok(log.is_folder() && log.names()?.iter().any(is_version))
}

/// Refuses a folder that has files but no log: it is not a table.
pub fn refuse_foreign(lake: &Place, kind: &TableKind) -> Result<()> {
    let root = lake.join(kind.folder);
    if root.is_folder()
        && let Some(foreign) = root.names()?.into_iter().find(|name| name != LOG && name != STAGING)
        && !root.join(LOG).is_folder()
    {
        bail!("{root} holds {foreign}, but no {LOG}: it is not a lake of ours; give --lake another folder");
    }
    Ok(())
}

/// Creates the table of `kind` in `lake`, with the folders that writers need, unless it exists. The
/// log records the `identity` of the topic.
///
/// # Errors
/// If the folder belongs to something else, or cannot be written.
pub fn create(lake: &Place, kind: &TableKind, identity: &Identity) -> Result<()> {
    refuse_foreign(lake, kind)?;
    let root = lake.join(kind.folder);
    for folder in [root.join(STAGING), root.join(LOG)] {
        folder
            .create_folder()
            .with_context(|| format!("cannot make a lake in {lake}: give --lake a writable folder"))?;
    }
    if exists(lake, kind)? {
        return Ok(());
    }
    root.join(LOG).join(&entry_name(0)).put_if_absent(first_commit(kind, identity)?.as_bytes())?;
    Ok(())
}

/// The content of version 0. It is written here because the kernel's own API for creating a table
/// is not stable yet.
fn first_commit(kind: &TableKind, identity: &Identity) -> Result<String> {
    let partitioned_by = (kind.partitioned_by)();
    let fields: Vec<_> = columns::declared(kind).into_iter().chain(partitioned_by.iter().cloned()).collect();
    let schema = StructType::try_from_arrow(&Schema::new(fields)).context("the table's schema")?;
    let mut origin = json!({TOPIC: identity.topic, KAFKA_CLUSTER_ID: identity.cluster_id, CLUSTER_ID: NEEDS_NEWER,
        FORMAT: FORMAT_NOW.to_string()});
    if let Some(topic_id) = &identity.topic_id {
        origin[TOPIC_ID] = json!(topic_id);
    }
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let actions = [
        json!({"commitInfo": {"timestamp": now_ms, "operation": "CREATE TABLE", "operationParameters": {},
            "engineInfo": WRITTEN_BY}}),
        json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}),
        json!({"metaData": {"id": Uuid::new_v4().to_string(), "format": {"provider": "parquet", "options": {}},
            "schemaString": serde_json::to_string(&schema)?,
            "partitionColumns": partitioned_by.iter().map(|field| field.name()).collect::<Vec<_>>(),
            "configuration": origin, "createdTime": now_ms}}),
    ];
    Ok(actions.map(|action| action.to_string() + "\n").concat())
}
