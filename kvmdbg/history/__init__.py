"""What happened to a guest, kept so that it can be asked later."""
