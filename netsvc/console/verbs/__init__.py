"""What the commands do, one file an object."""
