"""metaweight inside other libraries: each in a room of its own, which imports that library."""
