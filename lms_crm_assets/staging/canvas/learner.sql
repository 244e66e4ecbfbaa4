-- Canvas gives no status with a user: deleted ones are not listed, and logins are suspended, not people. Users of older
-- sites have their names in 'sortable_name' alone: 'Lovelace, Ada'.
SELECT
    source_id,
    r.sis_user_id AS external_id,
    r.login_id AS username,
    r.email,
    coalesce(r.first_name, nullif(split_part(r.sortable_name, ', ', 2), '')) AS given_name,
    coalesce(r.last_name, nullif(split_part(r.sortable_name, ', ', 1), ''), r.name) AS family_name,
    'active' AS status,
    payload,
    observed_at
FROM (
    SELECT source_id, payload, observed_at, json_transform(payload, '{
        "sis_user_id": "VARCHAR", "login_id": "VARCHAR", "email": "VARCHAR", "first_name": "VARCHAR",
        "last_name": "VARCHAR", "sortable_name": "VARCHAR", "name": "VARCHAR"}') AS r
    FROM raw_lms.learners WHERE NOT is_deleted
)
