-- The contact with what its learner did, for CRMs without objects for that (`contract.canonical.ROLL_UPS`).
SELECT
    l.source_id,
    l.external_id,
    l.username,
    l.email,
    l.given_name,
    l.family_name,
    l.organization,
    l.country,
    l.status,
    l.extra,
    coalesce(e.enrolled, 0) AS courses_enrolled,
    coalesce(c.in_progress, 0) AS courses_in_progress,
    coalesce(c.completed, 0) AS courses_completed,
    e.last_enrolled_at,
    c.last_completed_at,
    c.last_completed_course,
    coalesce(p.proficient, 0) AS competencies_proficient,
    hash(l.row_hash, e, c, p) AS source_hash
FROM staging.learner l
LEFT JOIN (
    SELECT
        learner_id,
        count(DISTINCT course_id) FILTER (status <> 'withdrawn') AS enrolled,
        max(enrolled_at) AS last_enrolled_at
    FROM staging.enrollment
    GROUP BY ALL
) e ON e.learner_id = l.source_id
LEFT JOIN (
    SELECT
        k.learner_id,
        count(DISTINCT k.course_id) FILTER (k.state = 'in_progress') AS in_progress,
        count(DISTINCT k.course_id) FILTER (k.state = 'completed') AS completed,
        max(k.completed_at) FILTER (k.state = 'completed') AS last_completed_at,
        -- Of courses that were completed at the same moment always the same one.
        arg_max(coalesce(o.title, o.code), {'at': k.completed_at, 'id': k.source_id})
            FILTER (k.state = 'completed' AND k.completed_at IS NOT NULL) AS last_completed_course
    FROM staging.completion k
    LEFT JOIN staging.course o ON o.source_id = k.course_id
    GROUP BY ALL
) c ON c.learner_id = l.source_id
LEFT JOIN (
    SELECT learner_id, count(DISTINCT code) FILTER (proficient) AS proficient
    FROM staging.learner_competency
    GROUP BY ALL
) p ON p.learner_id = l.source_id
