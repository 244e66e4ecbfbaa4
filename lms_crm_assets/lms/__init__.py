"""The LMS side: one protocol, one file an adapter, pages landed as NDJSON and loaded into raw_lms."""
