"""The box: keeps every sample on its own disk until the host has stored it, and forwards over MQTT."""
