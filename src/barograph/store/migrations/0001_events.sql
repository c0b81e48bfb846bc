-- The events as they are journaled: one table a kind, columns named like the event's fields.
-- Every table is partitioned by the day of arrival, exactly as the journal's folders are, so that one range of a
-- journal segment is one partition, and a day is verified, rebuilt or retired as a folder against a partition.

CREATE TABLE query (
    project LowCardinality(String) DEFAULT 'default',
    time DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    received_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    arrived Date MATERIALIZED toDate(received_at),
    event_id String CODEC(ZSTD(1)),
    origin LowCardinality(String) DEFAULT 'caller',
    tags Map(LowCardinality(String), String),
    trace_id String CODEC(ZSTD(1)),
    session_id String CODEC(ZSTD(1)),
    user_id String CODEC(ZSTD(1)),
    query String CODEC(ZSTD(3)),
    answer String CODEC(ZSTD(3)),
    pipeline LowCardinality(String),
    environment LowCardinality(String),
    model LowCardinality(String),
    provider LowCardinality(String),
    status LowCardinality(String) DEFAULT 'ok',
    error_type LowCardinality(String),
    error_stage LowCardinality(String),
    error_message String CODEC(ZSTD(3)),
    response_time Nullable(Float64) CODEC(ZSTD(1)),
    embedding_time Nullable(Float64) CODEC(ZSTD(1)),
    retrieval_time Nullable(Float64) CODEC(ZSTD(1)),
    rerank_time Nullable(Float64) CODEC(ZSTD(1)),
    generation_time Nullable(Float64) CODEC(ZSTD(1)),
    time_to_first_token Nullable(Float64) CODEC(ZSTD(1)),
    input_tokens Nullable(UInt32) CODEC(ZSTD(1)),
    output_tokens Nullable(UInt32) CODEC(ZSTD(1)),
    cached_tokens Nullable(UInt32) CODEC(ZSTD(1)),
    cost Nullable(Float64) CODEC(ZSTD(1)),
    accuracy_score Nullable(Float64) CODEC(ZSTD(1)),
    document_count Nullable(UInt32) CODEC(ZSTD(1)),
    documents Array(Tuple(
        id String,
        source String,
        retriever LowCardinality(String),
        rank Nullable(UInt32),
        score Nullable(Float64),
        rerank_rank Nullable(UInt32),
        rerank_score Nullable(Float64),
        in_context Nullable(Bool),
        cited Nullable(Bool),
        text String)) CODEC(ZSTD(3)),
    top_score Nullable(Float64) MATERIALIZED if(empty(documents), NULL, arrayMax(documents.score)) CODEC(ZSTD(1)),
    variants Map(LowCardinality(String), LowCardinality(String)),
    modelled Array(LowCardinality(String))
) ENGINE = MergeTree PARTITION BY arrived ORDER BY (project, time)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE feedback (
    project LowCardinality(String) DEFAULT 'default',
    time DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    received_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    arrived Date MATERIALIZED toDate(received_at),
    event_id String CODEC(ZSTD(1)),
    origin LowCardinality(String) DEFAULT 'caller',
    tags Map(LowCardinality(String), String),
    trace_id String CODEC(ZSTD(1)),
    session_id String CODEC(ZSTD(1)),
    user_id String CODEC(ZSTD(1)),
    rating Nullable(Float64) CODEC(ZSTD(1)),
    comment String CODEC(ZSTD(3)),
    pipeline LowCardinality(String),
    environment LowCardinality(String),
    model LowCardinality(String),
    variants Map(LowCardinality(String), LowCardinality(String)),
    INDEX by_trace trace_id TYPE bloom_filter(0.001) GRANULARITY 1
) ENGINE = MergeTree PARTITION BY arrived ORDER BY (project, time)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE score (
    project LowCardinality(String) DEFAULT 'default',
    time DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    received_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    arrived Date MATERIALIZED toDate(received_at),
    event_id String CODEC(ZSTD(1)),
    origin LowCardinality(String) DEFAULT 'caller',
    tags Map(LowCardinality(String), String),
    name LowCardinality(String),
    value Float64 CODEC(ZSTD(1)),
    trace_id String CODEC(ZSTD(1)),
    session_id String CODEC(ZSTD(1)),
    user_id String CODEC(ZSTD(1)),
    judge LowCardinality(String),
    comment String CODEC(ZSTD(3)),
    pipeline LowCardinality(String),
    environment LowCardinality(String),
    model LowCardinality(String),
    variants Map(LowCardinality(String), LowCardinality(String)),
    INDEX by_trace trace_id TYPE bloom_filter(0.001) GRANULARITY 1
) ENGINE = MergeTree PARTITION BY arrived ORDER BY (project, name, time)
SETTINGS non_replicated_deduplication_window = 1000;

