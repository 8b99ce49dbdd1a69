"""One run in its folder: identity, record, checkpoints, resumption, loggers, cost, diagnostics."""
