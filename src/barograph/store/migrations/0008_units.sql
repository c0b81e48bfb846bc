-- Sums per unit, for experiments: (project, kind of unit, kind of event, name of a score, unit, day of the event) -> how
-- often each measure was taken, and its sum. A unit is known by a hash of its id, by which the rows lie in order: what
-- an experiment asks meets millions of units, and a number is found faster than a text. A column a measure, so that a
-- question reads the two that it needs.

CREATE TABLE unit_day (
    project LowCardinality(String),
    unit_kind LowCardinality(String),
    kind LowCardinality(String),
    name LowCardinality(String),
    unit UInt64,
    day Date,
    arrived Date,
    n SimpleAggregateFunction(sum, UInt64),
    total SimpleAggregateFunction(sum, Float64),
    n_error SimpleAggregateFunction(sum, UInt64),
    total_error SimpleAggregateFunction(sum, Float64),
    n_no_answer SimpleAggregateFunction(sum, UInt64),
    total_no_answer SimpleAggregateFunction(sum, Float64),
    n_empty_retrieval SimpleAggregateFunction(sum, UInt64),
    total_empty_retrieval SimpleAggregateFunction(sum, Float64),
    n_rating SimpleAggregateFunction(sum, UInt64),
    total_rating SimpleAggregateFunction(sum, Float64),
    n_low_rating SimpleAggregateFunction(sum, UInt64),
    total_low_rating SimpleAggregateFunction(sum, Float64),
    n_response_time SimpleAggregateFunction(sum, UInt64),
    total_response_time SimpleAggregateFunction(sum, Float64),
    n_embedding_time SimpleAggregateFunction(sum, UInt64),
    total_embedding_time SimpleAggregateFunction(sum, Float64),
    n_retrieval_time SimpleAggregateFunction(sum, UInt64),
    total_retrieval_time SimpleAggregateFunction(sum, Float64),
    n_rerank_time SimpleAggregateFunction(sum, UInt64),
    total_rerank_time SimpleAggregateFunction(sum, Float64),
    n_generation_time SimpleAggregateFunction(sum, UInt64),
    total_generation_time SimpleAggregateFunction(sum, Float64),
    n_time_to_first_token SimpleAggregateFunction(sum, UInt64),
    total_time_to_first_token SimpleAggregateFunction(sum, Float64),
    n_input_tokens SimpleAggregateFunction(sum, UInt64),
    total_input_tokens SimpleAggregateFunction(sum, Float64),
    n_output_tokens SimpleAggregateFunction(sum, UInt64),
    total_output_tokens SimpleAggregateFunction(sum, Float64),
    n_cached_tokens SimpleAggregateFunction(sum, UInt64),
    total_cached_tokens SimpleAggregateFunction(sum, Float64),
    n_cost SimpleAggregateFunction(sum, UInt64),
    total_cost SimpleAggregateFunction(sum, Float64),
    n_accuracy_score SimpleAggregateFunction(sum, UInt64),
    total_accuracy_score SimpleAggregateFunction(sum, Float64),
    n_document_count SimpleAggregateFunction(sum, UInt64),
    total_document_count SimpleAggregateFunction(sum, Float64),
    n_top_score SimpleAggregateFunction(sum, UInt64),
    total_top_score SimpleAggregateFunction(sum, Float64)
) ENGINE = AggregatingMergeTree PARTITION BY toYYYYMM(arrived)
ORDER BY (project, unit_kind, kind, name, unit, day, arrived)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE exposed_unit (
    project LowCardinality(String),
    experiment LowCardinality(String),
    unit_kind LowCardinality(String),
    unit UInt64,
    arrived Date,
    first SimpleAggregateFunction(min, DateTime64(6, 'UTC')),
    least_arm SimpleAggregateFunction(min, LowCardinality(String)),
    most_arm SimpleAggregateFunction(max, LowCardinality(String))
) ENGINE = AggregatingMergeTree PARTITION BY toYYYYMM(arrived)
ORDER BY (project, experiment, unit_kind, unit, arrived)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE MATERIALIZED VIEW exposure_to_unit TO exposed_unit AS
SELECT
    project, experiment, unit_kind, sipHash64(unit_id) AS unit, toDate(received_at) AS arrived,
    min(time) AS first, min(arm) AS least_arm, max(arm) AS most_arm
