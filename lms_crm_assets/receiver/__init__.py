"""The webhook service: takes deliveries, verifies who sent them and keeps them before it says so."""
