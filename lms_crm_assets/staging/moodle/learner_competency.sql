-- By report the rating of the person, columns by position: 1 framework's ID number, 2 competency's ID number, 3 Name,
-- 4 Username, 5 Status, 6 Proficient, 7 Rating. Core services rate somebody in each course that has the competency: the
-- newest of these counts, a rating before none.
-- What was read last about a learner's competency counts; a deleted row that names it hides older ones.
WITH learner AS (
    SELECT (payload->>'username') AS username, any_value(source_id) AS learner_id
    FROM raw_lms.learners WHERE NOT is_deleted AND (payload->>'username') <> '' GROUP BY 1 HAVING count(*) = 1
), cell AS (
    SELECT is_deleted, observed_at, json_transform(payload, '{
        "columns": ["VARCHAR"], "userid": "VARCHAR", "courseid": "VARCHAR", "code": "VARCHAR",
        "rating": {"grade": "BIGINT", "gradename": "VARCHAR", "proficiency": "VARCHAR", "timemodified": "VARCHAR"},
        "competency": {"idnumber": "VARCHAR", "shortname": "VARCHAR"}, "framework": {"idnumber": "VARCHAR"}}') AS r
    FROM raw_lms.competencies
), keyed AS (
    SELECT
        coalesce(r.userid, learner_id, 'username=' || r.columns[4]) AS learner_id,
        coalesce(r.columns[2], r.competency.idnumber, r.code) AS code,
        r,
        r.columns AS c,
        r.rating.grade IS NOT NULL AS rated,
        is_deleted,
        observed_at
    FROM cell
    LEFT JOIN learner ON learner.username = r.columns[4]
), known AS (
    SELECT *, max(observed_at) FILTER (c IS NOT NULL OR r.code IS NOT NULL) OVER (PARTITION BY learner_id, code) AS told_at
    FROM keyed
)
SELECT
    learner_id || ':' || code AS source_id,
    learner_id,
    r.courseid AS course_id,
    code,
    coalesce(c[3], r.competency.shortname) AS name,
    coalesce(c[1], r.framework.idnumber) AS framework,
    CASE WHEN c IS NOT NULL THEN c[7] WHEN rated THEN r.rating.gradename END AS rating,
    CASE WHEN c IS NOT NULL THEN c[6] WHEN rated THEN r.rating.proficiency END AS proficient,
    CASE WHEN rated THEN at_epoch(r.rating.timemodified) END AS rated_at,
    observed_at
FROM known
WHERE NOT is_deleted AND observed_at >= coalesce(told_at, observed_at)
QUALIFY c IS NOT NULL OR row_number() OVER (
    PARTITION BY learner_id, code, c IS NULL
    ORDER BY rated DESC, TRY_CAST(r.rating.timemodified AS BIGINT) DESC, r.courseid) = 1
