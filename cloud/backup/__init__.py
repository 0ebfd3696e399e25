"""Backups of the host: its state and its store, consistent while it runs, with a manifest that proves them."""
