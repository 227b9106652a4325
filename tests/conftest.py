"""What holds for every test."""

from hypothesis import HealthCheck, settings

# How long an example takes, or takes to be made up, says how busy the machine is, not whether the code is right; pytest's
# own limit ends what hangs.
settings.register_profile("sipguard", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sipguard")
