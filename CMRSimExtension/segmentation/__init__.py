"""How trained networks are used: find the heart, segment it on any grid, clean the result up, measure it.

Importing this package costs nothing; each module imports torch itself.
"""
