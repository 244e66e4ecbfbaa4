SELECT source_id, external_id, username, email, given_name, family_name, organization, country, status
FROM staging.learner
