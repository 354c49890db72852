"""Networks: from MONAI where MONAI has them, and the two that it has not.

Importing this package costs nothing; each module imports torch itself.
"""
