"""The same examples on every run: a failure is one that everybody can see"""
from hypothesis import settings

settings.register_profile("textlab", derandomize=True, deadline=None)
settings.load_profile("textlab")
