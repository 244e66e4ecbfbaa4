SELECT
    r.id AS source_id,
    r.external_id,
    r.username,
    r.email,
    r.given_name,
    r.family_name,
    r.organization,
    r.country,
    r.status,
    r.updated_at AS source_updated_at,
    payload,
    observed_at
FROM (
    SELECT payload, observed_at, json_transform(payload, '{
        "id": "VARCHAR",
        "external_id": "VARCHAR", "username": "VARCHAR", "email": "VARCHAR", "given_name": "VARCHAR",
        "family_name": "VARCHAR", "organization": "VARCHAR", "country": "VARCHAR", "status": "VARCHAR",
        "updated_at": "VARCHAR"}') AS r
    FROM raw_lms.learners WHERE NOT is_deleted
)
