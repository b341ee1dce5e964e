"""What crosses a border between parts: data, specifications and protocols. Standard library and numpy only."""
