"""The filter of texts, with names and evasions that share nothing with it."""
