"""The parts of a snapshot: one file each, from a VM to JSON."""