-- Derived lines: which query a feedback or a score belongs to. The labelled rollups of both are fed from here.
CREATE TABLE attribution (
    project LowCardinality(String) DEFAULT 'default',
    time DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    received_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    arrived Date MATERIALIZED toDate(received_at),
    event_id String CODEC(ZSTD(1)),
    origin LowCardinality(String) DEFAULT 'internal',
    tags Map(LowCardinality(String), String),
    subject LowCardinality(String),
    subject_id String CODEC(ZSTD(1)),
    name LowCardinality(String),
    value Nullable(Float64) CODEC(ZSTD(1)),
    trace_id String CODEC(ZSTD(1)),
    found Bool,
    session_id String CODEC(ZSTD(1)),
    user_id String CODEC(ZSTD(1)),
    pipeline LowCardinality(String),
    environment LowCardinality(String),
    model LowCardinality(String),
    variants Map(LowCardinality(String), LowCardinality(String))
) ENGINE = MergeTree PARTITION BY arrived ORDER BY (project, subject, time)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE system (
    project LowCardinality(String) DEFAULT 'default',
    time DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    received_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    arrived Date MATERIALIZED toDate(received_at),
    event_id String CODEC(ZSTD(1)),
    origin LowCardinality(String) DEFAULT 'caller',
    tags Map(LowCardinality(String), String),
    host LowCardinality(String),
    environment LowCardinality(String),
    cpu_percent Nullable(Float64),
    memory_percent Nullable(Float64),
    memory_used Nullable(UInt64),
    disk_percent Nullable(Float64),
    disk_free Nullable(UInt64),
    process_cpu_percent Nullable(Float64),
    process_memory Nullable(UInt64),
    gpu_percent Nullable(Float64),
    gpu_memory_percent Nullable(Float64)
) ENGINE = MergeTree PARTITION BY arrived ORDER BY (project, time)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE metric (
    project LowCardinality(String) DEFAULT 'default',
    time DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    received_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    arrived Date MATERIALIZED toDate(received_at),
    event_id String CODEC(ZSTD(1)),
    origin LowCardinality(String) DEFAULT 'caller',
    tags Map(LowCardinality(String), String),
    name LowCardinality(String),
    value Float64 CODEC(ZSTD(1)),
    unit LowCardinality(String),
    pipeline LowCardinality(String),
    environment LowCardinality(String),
    model LowCardinality(String)
) ENGINE = MergeTree PARTITION BY arrived ORDER BY (project, name, time)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE exposure (
    project LowCardinality(String) DEFAULT 'default',
    time DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    received_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    arrived Date MATERIALIZED toDate(received_at),
    event_id String CODEC(ZSTD(1)),
    origin LowCardinality(String) DEFAULT 'caller',
    tags Map(LowCardinality(String), String),
    experiment LowCardinality(String),
    arm LowCardinality(String),
    unit_id String CODEC(ZSTD(1)),
    unit_kind LowCardinality(String) DEFAULT 'user'
) ENGINE = MergeTree PARTITION BY arrived ORDER BY (project, experiment, time)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE annotation (
    project LowCardinality(String) DEFAULT 'default',
    time DateTime64(6, 'UTC'),
    received_at DateTime64(6, 'UTC'),
    arrived Date MATERIALIZED toDate(received_at),
    event_id String,
    origin LowCardinality(String) DEFAULT 'caller',
    tags Map(LowCardinality(String), String),
    title String,
    category LowCardinality(String) DEFAULT 'other',
    text String,
    link String,
    environment LowCardinality(String)
) ENGINE = MergeTree PARTITION BY arrived ORDER BY (project, time)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE span (
    project LowCardinality(String) DEFAULT 'default',
    time DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    received_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    arrived Date MATERIALIZED toDate(received_at),
    event_id String CODEC(ZSTD(1)),
    origin LowCardinality(String) DEFAULT 'caller',
    tags Map(LowCardinality(String), String),
    trace_id String CODEC(ZSTD(1)),
    span_id String CODEC(ZSTD(1)),
    parent_span_id String CODEC(ZSTD(1)),
    name LowCardinality(String),
    span_kind LowCardinality(String),
    duration Nullable(Float64) CODEC(ZSTD(1)),
    status LowCardinality(String) DEFAULT 'unset',
    status_message String CODEC(ZSTD(3)),
    attributes Map(LowCardinality(String), String) CODEC(ZSTD(3)),
    INDEX by_trace trace_id TYPE bloom_filter(0.001) GRANULARITY 1
) ENGINE = MergeTree PARTITION BY arrived ORDER BY (project, time)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE alert (
    project LowCardinality(String) DEFAULT 'default',
    time DateTime64(6, 'UTC'),
    received_at DateTime64(6, 'UTC'),
    arrived Date MATERIALIZED toDate(received_at),
    event_id String,
    origin LowCardinality(String) DEFAULT 'internal',
    tags Map(LowCardinality(String), String),
    rule LowCardinality(String),
    state LowCardinality(String),
    previous LowCardinality(String),
    severity LowCardinality(String),
    metric LowCardinality(String),
    value Nullable(Float64),
    threshold Nullable(Float64),
    labels Map(LowCardinality(String), String),
    message String
) ENGINE = MergeTree PARTITION BY arrived ORDER BY (project, time)
SETTINGS non_replicated_deduplication_window = 1000;
