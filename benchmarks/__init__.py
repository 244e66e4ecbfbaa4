"""Measured figures, each with its goal; `make bench` prints them and keeps them in results.json."""
