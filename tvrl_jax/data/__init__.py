"""From a table and image files to uint8 clips with real times.

`cohort` validates the table, `readers` decode files, `pack` keeps the decoded frames in a
memory-mapped store, `clips` chooses frames and `pipeline` makes batches of them.
"""
