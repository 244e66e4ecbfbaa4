-- Thinkific has no competencies: the adapter reads none.
SELECT source_id, observed_at FROM raw_lms.competencies WHERE NOT is_deleted
