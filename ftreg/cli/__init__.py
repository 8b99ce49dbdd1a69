"""The command line: `ftreg fit|validate|test|predict`, its options and files, and `ftreg cite`."""
