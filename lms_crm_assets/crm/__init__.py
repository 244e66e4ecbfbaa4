"""The CRM side: one protocol, one file or package an adapter. Adapters speak the wire and decide no policy."""
