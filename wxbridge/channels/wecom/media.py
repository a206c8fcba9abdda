"""Pictures and files of WeCom's applications and robots.

developer.work.weixin.qq.com/document/path/90253
"""

from __future__ import annotations

import aiohttp

from wxbridge.channels.uploads import MediaUpload, add_file, make_upload
from wxbridge.core.errors import Permanent

MAX_PICTURE_BYTES = 10 * 1024 * 1024
MAX_FILE_BYTES = 20 * 1024 * 1024
"""Of any file but a picture."""
MEDIA_LIFE_SECONDS = 3 * 86400.0 - 3600.0
"""How long an upload is used: it is valid for three days."""


def make_file_upload(name: str, data: bytes) -> MediaUpload:
    """Make the upload of what is no picture.

    Raises:
        Permanent: it is too large.
    """
    if len(data) > MAX_FILE_BYTES:
        raise Permanent(f"{name} has {len(data):,} bytes; WeCom takes at most {MAX_FILE_BYTES:,}")
    return make_upload("file", name, data)


def make_form(upload: MediaUpload) -> aiohttp.FormData:
    """Make the form of an upload; a new one for every request, as it can be sent only once."""
    # WeCom finds no file where the name is encoded as RFC 5987 has it (`filename*`).
    form = aiohttp.FormData(quote_fields=False)
    add_file(form, "media", upload.name, upload.data)
    return form
