-- Thinkific's users have no status: one who is gone is not listed.
SELECT
    r.id AS source_id,
    r.email AS username,
    r.email,
    r.first_name AS given_name,
    coalesce(nullif(r.last_name, ''), nullif(r.full_name, ''), r.first_name) AS family_name,
    r.company AS organization,
    'active' AS status,
    payload,
    observed_at
FROM (
    SELECT payload, observed_at, json_transform(payload, '{
        "id": "VARCHAR", "email": "VARCHAR", "first_name": "VARCHAR",
        "last_name": "VARCHAR", "full_name": "VARCHAR", "company": "VARCHAR"}') AS r
    FROM raw_lms.learners WHERE NOT is_deleted
)
