SELECT source_id, external_id, username, email, given_name, family_name, organization, country, status, extra, row_hash AS source_hash
FROM staging.learner
