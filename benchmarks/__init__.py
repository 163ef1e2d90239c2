"""Figures of kvmdbg side by side with its peers, as ratios of one interleaved run."""
