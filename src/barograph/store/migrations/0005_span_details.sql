-- What OpenTelemetry says of a span beside its attributes.

ALTER TABLE span
    ADD COLUMN otel_kind LowCardinality(String),
    ADD COLUMN scope LowCardinality(String),
    ADD COLUMN resource Map(LowCardinality(String), String) CODEC(ZSTD(3)),
    ADD COLUMN events Array(Tuple(
        time DateTime64(6, 'UTC'),
        name String,
        attributes Map(String, String))) CODEC(ZSTD(3)),
    ADD COLUMN links Array(Tuple(trace_id String, span_id String)) CODEC(ZSTD(3));
