"""The page of `mirror view`: what its parts show, and the small server that shows it on this machine alone."""
