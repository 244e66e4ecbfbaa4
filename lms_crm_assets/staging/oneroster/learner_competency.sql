-- A result rates any number of learning objectives, in sets by the framework they come from. The standard gives an
-- objective's id and no name.
SELECT
    r.sourcedId || ':' || objective.learningObjectiveId AS source_id,
    r.student.sourcedId AS learner_id,
    coalesce(r.class.sourcedId, r.lineItem.class.sourcedId) AS course_id,
    objective.learningObjectiveId AS code,
    objective.learningObjectiveId AS name,
    framework,
    coalesce(objective.textScore, objective.score) AS rating,
    CASE WHEN score_status IN ('fully graded', 'partially graded') THEN start_of_day(r.scoreDate, $timezone)
    END AS rated_at,
    r.dateLastModified AS source_updated_at,
    payload,
    observed_at
FROM (
    SELECT
        payload,
        observed_at,
        score_status,
        r,
        objectives.source AS framework,
        unnest(objectives.learningObjectiveResults) AS objective
    FROM (
        SELECT payload, observed_at, score_status, r, unnest(r.learningObjectiveSet) AS objectives
        FROM (
            SELECT payload, observed_at, (payload->>'scoreStatus') AS score_status, json_transform(payload, '{
                "sourcedId": "VARCHAR",
                "student": {"sourcedId": "VARCHAR", "href": "VARCHAR", "type": "VARCHAR"},
                "class": {"sourcedId": "VARCHAR", "href": "VARCHAR", "type": "VARCHAR"},
                "lineItem": {
                    "sourcedId": "VARCHAR", "href": "VARCHAR", "type": "VARCHAR",
                    "class": {"sourcedId": "VARCHAR", "href": "VARCHAR", "type": "VARCHAR"}},
                "scoreDate": "VARCHAR", "status": "VARCHAR", "dateLastModified": "VARCHAR",
                "learningObjectiveSet": [{
                    "source": "VARCHAR",
                    "learningObjectiveResults": [{
                        "learningObjectiveId": "VARCHAR", "score": "VARCHAR", "textScore": "VARCHAR"}]}]}') AS r
            FROM raw_lms.competencies WHERE NOT is_deleted
        )
    )
)
