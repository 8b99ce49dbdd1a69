"""What every other folder uses: errors, checks of options, messages, whole files, locks. Nothing here imports torch."""
