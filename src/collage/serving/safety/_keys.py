"""API keys: made, digested, looked up. Only digests are ever stored.

A key is 256 random bits. Such a key cannot be guessed from its SHA-256, so neither salt nor a slow hash would add
anything: those are for passwords.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from typing import Generic, TypeVar

PREFIX = "ck_"  # by which scanners for leaked secrets, and people, know one
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MOST = 512  # characters of a key that is looked at

Owner = TypeVar("Owner")


def new_key() -> str:
    """A new key, 46 characters that need no quoting anywhere."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(key: str) -> str:
    """What the settings hold of a key: "sha256:" and 64 hexadecimal digits."""
    return "sha256:" + hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def check_digest(value: str) -> str:
    """The value, where it is a digest. Raises ValueError, without the value: it may be a key in clear."""
    if _DIGEST.fullmatch(value) is None:
        raise ValueError("a key's digest (sha256:...) is needed here, not the key; `collage key new` prints both")
    return value


class KeyRing(Generic[Owner]):
    """Digests and whose they are."""

    def __init__(self, owners: Iterable[tuple[str, Owner]] = ()) -> None:
        """(digest, owner) pairs."""
        self._owners = {value: (value, owner) for value, owner in owners}

    def __bool__(self) -> bool:
        return bool(self._owners)

    def owner(self, key: str) -> Owner | None:
        """Whose key it is. How long this takes says nothing of the keys that there are.

        Looked up is the digest, which a caller cannot steer, by Python's keyed hash; then all of it is compared.
        """
        if len(key) > _MOST:
            return None
        asked = digest(key)
        kept, owner = self._owners.get(asked, ("", None))
        return owner if hmac.compare_digest(kept, asked) else None
