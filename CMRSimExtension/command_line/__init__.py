"""The command line `cmrsim`: one module for each command, loaded without anything heavy so that help comes at once."""
