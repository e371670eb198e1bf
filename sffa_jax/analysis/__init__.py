"""Measurements on rules and trained networks; nothing here takes part in training."""
