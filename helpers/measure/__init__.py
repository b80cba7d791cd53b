"""What one more container costs, and one more virtual machine: seconds, memory, disk; rows for ``draw``."""
