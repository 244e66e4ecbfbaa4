-- A date is a day of the provider's time zone, and means the moment at which the day begins there. A text that is no date
-- stays as it is: a moment of its own, or something for the check to show.
CREATE OR REPLACE TEMP MACRO start_of_day(day, zone) AS
    coalesce(timezone(zone, try_strptime(day, '%Y-%m-%d'))::VARCHAR, day);
