SELECT source_id, code, external_id, title, visible, starts_at, ends_at, row_hash AS source_hash
FROM staging.course
