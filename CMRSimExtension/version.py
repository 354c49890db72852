"""The version of the library, the command line and the extension: one number for all three."""

__version__ = "0.5.0"
