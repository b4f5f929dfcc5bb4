"""Feature files of other tools, told apart by what is in them."""
