"""What every other folder of the package may use; it uses nothing of theirs."""
