"""
Widgets to play with, one file each. Each shows what it found in an ``HTML`` of its own, and prints nothing.

A notebook stores a sentence in a widget's place: what it shows stands as a table or a figure beside it.
"""
