"""Signatures of models with a key, in the format of OpenSSF model-signing: `model.sig` beside the manifest.

A signature covers the manifest and every file that the manifest names, by the digests that sealing
and verifying compute anyway: nothing is hashed for it. `model_signing verify key` of a folder finds
the same. The model card is left out: it changes with each verdict.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tasks.core.errors import InputError
from tasks.stores.artefact import MANIFEST, Artefact
from tasks.weights.manifest import read_manifest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
    from model_signing.hashing import Config
    from model_signing.manifest import ManifestItem, SerializationType

__all__ = [
    "LARGEST",
    "SIGNATURE",
    "check_private_key",
    "check_public_key",
    "sign",
    "signature_by",
    "signature_fault",
]

SIGNATURE = "model.sig"
LARGEST = 10_000_000  # bytes, of a signature that is read
NOT_COVERED = (SIGNATURE, "README.md", ".git", ".gitattributes", ".github", ".gitignore")
CURVES = ("secp256r1", "secp384r1", "secp521r1")
MAKE_KEYS = (
    "make a pair with `openssl ecparam -name prime256v1 -genkey -noout -out KEY` "
    "and `openssl ec -in KEY -pubout -out PUB`"
)


def check_private_key(path: Path) -> None:
    """Refuses what is no key to sign with.

    Raises:
        InputError: it cannot be read, is encrypted, or is no private key on one of the three curves.
        ModuleNotFoundError: the extra `sign` is not installed.
    """
    _public_pem(path)


def check_public_key(path: Path) -> bytes:
    """A public key's PEM.

    Raises:
        InputError: it cannot be read, or is no public key on one of the three curves.
        ModuleNotFoundError: the extra `sign` is not installed.
    """
    import model_signing  # noqa: F401
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    content = _read(path)
    try:
        _require_curve(load_pem_public_key(content))
    except Exception as error:
        raise InputError(f"{path}: no public key in PEM of an elliptic curve; {MAKE_KEYS}") from error
    return content


def sign(model: Artefact, key: Path) -> None:
    """Puts a signature into a whole model; one by the same key that fits stays as it is.

    Raises:
        InputError: there is no manifest, or as `check_private_key`.
    """
    content = model.manifest()
    if content is None:
        raise InputError(f"{model.uri}: no manifest, so there is no whole model to sign; extrapolate first")
    held = model.read(SIGNATURE)
    signature = signature_by(key, content, held)
    if signature != held:
        model.replace(SIGNATURE, signature)


def signature_by(key: Path, manifest: bytes, held: bytes | None) -> bytes:
    """`held` where it is this key's signature of a model with this manifest, else a new one.

    Raises:
        InputError, CorruptError: as `check_private_key` and `read_manifest`.
    """
    if held is not None and signature_fault(held, manifest, _public_pem(key)) is None:
        return held
    from model_signing import signing

    check_private_key(key)
    with TemporaryDirectory(prefix="expo-sign-") as folder:
        path = Path(folder) / SIGNATURE
        config = signing.Config().set_hashing_config(_hashing(manifest))
        config.use_elliptic_key_signer(private_key=key).sign(Path("model"), path)
        return path.read_bytes()


def signature_fault(signature: bytes, manifest: bytes, public_pem: bytes) -> str | None:
    """Why this is no signature by that key of a model with this manifest; None where it is one.

    Raises:
        CorruptError: as `read_manifest`.
    """
    from model_signing import verifying

    if len(signature) > LARGEST:
        return f"it is larger than {LARGEST / 1e6:.0f} MB"
    with TemporaryDirectory(prefix="expo-sign-") as folder:
        path, key = Path(folder) / SIGNATURE, Path(folder) / "key"
        path.write_bytes(signature)
        key.write_bytes(public_pem)
        config = verifying.Config().set_hashing_config(_hashing(manifest))
        try:
            config.use_elliptic_key_verifier(public_key=key).verify(Path("model"), path)
        except Exception as error:  # whatever a parser of a stranger's bytes may raise
            return _reason(str(error))
    return None


def _reason(error: str) -> str:
    if error.startswith("Key mismatch"):
        return "it was made with another key"
    if error.startswith("Signature mismatch"):
        return "it is of other files: the manifest or a file that it names is not the one that was signed"
    return "it is damaged, or was not made with this key"


def _hashing(manifest: bytes) -> "Config":
    """What the library would find if it hashed a folder with this manifest and all files that it names."""
    from model_signing import hashing
    from model_signing.manifest import Manifest, SerializationType

    kind = SerializationType.from_args(
        {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": NOT_COVERED}
    )
    digests = {MANIFEST: hashlib.sha256(manifest).hexdigest()}
    digests |= {file.name: file.sha256 for file in read_manifest(manifest).files}
    found = Manifest("model", _items(kind, digests), kind)

    class Hashed(hashing.Config):  # type: ignore[misc]
        def hash(self, model_path: Path, *, files_to_hash: object = None) -> Manifest:
            del model_path, files_to_hash
            return found

    return Hashed()


def _items(kind: "SerializationType", digests: Mapping[str, str]) -> "list[ManifestItem]":
    from model_signing._hashing.hashing import Digest  # has no public name; the extra names the version

    return [kind.new_item(name, Digest("sha256", bytes.fromhex(hex_))) for name, hex_ in digests.items()]


def _public_pem(path: Path) -> bytes:
    """The public half of a private key."""
    import model_signing  # noqa: F401
    from cryptography.hazmat.primitives import serialization

    content = _read(path)
    try:
        public = serialization.load_pem_private_key(content, None).public_key()
        _require_curve(public)
    except TypeError as error:
        raise InputError(
            f"{path}: the key is encrypted; write it without a password for the time of signing, "
            f"with `openssl pkey -in KEY -out OTHER`"
        ) from error
    except Exception as error:
        raise InputError(f"{path}: no private key in PEM of an elliptic curve; {MAKE_KEYS}") from error
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return public.public_bytes(encoding, form)


def _require_curve(key: "PublicKeyTypes") -> None:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name not in CURVES:
        raise ValueError("another kind of key")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: the key cannot be read: {error.strerror}") from error
