"""What a run tells: its log, its terminal line, its tables, its pictures and its report.

`metricslog` and `progress` are used while training, `tables` by the probe, `html` at the end.
Matplotlib takes a second to import, so what is used while training does not.
"""
