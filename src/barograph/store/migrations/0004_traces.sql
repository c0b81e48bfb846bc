-- Where the queries of a trace are: its hash, and the time and the day of arrival that lead to a granule each.
-- A skip index would have to be read whole in every day; this is a search in each month.

CREATE TABLE trace_place (
    project LowCardinality(String),
    trace UInt64,
    time DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    arrived Date
) ENGINE = MergeTree PARTITION BY toYYYYMM(arrived) ORDER BY (project, trace)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE MATERIALIZED VIEW query_to_trace TO trace_place AS
SELECT project, cityHash64(trace_id) AS trace, time, toDate(received_at) AS arrived FROM query WHERE trace_id != '';
