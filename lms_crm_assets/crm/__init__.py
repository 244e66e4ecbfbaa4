"""The CRM side: one protocol, one file an adapter. Adapters speak the wire and decide no policy."""
