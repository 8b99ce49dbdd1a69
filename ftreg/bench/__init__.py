"""`ftreg bench` runs every method on every task with every seed, each an ordinary `ftreg fit` in its own folder.

    grid file  ──▶  cells  ──▶  what their folders say  ──▶  a launcher runs what is missing
                      ▲                                              │
                      └───── tuned and matched arms, once the runs that decide them are there

There is no state but the folders: stop it, start it twice, or start it again after a power cut.
"""
