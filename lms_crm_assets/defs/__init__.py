"""The Dagster edge: thin assets, checks, jobs, schedules, sensors and resources over the pure packages."""
