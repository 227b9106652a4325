"""What is compared with is a real Fail2ban, where there is one."""

import shutil

import pytest
from needs import needs


@pytest.fixture
@needs("fail2ban")
def debian_client():
    """The path of the installed, unmodified fail2ban-client."""
    path = shutil.which("fail2ban-client")
    if path is None:
        pytest.skip("needs an installed fail2ban-client to compare with")
    return path
