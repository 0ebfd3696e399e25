"""Numbered SQL files; PRAGMA user_version says up to which one a file has been brought."""
