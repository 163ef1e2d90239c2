"""What a snapshot consists of: one file for each view's part, made from the VM as it stands.

``table`` names them all.
"""
