"""Bulk API 2.0: jobs that load CSV files into an object, and jobs that answer a query as CSV.

`jobs` holds the jobs and their files, `csv_text` the CSV dialect, `rows` what a CSV row asks for, `loading` the work in
the background, `ingest` and `queries` the resources. Source: Bulk API 2.0 and Bulk API Developer Guide; where it holds
no text for a refusal the wording is ours, marked "text unverified".
"""

from .jobs import Jobs

__all__ = ["Jobs"]
