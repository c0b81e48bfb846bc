-- The rollups: minute -> 15 minutes -> hour -> day. One row is one measure of one kind in one bucket and label set.
-- name is the measure ('' counts the events); level 1 keeps the labels apart, level 0 keeps only the environment.
-- 'arrived' is in every key, so that a day of arrival can be taken out, exported and put back exactly.
-- View names never change: the engine's deduplication of a resent block depends on them.
-- A granule has 1,024 rows: reading a state costs more than finding it, and a question wants a few hundred of them.
-- Percentiles come from counts of values rounded towards zero to eight binary digits: they merge exactly and are at
-- most 0.78 % below the exact value of that rank, over the range of a Float32 (what lies beyond counts as its end).

CREATE TABLE measure_1m (
    project LowCardinality(String),
    level UInt8,
    kind LowCardinality(String),
    name LowCardinality(String),
    bucket DateTime('UTC') CODEC(Delta, ZSTD(1)),
    pipeline LowCardinality(String),
    environment LowCardinality(String),
    model LowCardinality(String),
    status LowCardinality(String),
    arrived Date,
    n SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    total SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    least SimpleAggregateFunction(min, Float64) CODEC(ZSTD(1)),
    most SimpleAggregateFunction(max, Float64) CODEC(ZSTD(1)),
    last AggregateFunction(argMax, Float64, DateTime64(6, 'UTC')) CODEC(ZSTD(1)),
    sketch AggregateFunction(quantilesBFloat16(0.5), Float64) CODEC(ZSTD(1)),
    different AggregateFunction(uniqCombined64(15), String) CODEC(ZSTD(1))
) ENGINE = AggregatingMergeTree PARTITION BY arrived
ORDER BY (project, level, kind, name, bucket, pipeline, environment, model, status, arrived)
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 1024;

CREATE TABLE measure_15m (
    project LowCardinality(String),
    level UInt8,
    kind LowCardinality(String),
    name LowCardinality(String),
    bucket DateTime('UTC') CODEC(Delta, ZSTD(1)),
    pipeline LowCardinality(String),
    environment LowCardinality(String),
    model LowCardinality(String),
    status LowCardinality(String),
    arrived Date,
    n SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    total SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    least SimpleAggregateFunction(min, Float64) CODEC(ZSTD(1)),
    most SimpleAggregateFunction(max, Float64) CODEC(ZSTD(1)),
    last AggregateFunction(argMax, Float64, DateTime64(6, 'UTC')) CODEC(ZSTD(1)),
    sketch AggregateFunction(quantilesBFloat16(0.5), Float64) CODEC(ZSTD(1)),
    different AggregateFunction(uniqCombined64(15), String) CODEC(ZSTD(1))
) ENGINE = AggregatingMergeTree PARTITION BY toYYYYMM(arrived)
ORDER BY (project, level, kind, name, bucket, pipeline, environment, model, status, arrived)
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 1024;

CREATE TABLE measure_1h (
    project LowCardinality(String),
    level UInt8,
    kind LowCardinality(String),
    name LowCardinality(String),
    bucket DateTime('UTC') CODEC(Delta, ZSTD(1)),
    pipeline LowCardinality(String),
    environment LowCardinality(String),
    model LowCardinality(String),
    status LowCardinality(String),
    arrived Date,
    n SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    total SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    least SimpleAggregateFunction(min, Float64) CODEC(ZSTD(1)),
    most SimpleAggregateFunction(max, Float64) CODEC(ZSTD(1)),
    last AggregateFunction(argMax, Float64, DateTime64(6, 'UTC')) CODEC(ZSTD(1)),
    sketch AggregateFunction(quantilesBFloat16(0.5), Float64) CODEC(ZSTD(1)),
    different AggregateFunction(uniqCombined64(15), String) CODEC(ZSTD(1))
) ENGINE = AggregatingMergeTree PARTITION BY toYYYYMM(arrived)
ORDER BY (project, level, kind, name, bucket, pipeline, environment, model, status, arrived)
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 1024;

