"""Translation: from bad sentence pairs to BLEU and chrF, and the weight of every pair."""
