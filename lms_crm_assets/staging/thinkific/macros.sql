-- Thinkific gives shares of one: '0.75' is 75 percent. What is no number stays as it is, so that the check can show it.
CREATE OR REPLACE TEMP MACRO percent(share) AS
    coalesce(round(100 * TRY_CAST(share AS DOUBLE), 5)::VARCHAR, share);
