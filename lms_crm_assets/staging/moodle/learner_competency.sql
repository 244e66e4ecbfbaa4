-- Columns by position: 1 framework's ID number, 2 competency's ID number, 3 Name, 4 Username, 5 Status, 6 Proficient,
-- 7 Rating.
WITH learner AS (
    SELECT (payload->>'username') AS username, any_value(source_id) AS learner_id
    FROM raw_lms.learners WHERE NOT is_deleted GROUP BY ALL
), cell AS (
    SELECT observed_at, json_transform(payload, '{"columns": ["VARCHAR"]}').columns AS c
    FROM raw_lms.competencies WHERE NOT is_deleted
)
SELECT
    coalesce(learner_id, 'username=' || c[4]) || ':' || c[2] AS source_id,
    coalesce(learner_id, 'username=' || c[4]) AS learner_id,
    c[2] AS code,
    c[3] AS name,
    c[1] AS framework,
    c[7] AS rating,
    c[6] AS proficient,
    observed_at
FROM cell
LEFT JOIN learner ON learner.username = c[4]
