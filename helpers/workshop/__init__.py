"""
Where the virtual machine is made: ``python3 -m helpers.workshop``, a process of its own, which nothing imports.

``tree`` unpacks Debian packages into its disk, ``uml`` boots that disk as an ordinary program, ``fill`` has its engine
make the notebooks' images. ``guest/`` is what runs inside.
"""
