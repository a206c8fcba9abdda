from __future__ import annotations

import pytest

from wxbridge.core.errors import PictureTimeout
from wxbridge.pictures.pages.readiness import wait_until_ready
from wxbridge.pictures.pages.shot import Shot


async def test_a_page_for_which_no_time_is_left_is_called_still_loading() -> None:
    shot = Shot("http://127.0.0.1/")
    with pytest.raises(PictureTimeout, match="was still loading after"):
        await wait_until_ready(None, None, shot, until=0.0)  # type: ignore[arg-type] # neither is looked at
