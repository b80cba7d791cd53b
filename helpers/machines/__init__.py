"""
One virtual machine, made from Debian packages by an ordinary user: an engine of last resort, and a machine to measure.

``recipe`` makes its disk and its kernel, ``images`` fills it with base images and build caches, ``saved`` keeps it in
the course's state folder and resumes it, ``qemu`` speaks to QEMU and to the guest. ``guest/`` is what runs inside.
"""
