"""The command line is here: `ftreg fit|validate|test|predict`, its options and files, and `ftreg cite`."""
