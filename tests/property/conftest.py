"""Settings of all property tests."""

from hypothesis import settings

# A busy machine makes single examples slow, and that is no fault of what is tested.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
