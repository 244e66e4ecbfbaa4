"""What `make lint` looks at beside style and types: the lock, and secrets in the files. Neither needs a network."""
