"""Wrong inputs by the thousand, each read as a command reads it, and what must hold of every answer.

    python -m tests.tools.fuzz --minutes 60 --seed 0 [--only data,configurations] [--number 20000] [--out FOLDER]

An input is a function of the seed, its kind and its number. What has failed is kept in FOLDER with its files.
"""