CREATE TABLE measure_1d (
    project LowCardinality(String),
    level UInt8,
    kind LowCardinality(String),
    name LowCardinality(String),
    bucket DateTime('UTC') CODEC(Delta, ZSTD(1)),
    pipeline LowCardinality(String),
    environment LowCardinality(String),
    model LowCardinality(String),
    status LowCardinality(String),
    arrived Date,
    n SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    total SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    least SimpleAggregateFunction(min, Float64) CODEC(ZSTD(1)),
    most SimpleAggregateFunction(max, Float64) CODEC(ZSTD(1)),
    last AggregateFunction(argMax, Float64, DateTime64(6, 'UTC')) CODEC(ZSTD(1)),
    sketch AggregateFunction(quantilesBFloat16(0.5), Float64) CODEC(ZSTD(1)),
    different AggregateFunction(uniqCombined64(15), String) CODEC(ZSTD(1))
) ENGINE = AggregatingMergeTree PARTITION BY toYYYYMM(arrived)
ORDER BY (project, level, kind, name, bucket, pipeline, environment, model, status, arrived)
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 1024;

CREATE MATERIALIZED VIEW measure_1m_to_15m TO measure_15m AS
SELECT
    project, level, kind, name, bucket, pipeline, environment, model, status, arrived,
    sum(n) AS n, sum(total) AS total, min(least) AS least, max(most) AS most,
    argMaxMergeState(last) AS last, quantilesBFloat16MergeState(0.5)(sketch) AS sketch,
    uniqCombined64MergeState(15)(different) AS different
FROM (SELECT * REPLACE (toStartOfFifteenMinutes(bucket) AS bucket) FROM measure_1m)
GROUP BY project, level, kind, name, bucket, pipeline, environment, model, status, arrived;

CREATE MATERIALIZED VIEW measure_15m_to_1h TO measure_1h AS
SELECT
    project, level, kind, name, bucket, pipeline, environment, model, status, arrived,
    sum(n) AS n, sum(total) AS total, min(least) AS least, max(most) AS most,
    argMaxMergeState(last) AS last, quantilesBFloat16MergeState(0.5)(sketch) AS sketch,
    uniqCombined64MergeState(15)(different) AS different
FROM (SELECT * REPLACE (toStartOfHour(bucket) AS bucket) FROM measure_15m)
GROUP BY project, level, kind, name, bucket, pipeline, environment, model, status, arrived;

CREATE MATERIALIZED VIEW measure_1h_to_1d TO measure_1d AS
SELECT
    project, level, kind, name, bucket, pipeline, environment, model, status, arrived,
    sum(n) AS n, sum(total) AS total, min(least) AS least, max(most) AS most,
    argMaxMergeState(last) AS last, quantilesBFloat16MergeState(0.5)(sketch) AS sketch,
    uniqCombined64MergeState(15)(different) AS different
FROM (SELECT * REPLACE (toDateTime(toStartOfDay(bucket), 'UTC') AS bucket) FROM measure_1h)
GROUP BY project, level, kind, name, bucket, pipeline, environment, model, status, arrived;

CREATE MATERIALIZED VIEW query_to_measure TO measure_1m AS
SELECT
    project, level, 'query' AS kind, measured AS name, bucket, if(level = 1, g_pipeline, '') AS pipeline, g_environment AS environment,
    if(level = 1, g_model, '') AS model, if(level = 1, g_status, '') AS status, arrived,
    count() AS n, sum(number) AS total, min(number) AS least, max(number) AS most,
    argMaxState(number, time) AS last,
    quantilesBFloat16StateIf(0.5)(greatest(least(number, 3e38), -3e38),
        measured NOT IN ('', 'error', 'no_answer', 'empty_retrieval', 'user_id', 'session_id')) AS sketch,
    uniqCombined64StateIf(15)(text, text != '') AS different
FROM (
    SELECT
        project, toStartOfMinute(toDateTime(time, 'UTC')) AS bucket, pipeline AS g_pipeline,
        environment AS g_environment, model AS g_model, status AS g_status, time,
        toDate(received_at) AS arrived, measured, assumeNotNull(maybe) AS number,
        multiIf(measured = 'user_id', user_id, measured = 'session_id', session_id, '') AS text
    FROM query
    ARRAY JOIN
        ['', 'error', 'no_answer', 'empty_retrieval', 'user_id', 'session_id', 'response_time', 'embedding_time',
         'retrieval_time', 'rerank_time', 'generation_time', 'time_to_first_token', 'input_tokens',
         'output_tokens', 'cached_tokens', 'cost', 'accuracy_score', 'document_count', 'top_score'] AS measured,
        [toNullable(toFloat64(1)), if(status = 'error', 1., NULL), if(status = 'no_answer', 1., NULL),
         toFloat64(document_count = 0), if(user_id = '', NULL, 1.), if(session_id = '', NULL, 1.),
         toFloat64(response_time), toFloat64(embedding_time), toFloat64(retrieval_time), toFloat64(rerank_time),
         toFloat64(generation_time), toFloat64(time_to_first_token), toFloat64(input_tokens),
         toFloat64(output_tokens), toFloat64(cached_tokens), toFloat64(cost), toFloat64(accuracy_score),
         toFloat64(document_count), toFloat64(top_score)] AS maybe
    WHERE isNotNull(maybe)
)
ARRAY JOIN [0, 1] AS level
GROUP BY project, level, kind, name, bucket, pipeline, environment, model, status, arrived;

