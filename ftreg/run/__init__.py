"""One run lies in its folder: its identity, record, checkpoints, resumption, loggers, cost and diagnostics are here."""
