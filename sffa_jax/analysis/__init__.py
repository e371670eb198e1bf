"""Measurements on rules and trained networks; training does not use them."""
