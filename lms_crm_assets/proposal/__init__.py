"""Proposing a contract: what a CRM has, set beside what an LMS gives."""
