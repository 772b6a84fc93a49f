"""One profile for all properties: the same examples in every run, no deadline on a shared machine."""

from hypothesis import settings

settings.register_profile("stable", derandomize=True, deadline=None, database=None)
settings.load_profile("stable")
