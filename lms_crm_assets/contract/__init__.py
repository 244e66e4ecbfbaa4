"""The integration contract: one file a tenant says what is pulled, how it maps and what is written where."""