FROM exposure
GROUP BY project, experiment, unit_kind, unit, arrived;

CREATE MATERIALIZED VIEW query_to_unit TO unit_day AS
SELECT
    project, seen.1 AS unit_kind, 'query' AS kind, '' AS name, sipHash64(seen.2) AS unit, toDate(time) AS day,
    toDate(received_at) AS arrived,
    count() AS n,
    countIf(status = 'error') AS n_error,
    toFloat64(n_error) AS total_error,
    countIf(status = 'no_answer') AS n_no_answer,
    toFloat64(n_no_answer) AS total_no_answer,
    count(document_count) AS n_empty_retrieval,
    toFloat64(countIf(document_count = 0)) AS total_empty_retrieval,
    count(response_time) AS n_response_time, sum(ifNull(toFloat64(response_time), 0)) AS total_response_time,
    count(embedding_time) AS n_embedding_time, sum(ifNull(toFloat64(embedding_time), 0)) AS total_embedding_time,
    count(retrieval_time) AS n_retrieval_time, sum(ifNull(toFloat64(retrieval_time), 0)) AS total_retrieval_time,
    count(rerank_time) AS n_rerank_time, sum(ifNull(toFloat64(rerank_time), 0)) AS total_rerank_time,
    count(generation_time) AS n_generation_time, sum(ifNull(toFloat64(generation_time), 0)) AS total_generation_time,
    count(time_to_first_token) AS n_time_to_first_token, sum(ifNull(toFloat64(time_to_first_token), 0)) AS total_time_to_first_token,
    count(input_tokens) AS n_input_tokens, sum(ifNull(toFloat64(input_tokens), 0)) AS total_input_tokens,
    count(output_tokens) AS n_output_tokens, sum(ifNull(toFloat64(output_tokens), 0)) AS total_output_tokens,
    count(cached_tokens) AS n_cached_tokens, sum(ifNull(toFloat64(cached_tokens), 0)) AS total_cached_tokens,
    count(cost) AS n_cost, sum(ifNull(toFloat64(cost), 0)) AS total_cost,
    count(accuracy_score) AS n_accuracy_score, sum(ifNull(toFloat64(accuracy_score), 0)) AS total_accuracy_score,
    count(document_count) AS n_document_count, sum(ifNull(toFloat64(document_count), 0)) AS total_document_count,
    count(top_score) AS n_top_score, sum(ifNull(toFloat64(top_score), 0)) AS total_top_score
FROM query
ARRAY JOIN arrayFilter(u -> u.2 != '', [('user', user_id), ('session', session_id)]) AS seen
GROUP BY project, unit_kind, unit, day, arrived;

CREATE MATERIALIZED VIEW attributed_feedback_to_unit TO unit_day AS
SELECT
    project, seen.1 AS unit_kind, 'feedback' AS kind, '' AS name, sipHash64(seen.2) AS unit, toDate(time) AS day,
    toDate(received_at) AS arrived,
    count() AS n,
    count(value) AS n_rating, sum(ifNull(value, 0)) AS total_rating,
    count(value) AS n_low_rating, toFloat64(countIf(value <= 2)) AS total_low_rating
FROM attribution
ARRAY JOIN arrayFilter(u -> u.2 != '', [('user', user_id), ('session', session_id)]) AS seen
WHERE subject = 'feedback'
GROUP BY project, unit_kind, unit, day, arrived;

-- Rows without a name count all scores of the unit.
CREATE MATERIALIZED VIEW attributed_score_to_unit TO unit_day AS
SELECT
    project, seen.1 AS unit_kind, 'score' AS kind, seen.3 AS name, sipHash64(seen.2) AS unit, toDate(time) AS day,
    toDate(received_at) AS arrived, count() AS n, sum(if(seen.3 = '', 0, ifNull(value, 0))) AS total
FROM (
    SELECT project, time, received_at, user_id, session_id, toString(name) AS scored, value
    FROM attribution
    WHERE subject = 'score'
)
ARRAY JOIN arrayFlatten(arrayMap(
    u -> [(u.1, u.2, ''), (u.1, u.2, scored)],
    arrayFilter(u -> u.2 != '', [('user', user_id), ('session', session_id)]))) AS seen
