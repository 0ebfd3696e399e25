"""What scores an asset, how it was made, and how it is run."""
