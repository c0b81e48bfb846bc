-- Which documents are retrieved: a query that found some counts once under 'document_id', with all their ids (or
-- sources, where they have none) in the state.

CREATE MATERIALIZED VIEW query_documents_to_measure TO measure_1m AS
SELECT
    project, level, 'query' AS kind, 'document_id' AS name, bucket, if(level = 1, g_pipeline, '') AS pipeline,
    g_environment AS environment, if(level = 1, g_model, '') AS model, if(level = 1, g_status, '') AS status, arrived,
    count() AS n, toFloat64(count()) AS total, 1. AS least, 1. AS most, argMaxState(1., time) AS last,
    quantilesBFloat16StateIf(0.5)(1., 0) AS sketch,
    CAST(uniqCombined64ArrayState(15)(ids), 'AggregateFunction(uniqCombined64(15), String)') AS different
FROM (
    SELECT
        project, toStartOfMinute(toDateTime(time, 'UTC')) AS bucket, pipeline AS g_pipeline,
        environment AS g_environment, model AS g_model, status AS g_status, time, toDate(received_at) AS arrived,
        arrayFilter(id -> id != '', arrayMap((id, source) -> if(id != '', id, source), documents.id, documents.source)) AS ids
    FROM query
    WHERE notEmpty(ids)
)
ARRAY JOIN [0, 1] AS level
GROUP BY project, level, kind, name, bucket, pipeline, environment, model, status, arrived;
