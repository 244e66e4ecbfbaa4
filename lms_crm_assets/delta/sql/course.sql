SELECT source_id, code, external_id, title, visible, starts_at, ends_at, extra, row_hash AS source_hash
FROM staging.course
