"""Does an encoder know time? Measures that need no label but the time, and what may mislead.

What a window's frames and times are changed to is cheap to ask: E_S sees no time, so its features
are computed once, and E_T runs again over them in another order or at other times.
"""
