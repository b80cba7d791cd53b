"""
One virtual machine: an engine of last resort, and a machine to measure.

``disk`` keeps what the workshop made, ``saved`` boots it, saves it with its engine up and resumes it, ``qemu`` speaks
to QEMU and to the guest, ``keys`` are those of one session.
"""
