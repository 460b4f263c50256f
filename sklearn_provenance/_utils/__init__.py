"""What every layer of the package may use: rows, files, hashing, torch modules."""
