SELECT
    source_id,
    r.idnumber AS external_id,
    r.username,
    r.email,
    r.firstname AS given_name,
    r.lastname AS family_name,
    r.institution AS organization,
    r.country,
    CASE WHEN r.suspended = 'true' THEN 'suspended' ELSE 'active' END AS status,
    payload,
    observed_at
FROM (
    SELECT source_id, payload, observed_at, json_transform(payload, '{
        "idnumber": "VARCHAR", "username": "VARCHAR", "email": "VARCHAR", "firstname": "VARCHAR",
        "lastname": "VARCHAR", "institution": "VARCHAR", "country": "VARCHAR", "suspended": "VARCHAR"}') AS r
    FROM raw_lms.learners WHERE NOT is_deleted
)
