-- Thinkific's public API gives no scores: the adapter reads none.
SELECT source_id, observed_at FROM raw_lms.scores WHERE NOT is_deleted
