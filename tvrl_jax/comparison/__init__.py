"""Many methods on one cohort: each run in a process of its own, then one table of them all."""
