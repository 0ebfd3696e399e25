"""The host's SQL state: what is neither a sample nor a page."""
