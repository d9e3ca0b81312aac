//! HTTP: charts and status as JSON.
