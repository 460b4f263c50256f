"""What every layer may use: files, digests, rows, modules; it imports nothing of this package."""
