"""Documents that somebody has carried here, in a bundle or a lockfile, as an origin."""
