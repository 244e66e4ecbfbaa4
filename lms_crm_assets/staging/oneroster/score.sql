-- A result on a line item, whose range and class the adapter added to the reference. Nothing tells a course's total from
-- an activity, so each is one. `scoreStatus` is also left among the attributes without a column. The points of somebody
-- who is exempt don't count, and a date is one of grading only where something was graded.
SELECT
    r.sourcedId AS source_id,
    r.student.sourcedId AS learner_id,
    coalesce(r.class.sourcedId, r.lineItem.class.sourcedId) AS course_id,
    r.lineItem.sourcedId AS item_id,
    'activity' AS item_type,
    CASE WHEN score_status IS DISTINCT FROM 'exempt' THEN r.score END AS raw,
    r.lineItem.resultValueMin AS min,
    r.lineItem.resultValueMax AS max,
    CASE WHEN score_status IS DISTINCT FROM 'exempt' THEN r.textScore END AS text,
    CASE WHEN score_status IN ('fully graded', 'partially graded') THEN start_of_day(r.scoreDate, $timezone)
    END AS graded_at,
    r.dateLastModified AS source_updated_at,
    payload,
    observed_at
FROM (
    SELECT payload, observed_at, (payload->>'scoreStatus') AS score_status, json_transform(payload, '{
        "sourcedId": "VARCHAR",
        "student": {"sourcedId": "VARCHAR", "href": "VARCHAR", "type": "VARCHAR"},
        "class": {"sourcedId": "VARCHAR", "href": "VARCHAR", "type": "VARCHAR"},
        "lineItem": {
            "sourcedId": "VARCHAR", "href": "VARCHAR", "type": "VARCHAR",
            "class": {"sourcedId": "VARCHAR", "href": "VARCHAR", "type": "VARCHAR"},
            "resultValueMin": "VARCHAR", "resultValueMax": "VARCHAR"},
        "score": "VARCHAR", "textScore": "VARCHAR", "scoreDate": "VARCHAR", "status": "VARCHAR",
        "dateLastModified": "VARCHAR"}') AS r,
        coalesce(json_array_length(payload, '$.learningObjectiveSet'), 0) > 0 AS rates
    FROM raw_lms.scores WHERE NOT is_deleted
)
-- Ratings alone are no score.
WHERE NOT rates OR r.score IS NOT NULL OR r.textScore IS NOT NULL