GROUP BY project, unit_kind, name, unit, day, arrived;

-- What days hold that were retired by earlier versions: their exports go in here, and on into the tables above.
CREATE TABLE unit_1d (
    project LowCardinality(String),
    unit_kind LowCardinality(String),
    experiment LowCardinality(String),
    arm LowCardinality(String),
    unit_id String,
    day Date,
    kind LowCardinality(String),
    arrived Date,
    n Map(String, UInt64),
    total Map(String, Float64)
) ENGINE = Null;

CREATE TABLE first_exposure (
    project LowCardinality(String),
    experiment LowCardinality(String),
    unit_kind LowCardinality(String),
    unit_id String,
    arrived Date,
    first DateTime64(6, 'UTC'),
    least_arm String,
    most_arm String
) ENGINE = Null;

CREATE MATERIALIZED VIEW unit_1d_to_unit TO unit_day AS
SELECT
    project, unit_kind, kind, measured AS name, sipHash64(unit_id) AS unit, day, arrived,
    toUInt64(ones[measured]) AS n, if(measured = '', 0., toFloat64(numbers[measured])) AS total,
    toUInt64(ones['error']) AS n_error, toFloat64(numbers['error']) AS total_error,
    toUInt64(ones['no_answer']) AS n_no_answer, toFloat64(numbers['no_answer']) AS total_no_answer,
    toUInt64(ones['empty_retrieval']) AS n_empty_retrieval, toFloat64(numbers['empty_retrieval']) AS total_empty_retrieval,
    toUInt64(ones['rating']) AS n_rating, toFloat64(numbers['rating']) AS total_rating,
    toUInt64(ones['low_rating']) AS n_low_rating, toFloat64(numbers['low_rating']) AS total_low_rating,
    toUInt64(ones['response_time']) AS n_response_time, toFloat64(numbers['response_time']) AS total_response_time,
    toUInt64(ones['embedding_time']) AS n_embedding_time, toFloat64(numbers['embedding_time']) AS total_embedding_time,
    toUInt64(ones['retrieval_time']) AS n_retrieval_time, toFloat64(numbers['retrieval_time']) AS total_retrieval_time,
    toUInt64(ones['rerank_time']) AS n_rerank_time, toFloat64(numbers['rerank_time']) AS total_rerank_time,
    toUInt64(ones['generation_time']) AS n_generation_time, toFloat64(numbers['generation_time']) AS total_generation_time,
    toUInt64(ones['time_to_first_token']) AS n_time_to_first_token, toFloat64(numbers['time_to_first_token']) AS total_time_to_first_token,
    toUInt64(ones['input_tokens']) AS n_input_tokens, toFloat64(numbers['input_tokens']) AS total_input_tokens,
    toUInt64(ones['output_tokens']) AS n_output_tokens, toFloat64(numbers['output_tokens']) AS total_output_tokens,
    toUInt64(ones['cached_tokens']) AS n_cached_tokens, toFloat64(numbers['cached_tokens']) AS total_cached_tokens,
    toUInt64(ones['cost']) AS n_cost, toFloat64(numbers['cost']) AS total_cost,
    toUInt64(ones['accuracy_score']) AS n_accuracy_score, toFloat64(numbers['accuracy_score']) AS total_accuracy_score,
    toUInt64(ones['document_count']) AS n_document_count, toFloat64(numbers['document_count']) AS total_document_count,
    toUInt64(ones['top_score']) AS n_top_score, toFloat64(numbers['top_score']) AS total_top_score
FROM (
    SELECT project, unit_kind, kind, unit_id, day, arrived, n AS ones, total AS numbers
    FROM unit_1d
    WHERE experiment = ''
)
ARRAY JOIN if(kind = 'score', mapKeys(ones), ['']) AS measured;

CREATE MATERIALIZED VIEW first_exposure_to_unit TO exposed_unit AS
SELECT project, experiment, unit_kind, sipHash64(unit_id) AS unit, arrived, first, least_arm, most_arm
FROM first_exposure;
