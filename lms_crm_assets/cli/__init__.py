"""The command line `lms-crm`, one file a group of commands."""
