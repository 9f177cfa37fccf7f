"""TLS with certificates made here: HTTPS and gRPC, clients' certificates, and a certificate that is renewed."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import grpc
import pytest

from collage.client import Client
from collage.exceptions import GatewayUnreachable, NotAllowed, SettingsError
from collage.oip import METHODS, SERVICE
from collage.serving import load_settings
from collage.serving.safety import Tls, digest, new_key

trustme = pytest.importorskip("trustme")

KEY = new_key()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One PEM file each: ca, server, server-key, the clients ants, bees and wasps, and a stranger of another CA."""
    folder = tmp_path_factory.mktemp("tls")
    ca, other = trustme.CA(), trustme.CA()
    made = {"ca": folder / "ca.pem", "other-ca": folder / "other.pem", "server": folder / "server.pem"}
    ca.cert_pem.write_to_path(made["ca"])
    other.cert_pem.write_to_path(made["other-ca"])
    server = ca.issue_cert("127.0.0.1")
    made["server-key"] = folder / "server.key"
    server.private_key_pem.write_to_path(made["server-key"])
    for pem in server.cert_chain_pems:
        pem.write_to_path(made["server"], append=True)
    for name, issued in {
        "ants": ca.issue_cert("ants.example", common_name="ants"),
        "bees": ca.issue_cert("bees.example"),
        "wasps": ca.issue_cert("wasps.example"),
        "stranger": other.issue_cert("ants.example", common_name="ants"),
    }.items():
        made[name] = folder / f"{name}.pem"
        issued.private_key_and_cert_chain_pem.write_to_path(made[name])
    return made


def _settings(files: dict[str, Path], **more: object) -> dict[str, object]:
    return {"tls_certificate": str(files["server"]), "tls_key": str(files["server-key"]), **more}


def _ask(served: Any, png: Any, files: dict[str, Path], name: str | None, **more: Any) -> str:
    certificate = None if name is None else (files[name], files[name])
    with Client(served.url, ca=files["ca"], certificate=certificate, **more) as client:
        return str(client.classify(png(6)).label)


def _call(served: Any, png: Any, files: dict[str, Path], name: str | None) -> str:
    pem = None if name is None else files[name].read_bytes()
    credentials = grpc.ssl_channel_credentials(files["ca"].read_bytes(), pem, pem)
    method = METHODS["ModelInfer"]
    request = method.request(model_name="greys")
    request.inputs.add(name="images", datatype="BYTES", shape=[1]).contents.bytes_contents.append(png(6))
    with grpc.secure_channel(served.grpc, credentials) as channel:
        call = channel.unary_unary(
            f"/{SERVICE}/ModelInfer",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=method.response.FromString,
        )
        return str(call(request, timeout=60).model_name)


def test_clients_are_known_by_their_certificates(start_gateway: Any, png: Any, files: dict[str, Path]) -> None:
    served = start_gateway(
        **_settings(files, tls_client_ca=str(files["ca"])),
        grpc_port=0,
        workers=1,
        tenants={
            "ants": {"certificates": ["ants"]},
            "bees": {"certificates": ["bees.example"], "keys": [digest(KEY)]},
        },
    )
    assert served.url.startswith("https://")
    for name in ("ants", "bees"):
        assert _ask(served, png, files, name) == "g6"
        assert _call(served, png, files, name) == "greys"
    assert _ask(served, png, files, "wasps", api_key=KEY) == "g6"  # a proxy's certificate, and a client's key
    with pytest.raises(NotAllowed, match="different tenants"):
        _ask(served, png, files, "ants", api_key=KEY)
    with pytest.raises(NotAllowed, match="a key is needed"):
        _ask(served, png, files, "wasps")
    with pytest.raises(grpc.RpcError) as refused:
        _call(served, png, files, "wasps")
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    for name in ("stranger", None):  # no certificate, or one of another CA: not even a connection
        with pytest.raises(GatewayUnreachable):
            _ask(served, png, files, name, api_key=KEY)
        with pytest.raises(grpc.RpcError) as refused:
            _call(served, png, files, name)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert served.stop()[0] == 0


def test_a_certificate_may_be_left_to_the_client(start_gateway: Any, png: Any, files: dict[str, Path]) -> None:
    served = start_gateway(
        **_settings(files, tls_client_ca=str(files["ca"]), tls_clients="optional"),
        workers=1,
        tenants={"ants": {"certificates": ["ants"], "keys": [digest(KEY)]}},
    )
    assert _ask(served, png, files, "ants") == "g6"
    assert _ask(served, png, files, None, api_key=KEY) == "g6"
    with pytest.raises(NotAllowed):
        _ask(served, png, files, None)
    with pytest.raises(GatewayUnreachable):  # one that is shown must be good
        _ask(served, png, files, "stranger")
    assert served.stop()[0] == 0


def _shown(tls: Tls, ca: Path) -> bytes:
    """The certificate that a client of the context is shown."""
    client = ssl.create_default_context(cafile=str(ca))
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    far = tls.context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        for side in (near, far):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    shown = near.getpeercert(binary_form=True)
    assert shown is not None
    return shown


def test_a_renewed_certificate_is_taken_up(tmp_path: Path) -> None:
    ca, paths = trustme.CA(), (tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem")

    def write(*parts: str) -> None:
        issued = ca.issue_cert("127.0.0.1")
        if "certificate" in parts:
            issued.cert_chain_pems[0].write_to_path(paths[0])
        if "key" in parts:
            issued.private_key_pem.write_to_path(paths[1])

    ca.cert_pem.write_to_path(paths[2])
    write("certificate", "key")
    tls = Tls(paths[0], paths[1], None, required=False)
    first = _shown(tls, paths[2])
    assert not tls.renew()
    write("certificate")  # half of it: the key does not fit yet
    assert not tls.renew()
    assert _shown(tls, paths[2]) == first
    write("certificate", "key")
    assert tls.renew()
    assert _shown(tls, paths[2]) != first
    paths[0].unlink()
    assert not tls.renew()
    assert _shown(tls, paths[2]) != first


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"tls_certificate": "server"}, "tls_key: a certificate and its key belong together"),
        ({"tls_client_ca": "ca"}, "tls_client_ca: clients show certificates only over TLS"),
        ({"tenants": {"a": {"certificates": ["a"]}}}, "tenants.a.certificates: nobody checks them"),
        ({"tls_certificate": "nowhere", "tls_key": "server-key"}, "tls_certificate: "),
        ({"tls_certificate": "server", "tls_key": "ca"}, "tls_certificate: "),
        ({"tls_certificate": "server", "tls_key": "server-key", "tls_client_ca": "server-key"}, "tls_client_ca: "),
    ],
)
def test_files_that_do_not_fit_are_named(files: dict[str, Path], given: dict[str, Any], named: str) -> None:
    flags = {name: str(files.get(value, value)) if isinstance(value, str) else value for name, value in given.items()}
    with pytest.raises(SettingsError, match=named) as caught:
        Tls.of(load_settings(**flags))
    assert "\n" not in str(caught.value)


def test_required_certificates_are_enough_to_listen_for_others(files: dict[str, Path]) -> None:
    flags = _settings(files, tls_client_ca=str(files["ca"]), host="0.0.0.0")
    assert not load_settings(**flags).local
    with pytest.raises(SettingsError, match="lets other machines connect"):
        load_settings(**flags, tls_clients="optional")
