"""What the commands that make lesions read from their options."""

import pytest

from medaug.cli.synthesis import _promise
from medaug.core.errors import ConfigError


def test_a_promise_is_a_list_of_keys():
    assert _promise(None) is None
    assert _promise("epsilon=8") == {"epsilon": "8"}
    assert _promise("epsilon=3,delta=1e-6, clip=0.5") == {"epsilon": "3", "delta": "1e-6", "clip": "0.5"}
    assert _promise("epsilon=none") == {"epsilon": None}


@pytest.mark.parametrize("text", ["", "8", "epsilon", "epsilon=", "=8", "epsilon=8,,"])
def test_what_is_no_promise_is_told(text):
    with pytest.raises(ConfigError, match="no promise"):
        _promise(text)
