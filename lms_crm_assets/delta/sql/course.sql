SELECT source_id, code, external_id, title, visible, starts_at, ends_at
FROM staging.course
