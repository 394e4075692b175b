"""What train.py, probe.py and compare share: flags, configurations, help and exit codes."""
