SELECT source_id, code, name, framework, rating, proficient, rated_at, extra, learner_id AS contact, course_id AS course, row_hash AS source_hash
FROM staging.learner_competency
