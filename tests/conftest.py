"""What all tests share: how much hypothesis tries, and that children of a test can be interrupted."""

import os
import signal

from hypothesis import HealthCheck, settings

# No deadline: the machine that runs the tests may be busy. The blob that reproduces a failure is printed.
# CI tries the same examples each time, so that what fails there was broken by what it runs for.
settings.register_profile(
    "default",
    max_examples=200,
    deadline=None,
    print_blob=True,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", settings.get_profile("default"), max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# A shell starts what it runs in the background with SIGINT ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
