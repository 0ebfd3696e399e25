"""Backup, restore, export."""
