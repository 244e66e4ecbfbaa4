-- A number as a text, or null: where it can't be computed the value itself is shown by the checks.
CREATE OR REPLACE TEMP MACRO percent_of(part, whole) AS
    CASE WHEN TRY_CAST(whole AS DOUBLE) > 0
    THEN round(100 * TRY_CAST(part AS DOUBLE) / TRY_CAST(whole AS DOUBLE), 5)::VARCHAR END;
