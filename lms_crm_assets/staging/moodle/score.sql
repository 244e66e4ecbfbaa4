-- By report the Grade is the course total. Core services give each item; a grade is `graderaw`, or where that is
-- withheld the number that the HTML of `gradeformatted` shows. What is no number, a word of a scale, is the text.
SELECT
    learner_id || ':' || course_id || ':course' AS source_id,
    learner_id,
    course_id,
    'course' AS item_id,
    'course' AS item_type,
    grade AS raw,
    observed_at
FROM participant('raw_lms.scores', $timezone)
WHERE grade <> ''
UNION ALL BY NAME
SELECT
    learner_id || ':' || course_id || ':' || item AS source_id,
    learner_id,
    course_id,
    item AS item_id,
    CASE i.itemtype WHEN 'course' THEN 'course' ELSE 'activity' END AS item_type,
    coalesce(i.graderaw, number_in(cell)) AS raw,
    i.grademin AS "min",
    i.grademax AS "max",
    number_in(shown(i.percentageformatted)) AS pct,
    CASE WHEN number_in(cell) IS NULL AND cell <> '-' THEN cell END AS "text",
    at_epoch(i.gradedategraded) AS graded_at,
    observed_at
FROM (
    SELECT *, CASE i.itemtype WHEN 'course' THEN 'course' ELSE i.id END AS item, shown(i.gradeformatted) AS cell
    FROM (
        SELECT learner_id, course_id, observed_at, json_transform(payload, '{"item": {
            "id": "VARCHAR", "itemtype": "VARCHAR", "graderaw": "VARCHAR", "gradeformatted": "VARCHAR",
            "grademin": "VARCHAR", "grademax": "VARCHAR", "percentageformatted": "VARCHAR",
            "gradedategraded": "VARCHAR"}}').item AS i
        FROM member('raw_lms.scores') WHERE c IS NULL
    )
)
