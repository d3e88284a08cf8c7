"""Tables: from rows of numbers, categories and dates with wrong labels to a student and its weights."""
