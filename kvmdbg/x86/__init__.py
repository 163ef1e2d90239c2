"""The processor on paper: registers, descriptors, paging, delivery, decoding.

Everything here is a pure function of values that the caller hands in. Must not know: engines,
breakpoints, notebooks, or where guest memory really lives (it is a ``read`` callable).
"""
