SELECT source_id, role, status, enrolled_at, starts_at, ends_at, extra, learner_id AS contact, course_id AS course, row_hash AS source_hash
FROM staging.enrollment
