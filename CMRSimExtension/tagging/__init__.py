"""Tagged CMR: tagging physics, and any cine turned into a tagged one."""
