"""Image classification: from a data set with wrong labels to accuracy, and what became of those labels."""
