"""What a run tells: its log, its terminal line, its tables, its pictures and its report.

`metricslog` and `progress` are used while training, `tables` by the probe, `build` at the end;
only `plots` and `pictures` import Matplotlib and Pillow, so that training starts quickly.
"""
