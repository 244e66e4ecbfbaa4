-- Booleans are texts. The name of the org was added by the adapter.
SELECT
    r.sourcedId AS source_id,
    r.identifier AS external_id,
    r.username,
    r.email,
    r.givenName AS given_name,
    r.familyName AS family_name,
    r.primaryOrg.name AS organization,
    CASE WHEN lower(r.enabledUser) = 'false' AND r.status = 'active' THEN 'suspended' ELSE r.status END AS status,
    r.dateLastModified AS source_updated_at,
    payload,
    observed_at
FROM (
    SELECT payload, observed_at, json_transform(payload, '{
        "sourcedId": "VARCHAR",
        "identifier": "VARCHAR", "username": "VARCHAR", "email": "VARCHAR", "givenName": "VARCHAR",
        "familyName": "VARCHAR", "enabledUser": "VARCHAR", "status": "VARCHAR", "dateLastModified": "VARCHAR",
        "primaryOrg": {"name": "VARCHAR", "href": "VARCHAR", "type": "VARCHAR"}}') AS r
    FROM raw_lms.learners WHERE NOT is_deleted
)
