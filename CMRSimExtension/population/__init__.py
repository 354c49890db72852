"""Many virtual subjects, each scanned once or in many ways, as files: what to draw, and the writing of it."""
