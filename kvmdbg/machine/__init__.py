"""What surrounds the processor: the default guest's memory layout and the port devices.

Written once, above the seam: nothing here knows which engine runs the guest.
"""