-- A feedback or score counts at once in the unlabelled level; its attribution line adds the labelled one.

CREATE MATERIALIZED VIEW feedback_to_measure TO measure_1m AS
SELECT
    project, 0 AS level, 'feedback' AS kind, measured AS name, bucket, g_pipeline AS pipeline, g_environment AS environment,
    g_model AS model, g_status AS status, arrived,
    count() AS n, sum(number) AS total, min(number) AS least, max(number) AS most,
    argMaxState(number, time) AS last,
    quantilesBFloat16StateIf(0.5)(greatest(least(number, 3e38), -3e38), measured NOT IN ('', 'low_rating')) AS sketch,
    uniqCombined64StateIf(15)(text, text != '') AS different
FROM (
    SELECT
        project, toStartOfMinute(toDateTime(time, 'UTC')) AS bucket, '' AS g_pipeline,
        '' AS g_environment, '' AS g_model, '' AS g_status, time,
        toDate(received_at) AS arrived, measured, assumeNotNull(maybe) AS number,
        '' AS text
    FROM feedback
    ARRAY JOIN
        ['', 'rating', 'low_rating'] AS measured,
        [toNullable(toFloat64(1)), rating, toFloat64(rating <= 2)] AS maybe
    WHERE isNotNull(maybe)
)
GROUP BY project, level, kind, name, bucket, pipeline, environment, model, status, arrived;

CREATE MATERIALIZED VIEW attributed_feedback_to_measure TO measure_1m AS
SELECT
    project, 1 AS level, 'feedback' AS kind, measured AS name, bucket, g_pipeline AS pipeline, g_environment AS environment,
    g_model AS model, g_status AS status, arrived,
    count() AS n, sum(number) AS total, min(number) AS least, max(number) AS most,
    argMaxState(number, time) AS last,
    quantilesBFloat16StateIf(0.5)(greatest(least(number, 3e38), -3e38), measured NOT IN ('', 'low_rating')) AS sketch,
    uniqCombined64StateIf(15)(text, text != '') AS different
FROM (
    SELECT
        project, toStartOfMinute(toDateTime(time, 'UTC')) AS bucket, pipeline AS g_pipeline,
        environment AS g_environment, model AS g_model, '' AS g_status, time,
        toDate(received_at) AS arrived, measured, assumeNotNull(maybe) AS number,
        '' AS text
    FROM attribution
    ARRAY JOIN
        ['', 'rating', 'low_rating'] AS measured,
        [toNullable(toFloat64(1)), value, toFloat64(value <= 2)] AS maybe
    WHERE isNotNull(maybe) AND subject = 'feedback'
)
GROUP BY project, level, kind, name, bucket, pipeline, environment, model, status, arrived;

CREATE MATERIALIZED VIEW score_to_measure TO measure_1m AS
SELECT
    project, 0 AS level, 'score' AS kind, measured AS name, bucket, g_pipeline AS pipeline, g_environment AS environment,
    g_model AS model, g_status AS status, arrived,
    count() AS n, sum(number) AS total, min(number) AS least, max(number) AS most,
    argMaxState(number, time) AS last,
    quantilesBFloat16StateIf(0.5)(greatest(least(number, 3e38), -3e38), measured != '') AS sketch,
    uniqCombined64StateIf(15)(text, text != '') AS different
FROM (
    SELECT
        project, toStartOfMinute(toDateTime(time, 'UTC')) AS bucket, '' AS g_pipeline,
        '' AS g_environment, '' AS g_model, '' AS g_status, time,
        toDate(received_at) AS arrived, measured, assumeNotNull(maybe) AS number,
        '' AS text
    FROM score
    ARRAY JOIN
        ['', name] AS measured,
        [toNullable(toFloat64(1)), toNullable(value)] AS maybe
    WHERE isNotNull(maybe)
)
GROUP BY project, level, kind, name, bucket, pipeline, environment, model, status, arrived;

