"""Self-supervised learning from medical image time series.

Axes, in names such as `clip_BVTHWC`:

    B  series in a batch      V  views of a series     T  frames of a clip (or visits)
    H  rows   W  columns      C  channels              N  tokens of a frame
    D  feature width          E  embedding width       K  targets
"""
