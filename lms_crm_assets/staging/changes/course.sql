SELECT
    r.id AS source_id,
    r.external_id,
    r.code,
    r.title,
    r.visible,
    r.starts_at,
    r.ends_at,
    r.updated_at AS source_updated_at,
    payload,
    observed_at
FROM (
    SELECT payload, observed_at, json_transform(payload, '{
        "id": "VARCHAR",
        "external_id": "VARCHAR", "code": "VARCHAR", "title": "VARCHAR", "visible": "VARCHAR",
        "starts_at": "VARCHAR", "ends_at": "VARCHAR", "updated_at": "VARCHAR"}') AS r
    FROM raw_lms.courses WHERE NOT is_deleted
)
