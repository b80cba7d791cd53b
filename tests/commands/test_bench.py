"""What ``python3 -m helpers bench`` does where a build fails."""

from types import SimpleNamespace

import pytest
from docker.utils.proxy import ProxyConfig

from helpers.commands import bench
from helpers.errors import CourseError


@pytest.mark.parametrize("answer", [{"errorDetail": {"message": "no room"}}, {"error": "no room"}], ids=str)
def test_the_older_builder_fails(answer):
    """It is not timed as if it had built something."""
    api = SimpleNamespace(build=lambda **_: [{"stream": "Step 1/2"}, answer], _proxy_configs=ProxyConfig())
    with pytest.raises(CourseError, match="no room"):
        bench._older_build(SimpleNamespace(api=api), "apps/web")
