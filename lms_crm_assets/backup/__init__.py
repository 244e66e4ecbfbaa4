"""Backups of a state folder and of the contracts, taken while runs go on, and restoring them."""
