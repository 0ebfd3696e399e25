"""The agent: reads the field, judges it, decides what is worth telling."""
