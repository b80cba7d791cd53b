"""What ``python3 -m helpers`` does: the environment, and one file for each of its longer commands."""
