"""The demonstration: the sandbox in a process of its own, both example tenants reconciled twice, the result proved."""
