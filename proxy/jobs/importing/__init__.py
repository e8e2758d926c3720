"""Taking what was carried here by hand into the cache, one generation at a time, verified as if fetched.

`importing.py` is the recipe. `bundles.py` says what was carried, `trust.py` who vouches for it,
and `examining.py` what of it counts. `taking.py` brings items into the store. `activating.py` serves
generations once they are complete, and `waiting.py` records them until then.
"""
