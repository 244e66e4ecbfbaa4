-- A learner may have several results in an outcome, one for each thing that was assessed: the highest one counts where the
-- outcome says so, else the latest. The framework is made of the groups in which the outcome lies.
WITH kept AS (
    SELECT payload, observed_at, json_transform(payload, '{
        "id": "VARCHAR", "course_id": "VARCHAR", "score": "VARCHAR", "mastery": "VARCHAR",
        "submitted_or_assessed_at": "VARCHAR", "links": {"user": "VARCHAR", "learning_outcome": "VARCHAR"},
        "outcome": {
            "title": "VARCHAR", "vendor_guid": "VARCHAR", "mastery_points": "VARCHAR", "calculation_method": "VARCHAR",
            "ratings": [{"description": "VARCHAR", "points": "DOUBLE"}]},
        "path": ["VARCHAR"]}') AS r
    FROM raw_lms.competencies WHERE NOT is_deleted
), rated AS (
    SELECT
        payload,
        observed_at,
        r,
        coalesce(r.links."user" || ':' || r.course_id || ':' || r.links.learning_outcome, r.id) AS source_id,
        list_filter(r.outcome.ratings, lambda rating: rating.points <= TRY_CAST(r.score AS DOUBLE)) AS reached,
        list_filter(r.path, lambda name: name <> r.outcome.title) AS framework
    FROM kept
)
SELECT
    source_id,
    r.links."user" AS learner_id,
    r.course_id,
    coalesce(nullif(r.outcome.vendor_guid, ''), r.links.learning_outcome) AS code,
    r.outcome.title AS name,
    nullif(array_to_string(framework, ' > '), '') AS framework,
    coalesce(list_filter(reached, lambda rating: rating.points = list_max(
        list_transform(reached, lambda other: other.points)))[1].description, r.score) AS rating,
    coalesce(r.mastery, (TRY_CAST(r.score AS DOUBLE) >= TRY_CAST(r.outcome.mastery_points AS DOUBLE))::VARCHAR)
        AS proficient,
    r.submitted_or_assessed_at AS rated_at,
    r.submitted_or_assessed_at AS source_updated_at,
    payload,
    observed_at
FROM rated
QUALIFY row_number() OVER (
    PARTITION BY coalesce(source_id, payload::VARCHAR)
    ORDER BY CASE WHEN r.outcome.calculation_method = 'highest' THEN TRY_CAST(r.score AS DOUBLE) END DESC NULLS LAST,
        r.submitted_or_assessed_at DESC NULLS LAST, TRY_CAST(r.id AS BIGINT) DESC NULLS LAST) = 1
