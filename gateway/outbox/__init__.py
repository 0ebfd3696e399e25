"""The outbox: what the gateway took, durable on its own disk until the host has stored it."""
