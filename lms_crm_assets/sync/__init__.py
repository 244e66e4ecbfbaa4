"""Delivery: batches, retries, the journal that survives a kill, and the ledger of what was applied."""
