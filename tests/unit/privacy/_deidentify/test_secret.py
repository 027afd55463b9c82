"""The key file is its owner's alone, and what is derived from it tells nothing of it."""

import os
from pathlib import Path

import pytest

from medaug.core.errors import ConfigError, PrivacyError, StorageError
from medaug.privacy._deidentify.secret import Pseudonyms, Secret, load_secret, write_secret


def test_new_secret_is_private_and_reads_back_the_same(tmp_path: Path) -> None:
    written = write_secret(tmp_path / "secret")
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert load_secret(tmp_path / "secret").derive("uid") == written.derive("uid")
    with pytest.raises(ConfigError, match="never replaced"):
        write_secret(tmp_path / "secret")
    assert write_secret(tmp_path / "other").derive("uid") != written.derive("uid")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_secret_that_others_can_touch_is_refused(tmp_path: Path, mode: int) -> None:
    write_secret(tmp_path / "secret")
    (tmp_path / "secret").chmod(mode)
    with pytest.raises(PrivacyError, match="by others"):
        load_secret(tmp_path / "secret")


def test_secret_of_a_wrong_kind_or_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="not found"):
        load_secret(tmp_path / "none")
    with pytest.raises(PrivacyError, match="no plain file"):
        load_secret(tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(PrivacyError, match="no plain file"):
        load_secret(tmp_path / "pipe")
    for content in (b"short", b"x" * 5000):
        (tmp_path / "odd").write_bytes(content)
        (tmp_path / "odd").chmod(0o600)
        with pytest.raises(ConfigError, match="bytes"):
            load_secret(tmp_path / "odd")


def test_secret_shows_nothing_of_itself() -> None:
    assert "kkkk" not in repr(Secret.of(b"k" * 32)) + str(Secret.of(b"k" * 32))


def test_purposes_and_keys_have_nothing_in_common() -> None:
    one, other = Secret.of(b"k" * 32), Secret.of(b"l" * 32)
    assert (
        len({one.derive("uid"), one.derive("patient id"), other.derive("uid"), other.derive("patient id")})
        == 4
    )


def test_uids_are_a_bijection_of_valid_uids() -> None:
    pseudonyms = Pseudonyms(Secret.of(b"k" * 32))
    made = {pseudonyms.uid(f"1.2.3.{number}") for number in range(20_000)}
    assert len(made) == 20_000
    assert all(len(uid) <= 44 and uid.startswith("2.25.") and uid[5] != "0" for uid in made)


def test_dates_of_a_patient_move_back_by_a_month_to_ten_years() -> None:
    pseudonyms = Pseudonyms(Secret.of(b"k" * 32))
    shifts = [pseudonyms.shift_days(f"patient {number}") for number in range(500)]
    assert len(set(shifts)) > 400
    assert all(-3650 < shift <= -30 for shift in shifts)
