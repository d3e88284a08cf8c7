"""What several processes gain, and whether they compute what one does."""