CREATE MATERIALIZED VIEW attributed_score_to_measure TO measure_1m AS
SELECT
    project, 1 AS level, 'score' AS kind, measured AS name, bucket, g_pipeline AS pipeline, g_environment AS environment,
    g_model AS model, g_status AS status, arrived,
    count() AS n, sum(number) AS total, min(number) AS least, max(number) AS most,
    argMaxState(number, time) AS last,
    quantilesBFloat16StateIf(0.5)(greatest(least(number, 3e38), -3e38), measured != '') AS sketch,
    uniqCombined64StateIf(15)(text, text != '') AS different
FROM (
    SELECT
        project, toStartOfMinute(toDateTime(time, 'UTC')) AS bucket, pipeline AS g_pipeline,
        environment AS g_environment, model AS g_model, '' AS g_status, time,
        toDate(received_at) AS arrived, measured, assumeNotNull(maybe) AS number,
        '' AS text
    FROM attribution
    ARRAY JOIN
        ['', name] AS measured,
        [toNullable(toFloat64(1)), value] AS maybe
    WHERE isNotNull(maybe) AND subject = 'score'
)
GROUP BY project, level, kind, name, bucket, pipeline, environment, model, status, arrived;

CREATE MATERIALIZED VIEW metric_to_measure TO measure_1m AS
SELECT
    project, level, 'metric' AS kind, measured AS name, bucket, if(level = 1, g_pipeline, '') AS pipeline, g_environment AS environment,
    if(level = 1, g_model, '') AS model, if(level = 1, g_status, '') AS status, arrived,
    count() AS n, sum(number) AS total, min(number) AS least, max(number) AS most,
    argMaxState(number, time) AS last,
    quantilesBFloat16StateIf(0.5)(greatest(least(number, 3e38), -3e38), measured != '') AS sketch,
    uniqCombined64StateIf(15)(text, text != '') AS different
FROM (
    SELECT
        project, toStartOfMinute(toDateTime(time, 'UTC')) AS bucket, pipeline AS g_pipeline,
        environment AS g_environment, model AS g_model, '' AS g_status, time,
        toDate(received_at) AS arrived, measured, assumeNotNull(maybe) AS number,
        '' AS text
    FROM metric
    ARRAY JOIN
        ['', name] AS measured,
        [toNullable(toFloat64(1)), toNullable(value)] AS maybe
    WHERE isNotNull(maybe)
)
ARRAY JOIN [0, 1] AS level
GROUP BY project, level, kind, name, bucket, pipeline, environment, model, status, arrived;

CREATE MATERIALIZED VIEW system_to_measure TO measure_1m AS
SELECT
    project, level, 'system' AS kind, measured AS name, bucket, if(level = 1, g_pipeline, '') AS pipeline, g_environment AS environment,
    if(level = 1, g_model, '') AS model, if(level = 1, g_status, '') AS status, arrived,
    count() AS n, sum(number) AS total, min(number) AS least, max(number) AS most,
    argMaxState(number, time) AS last,
    quantilesBFloat16StateIf(0.5)(greatest(least(number, 3e38), -3e38), measured != '') AS sketch,
    uniqCombined64StateIf(15)(text, text != '') AS different
FROM (
    SELECT
        project, toStartOfMinute(toDateTime(time, 'UTC')) AS bucket, '' AS g_pipeline,
        environment AS g_environment, '' AS g_model, '' AS g_status, time,
        toDate(received_at) AS arrived, measured, assumeNotNull(maybe) AS number,
        '' AS text
    FROM system
    ARRAY JOIN
        ['', 'cpu_percent', 'memory_percent', 'memory_used', 'disk_percent', 'disk_free', 'process_cpu_percent',
         'process_memory', 'gpu_percent', 'gpu_memory_percent'] AS measured,
        [toNullable(toFloat64(1)), toFloat64(cpu_percent), toFloat64(memory_percent), toFloat64(memory_used),
         toFloat64(disk_percent), toFloat64(disk_free), toFloat64(process_cpu_percent),
         toFloat64(process_memory), toFloat64(gpu_percent), toFloat64(gpu_memory_percent)] AS maybe
    WHERE isNotNull(maybe)
)
ARRAY JOIN [0, 1] AS level
GROUP BY project, level, kind, name, bucket, pipeline, environment, model, status, arrived;
