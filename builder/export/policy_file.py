"""``export --policy``: a YAML file of what ``recommend`` does unless a request says otherwise.

::

    diversity: 0.3                   # a request may send another value
    boost: '*1.2 if year >= 1998'
    always:                          # and cannot change these
      filter: not adult
      limits: at most 2 per artist
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from builder.errors import ConfigError
from model_repository.core import policy
from model_repository.core.batch import Request
from model_repository.core.catalogue import Catalogue
from model_repository.core.contract import HISTORY
from model_repository.core.errors import InvalidRequest
from model_repository.core.identifiers import Identifiers
from model_repository.core.options import RepositoryPolicy
from model_repository.core.policy.facts import Facts, Lists, NamedList, attributes_of
from model_repository.core.requests import ReaderSettings, RequestReader

POLICY: Final = "policy"
"""The key in a version's details."""
_ALWAYS: Final = "always"
_LARGEST: Final = 2**16
"""Bytes of a file."""


def read_policy_file(file: Path) -> RepositoryPolicy:
    """Read a policy, and check its options by themselves.

    Raises
    ------
    ConfigError
        It cannot be read, or an option is wrong.
    """
    try:
        if file.stat().st_size > _LARGEST:
            raise ConfigError(f"{file} is larger than {_LARGEST:,} bytes; it is no policy")
        values = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{file} cannot be read as YAML: {error}") from error
    always = values.pop(_ALWAYS, {}) if isinstance(values, dict) else None
    if not isinstance(values, dict) or not isinstance(always, dict):
        raise ConfigError(
            f"{file} must hold options of a request, one a line, as in `diversity: 0.5`; those "
            f"under `{_ALWAYS}:` are fixed"
        )
    found = RepositoryPolicy(*(_of_json(file, each) for each in (values, always)))
    if both := sorted(found.default.keys() & found.always.keys()):
        raise ConfigError(f"{file}: {both[0]} has a default, and a value under `{_ALWAYS}:`")
    try:
        found.check()
    except InvalidRequest as error:
        raise ConfigError(f"{file}: {error}") from error
    return found


def check_policy(
    found: RepositoryPolicy,
    catalogue: Catalogue,
    settings: ReaderSettings,
    lists: Lists | None = None,
) -> None:
    """Check a policy against the items that it is about.

    ``lists`` are the named ones; None where they are not known yet, so that any name will do.

    Raises
    ------
    ConfigError
        A rule asks for what the catalogue does not have, or two contradict each other.
    """
    request = Request({HISTORY.name: np.zeros((1, 0), np.object_)})
    # Ids of their own, since filters are remembered for those of a catalogue.
    ids = Identifiers(catalogue.ids.strings, catalogue.ids.table)
    facts = Facts(ids, attributes_of(catalogue), _AnyLists() if lists is None else lists)
    try:
        read = RequestReader(settings, ids, found).read(request)
        policy.plan(read, catalogue, facts)
    except InvalidRequest as error:
        raise ConfigError(f"the policy: {error}") from error


class _AnyLists(dict[str, NamedList]):
    """Has a list of any name, which is empty."""

    def __missing__(self, name: str) -> NamedList:
        return NamedList([])

    def __contains__(self, name: object) -> bool:
        return True

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ARG002
        return self[name]


def _of_json(file: Path, values: Mapping[Any, Any]) -> dict[str, Any]:
    """The values as a request could send them, and a version keeps them."""
    try:
        found: dict[str, Any] = json.loads(json.dumps(dict(values), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{file}: a value is no text, number, true or false ({error}); put quotes around it"
        ) from error
    return found
