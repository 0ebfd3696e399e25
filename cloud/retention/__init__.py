"""Retention: old samples leave the store by class of tag, each counted as it goes; the archive keeps them."""
