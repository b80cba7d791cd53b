"""Containers: run one within limits, wait for its end, find the address of what it serves."""
