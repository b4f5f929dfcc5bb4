"""Is there a leak? Each check looks at one way in which test patients, or labels, can reach a score by a side door."""
