"""Canonical tables: one SQL file an adapter and entity reads the raw payload, one build types, checks and splits."""
