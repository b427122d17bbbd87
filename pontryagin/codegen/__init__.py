"""Text and arrays out of graphs; no files, no processes."""
