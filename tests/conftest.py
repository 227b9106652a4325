"""What holds for every test."""

from hypothesis import settings

# A time limit per example says how busy the machine is, not whether the code is right; pytest's own limit ends what hangs.
settings.register_profile("sipguard", deadline=None)
settings.load_profile("sipguard")
