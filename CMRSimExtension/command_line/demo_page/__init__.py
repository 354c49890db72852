"""The page that `cmrsim demo` writes: one self-contained HTML file, built from sections."""
