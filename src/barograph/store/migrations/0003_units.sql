-- Sums per unit, for experiments: (project, unit, day of the event, experiment, arm) -> count and sum by measure.
-- Rows with an empty experiment hold all of a unit's events, also those of no experiment: the pre-periods.

CREATE TABLE unit_1d (
    project LowCardinality(String),
    unit_kind LowCardinality(String),
    experiment LowCardinality(String),
    arm LowCardinality(String),
    unit_id String CODEC(ZSTD(1)),
    day Date,
    kind LowCardinality(String),
    arrived Date,
    n SimpleAggregateFunction(sumMap, Map(String, UInt64)),
    total SimpleAggregateFunction(sumMap, Map(String, Float64))
) ENGINE = AggregatingMergeTree PARTITION BY toYYYYMM(arrived)
ORDER BY (project, unit_kind, experiment, arm, unit_id, day, kind, arrived)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE first_exposure (
    project LowCardinality(String),
    experiment LowCardinality(String),
    unit_kind LowCardinality(String),
    unit_id String CODEC(ZSTD(1)),
    arrived Date,
    first SimpleAggregateFunction(min, DateTime64(6, 'UTC')),
    least_arm SimpleAggregateFunction(min, String),
    most_arm SimpleAggregateFunction(max, String)
) ENGINE = AggregatingMergeTree PARTITION BY toYYYYMM(arrived)
ORDER BY (project, experiment, unit_kind, unit_id, arrived)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE MATERIALIZED VIEW exposure_to_first TO first_exposure AS
SELECT
    project, experiment, unit_kind, unit_id, toDate(received_at) AS arrived,
    min(time) AS first, min(toString(arm)) AS least_arm, max(toString(arm)) AS most_arm
FROM exposure
GROUP BY project, experiment, unit_kind, unit_id, arrived;

CREATE MATERIALIZED VIEW query_to_unit TO unit_1d AS
SELECT
    project, seen.1 AS unit_kind, seen.3 AS experiment, seen.4 AS arm, seen.2 AS unit_id,
    toDate(time) AS day, 'query' AS kind, toDate(received_at) AS arrived, sumMap(ones) AS n, sumMap(numbers) AS total
FROM (
    SELECT
        project, time, received_at,
        arrayFilter(u -> u.2 != '', [('user', user_id), ('session', session_id)]) AS units,
        arrayConcat([('', '')], arrayMap((e, a) -> (toString(e), toString(a)), mapKeys(variants), mapValues(variants)))
            AS variants_of,
        ['', 'error', 'no_answer', 'empty_retrieval', 'response_time', 'embedding_time', 'retrieval_time',
         'rerank_time', 'generation_time', 'time_to_first_token', 'input_tokens', 'output_tokens', 'cached_tokens',
         'cost', 'accuracy_score', 'document_count', 'top_score'] AS names,
        [toNullable(toFloat64(1)), if(status = 'error', 1., NULL), if(status = 'no_answer', 1., NULL),
         toFloat64(document_count = 0), toFloat64(response_time), toFloat64(embedding_time),
         toFloat64(retrieval_time), toFloat64(rerank_time), toFloat64(generation_time),
         toFloat64(time_to_first_token), toFloat64(input_tokens), toFloat64(output_tokens), toFloat64(cached_tokens),
         toFloat64(cost), toFloat64(accuracy_score), toFloat64(document_count), toFloat64(top_score)] AS maybe,
        arrayFilter((name, value) -> isNotNull(value), names, maybe) AS kept,
        mapFromArrays(kept, arrayMap(name -> toUInt64(1), kept)) AS ones,
        mapFromArrays(kept,
                      arrayMap(value -> assumeNotNull(value), arrayFilter(value -> isNotNull(value), maybe))) AS numbers
    FROM query
)
ARRAY JOIN arrayFlatten(arrayMap(u -> arrayMap(v -> (u.1, u.2, v.1, v.2), variants_of), units)) AS seen
GROUP BY project, unit_kind, experiment, arm, unit_id, day, kind, arrived;

CREATE MATERIALIZED VIEW attributed_feedback_to_unit TO unit_1d AS
SELECT
    project, seen.1 AS unit_kind, seen.3 AS experiment, seen.4 AS arm, seen.2 AS unit_id,
    toDate(time) AS day, 'feedback' AS kind, toDate(received_at) AS arrived, sumMap(ones) AS n, sumMap(numbers) AS total
FROM (
    SELECT
        project, time, received_at,
        arrayFilter(u -> u.2 != '', [('user', user_id), ('session', session_id)]) AS units,
        arrayConcat([('', '')], arrayMap((e, a) -> (toString(e), toString(a)), mapKeys(variants), mapValues(variants)))
            AS variants_of,
        ['', 'rating', 'low_rating'] AS names,
        [toNullable(toFloat64(1)), value, toFloat64(value <= 2)] AS maybe,
        arrayFilter((name, value) -> isNotNull(value), names, maybe) AS kept,
        mapFromArrays(kept, arrayMap(name -> toUInt64(1), kept)) AS ones,
        mapFromArrays(kept,
                      arrayMap(value -> assumeNotNull(value), arrayFilter(value -> isNotNull(value), maybe))) AS numbers
    FROM attribution
    WHERE subject = 'feedback'
)
ARRAY JOIN arrayFlatten(arrayMap(u -> arrayMap(v -> (u.1, u.2, v.1, v.2), variants_of), units)) AS seen
GROUP BY project, unit_kind, experiment, arm, unit_id, day, kind, arrived;

CREATE MATERIALIZED VIEW attributed_score_to_unit TO unit_1d AS
SELECT
    project, seen.1 AS unit_kind, seen.3 AS experiment, seen.4 AS arm, seen.2 AS unit_id,
    toDate(time) AS day, 'score' AS kind, toDate(received_at) AS arrived, sumMap(ones) AS n, sumMap(numbers) AS total
FROM (
    SELECT
        project, time, received_at,
        arrayFilter(u -> u.2 != '', [('user', user_id), ('session', session_id)]) AS units,
        arrayConcat([('', '')], arrayMap((e, a) -> (toString(e), toString(a)), mapKeys(variants), mapValues(variants)))
            AS variants_of,
        ['', toString(name)] AS names,
        [toNullable(toFloat64(1)), value] AS maybe,
        arrayFilter((name, value) -> isNotNull(value), names, maybe) AS kept,
        mapFromArrays(kept, arrayMap(name -> toUInt64(1), kept)) AS ones,
        mapFromArrays(kept,
                      arrayMap(value -> assumeNotNull(value), arrayFilter(value -> isNotNull(value), maybe))) AS numbers
    FROM attribution
    WHERE subject = 'score'
)
ARRAY JOIN arrayFlatten(arrayMap(u -> arrayMap(v -> (u.1, u.2, v.1, v.2), variants_of), units)) AS seen
GROUP BY project, unit_kind, experiment, arm, unit_id, day, kind, arrived;
