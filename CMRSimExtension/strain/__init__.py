"""Myocardial strain from displacement fields and from tags."""
