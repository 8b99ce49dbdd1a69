"""Every other folder uses what is here: errors, checks of options, messages, whole files, locks; none imports torch."""
