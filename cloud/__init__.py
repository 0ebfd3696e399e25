"""The host application: collects, stores, confirms, and shows what became of every sample."""
