"""Signed with a key: what changed afterwards is found, and the library's own tool agrees."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tasks.core.errors import InputError
from tasks.stores.artefact import MANIFEST, Artefact
from tasks.stores.open import open_source
from tasks.weights.extrapolation import extrapolate
from tasks.weights.planner import make_plan
from tasks.weights.signature import SIGNATURE, check_private_key, check_public_key, sign
from tasks.weights.verify import SIGNED, verify
from tests.weights.checkpoints import pair

Keys = tuple[Path, Path]

SHARD = "model-00002-of-00003.safetensors"


def make_keys(folder: Path, curve: ec.EllipticCurve | None = None, password: bytes | None = None) -> Keys:
    """Writes a private and a public key."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    pem = serialization.Encoding.PEM
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    folder.mkdir(exist_ok=True)
    private, public = folder / "key.pem", folder / "key.pub"
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, encryption))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return make_keys(tmp_path / "keys")


def faults(model: Artefact, public: Path) -> list[tuple[str, str]]:
    found = verify(open_source(model.uri), public_key=check_public_key(public))
    return [(difference.kind, difference.message) for difference in found.differences]


def test_a_signed_model_verifies_by_its_key_alone(model: Artefact, keys: Keys, tmp_path: Path) -> None:
    private, public = keys
    assert faults(model, public) == [("signature", "it is not there: the model is not signed")]
    sign(model, private)
    assert faults(model, public) == []
    assert faults(model, make_keys(tmp_path / "others")[1]) == [("signature", "it was made with another key")]
    assert verify(open_source(model.uri)).unchecked[-1] == SIGNED


def test_signing_again_changes_nothing_and_another_key_replaces(
    model: Artefact, keys: Keys, tmp_path: Path
) -> None:
    sign(model, keys[0])
    first = model.read(SIGNATURE)
    sign(model, keys[0])
    assert model.read(SIGNATURE) == first
    private, public = make_keys(tmp_path / "others", ec.SECP521R1())
    sign(model, private)
    assert faults(model, public) == []


@pytest.fixture
def folder(tmp_path: Path, keys: Keys) -> Path:
    """A signed model's folder."""
    wanted, aligned, sft = pair(tmp_path / "pair")
    model = Artefact(str(tmp_path / "model"))
    extrapolate(make_plan(wanted, aligned, sft), aligned, sft, model)
    sign(model, keys[0])
    return tmp_path / "model"


def relist(folder: Path) -> None:
    """Makes the manifest agree with the files that are there, as a forger would."""
    manifest = json.loads((folder / MANIFEST).read_text())
    names = {path.name for path in folder.iterdir() if path.is_file()} - {MANIFEST, SIGNATURE}
    manifest["files"] = [
        {"name": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name in sorted(names)
        if (content := (folder / name).read_bytes()) is not None
    ]
    (folder / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize("change", ["changed", "added", "removed"])
def test_a_forged_manifest_does_not_fit_the_signature(folder: Path, keys: Keys, change: str) -> None:
    if change == "changed":
        content = (folder / SHARD).read_bytes()
        (folder / SHARD).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif change == "added":
        (folder / "modeling_x.py").write_text("import os\n")
    else:
        (folder / SHARD).unlink()
    relist(folder)
    found = faults(Artefact(str(folder)), keys[1])
    assert [kind for kind, _ in found] == ["signature"]
    assert "it is of other files" in found[0][1]


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 100, b"[" * 10_000, None])
def test_a_damaged_signature_is_one_line(folder: Path, keys: Keys, content: bytes | None) -> None:
    path = folder / SIGNATURE
    path.write_bytes(path.read_bytes()[:-200] if content is None else content)
    found = faults(Artefact(str(folder)), keys[1])
    assert found == [("signature", "it is damaged, or was not made with this key")]


def test_the_librarys_own_command_agrees(folder: Path, keys: Keys) -> None:
    """Whoever gets the model needs nothing of this project; the Hub's card is not covered."""
    (folder / "README.md").write_text("a card")
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(folder)]
    command += ["--signature", str(folder / SIGNATURE), "--public_key", str(keys[1])]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "config.json").write_text("{}")
    assert subprocess.run(command, capture_output=True, text=True).returncode == 1


def test_what_is_no_key_is_refused_at_once(tmp_path: Path, keys: Keys) -> None:
    private, public = keys
    with pytest.raises(InputError, match="cannot be read: No such file"):
        check_private_key(tmp_path / "nowhere")
    other = tmp_path / "other.pem"
    other.write_text("not a key")
    for path in (public, other):
        with pytest.raises(InputError, match="no private key in PEM of an elliptic curve; make a pair with"):
            check_private_key(path)
    for path in (private, other):
        with pytest.raises(InputError, match="no public key in PEM of an elliptic curve; make a pair with"):
            check_public_key(path)
    with pytest.raises(InputError, match="the key is encrypted"):
        check_private_key(make_keys(tmp_path / "encrypted", password=b"secret")[0])
    with pytest.raises(InputError, match="no private key"):
        check_private_key(make_keys(tmp_path / "k1", ec.SECP256K1())[0])
    made = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    other.write_bytes(made)
    with pytest.raises(InputError, match="no private key"):
        check_private_key(other)
