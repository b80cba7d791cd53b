"""The computer that runs the course: its packages, its network, its certificates and pip settings, its memory."""
