"""What the pages that look at a VM are told, and what they may ask (docs/live-views.md)."""
