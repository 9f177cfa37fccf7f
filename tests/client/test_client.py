"""The client against a real gateway, and against whatever else may answer at a URL."""

from __future__ import annotations

import asyncio
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from collage.client import (
    AsyncClient,
    Client,
    GatewayBusy,
    GatewayError,
    GatewayTooLate,
    GatewayUnreachable,
    NotAllowed,
    RequestRefused,
)
from collage.exceptions import InvalidInput, SettingsError
from collage.imaging import decode_image, to_tensor
from collage.zoo import load_model, sample_images

SAMPLES = sample_images()[::7]
FILES = [sample.path.read_bytes() for sample in SAMPLES]


def test_an_image_is_named_whatever_holds_it(client: Client) -> None:
    sample = SAMPLES[0]
    pixels = np.asarray(Image.open(sample.path))
    card = load_model("fashion-mnist-single").card
    tensor = to_tensor(decode_image(FILES[0]), card.preprocessing)
    answers = [
        client.classify(image)
        for image in (FILES[0], bytearray(FILES[0]), str(sample.path), sample.path, pixels, pixels[..., None], tensor)
    ]
    assert len({(answer.label, answer.confidence) for answer in answers if not answer.degraded}) == 1
    answer = answers[0]
    assert answer.label == card.classes[answer.index]
    assert 0 < answer.confidence <= 1
    assert answer.degraded == (answer.source == "collage")
    assert 0 < answer.milliseconds <= answer.seconds * 1e3
    assert (answer.model, answer.version, answer.request_id) == (card.name, card.version, "")


def test_several_travel_together_and_come_back_in_order(client: Client) -> None:
    alone = [client.classify(file, accept_degraded=False) for file in FILES]
    together = client.classify_many(FILES, accept_degraded=False, per_request=8, top=3)  # two requests and more
    assert len(FILES) > 16
    assert [answer.label for answer in together] == [answer.label for answer in alone]
    assert all(answer.source in ("single", "replica") for answer in together)
    for answer in together:
        assert answer.top[0].label == answer.label
        assert [candidate.score for candidate in answer.top] == sorted((c.score for c in answer.top), reverse=True)
        assert len(answer.top) == 3
    pixels = np.stack([np.asarray(Image.open(sample.path)) for sample in SAMPLES[:8]])
    assert [answer.label for answer in client.classify_many(pixels)] == [answer.label for answer in alone[:8]]
    assert client.classify_many([]) == []


def test_a_colour_photo_of_another_size_beside_a_grey_one(client: Client) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (90, 60, 3), np.uint8)
    assert len(client.classify_many([photo, FILES[0]])) == 2


def test_its_model_is_described(client: Client) -> None:
    model = client.model()
    card = load_model("fashion-mnist-single").card
    assert client.models() == [card.name]
    assert (model.name, model.versions, list(model.classes)) == (card.name, (card.version,), card.classes)
    assert (model.input_shape, model.scores) == ((1, 28, 28), card.output)
    assert client.ready()


def test_what_is_refused_says_why(client: Client, url: str) -> None:
    with pytest.raises(RequestRefused, match=r"images\[1\]: not a JPEG") as refused:
        client.classify_many([FILES[0], b"not an image"], request_id="r-1")
    assert (refused.value.status, refused.value.retry_after, refused.value.request_id) == (400, None, "r-1")
    with pytest.raises(RequestRefused, match="9 images; at most 8") as refused:
        client.classify_many(FILES[:9])
    assert refused.value.status == 413
    with pytest.raises(GatewayTooLate, match="deadline") as late:
        client.classify(FILES[0], deadline=1e-6)
    assert late.value.status == 504
    with Client(url, model="nothing") as other, pytest.raises(RequestRefused, match="'nothing'") as refused:
        other.classify(FILES[0])
    assert refused.value.status == 404
    assert client.classify(FILES[0]).label  # and goes on


@pytest.mark.parametrize(
    ("image", "named"),
    [
        (3, "int is no image"),
        (np.zeros((2, 2), np.float64), "float64"),
        (np.zeros((2, 2, 4), np.uint8), r"\(2, 2, 4\)"),
        (np.zeros((0, 2), np.uint8), r"\(0, 2\)"),
        (np.zeros((2, 2, 2, 2), np.uint8), r"\(2, 2, 2, 2\)"),
    ],
)
def test_what_is_no_image_is_not_sent(client: Client, image: Any, named: str) -> None:
    with pytest.raises(InvalidInput, match=rf"images\[1\]: .*{named}"):
        client.classify_many([FILES[0], image])


def test_arguments_are_checked_here(client: Client) -> None:
    for wrong in ({"deadline": 0}, {"deadline": float("inf")}, {"top": 0}, {"request_id": "a\nb"}):
        with pytest.raises(InvalidInput, match=next(iter(wrong))):
            client.classify(FILES[0], **wrong)
    with pytest.raises(InvalidInput, match="per_request"):
        client.classify_many(FILES, per_request=0)
    with pytest.raises(InvalidInput, match="cannot be mixed"):
        client.classify_many([FILES[0], np.zeros((1, 28, 28), np.float32)])
    with pytest.raises(FileNotFoundError):
        client.classify("no-such-file.png")
    for wrong in ({"url": "ftp://x"}, {"timeout": 0}, {"connections": 0}, {"api_key": "two words"}, {"ca": __file__}):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            Client(**wrong)


def test_threads_share_a_client(client: Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        labels = list(pool.map(lambda file: client.classify(file, accept_degraded=False).label, FILES[:16]))
    assert labels == [answer.label for answer in client.classify_many(FILES[:8], accept_degraded=False)] + [
        answer.label for answer in client.classify_many(FILES[8:16], accept_degraded=False)
    ]


def test_tasks_share_an_async_client(url: str, client: Client) -> None:
    async def ask() -> None:
        async with AsyncClient(url) as asking:
            assert await asking.ready()
            assert await asking.models() == client.models()
            assert await asking.model() == client.model()
            alone = await asyncio.gather(*(asking.classify(file, accept_degraded=False) for file in FILES[:8]))
            together = await asking.classify_many(FILES[:8], accept_degraded=False)
            assert [answer.label for answer in alone] == [answer.label for answer in together]
            with pytest.raises(RequestRefused):
                await asking.classify(b"x")
            assert (await asking.classify(FILES[0], request_id="mine")).request_id == "mine"

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("status", "headers", "kind", "retry_after"),
    [
        (401, {}, NotAllowed, None),
        (403, {}, NotAllowed, None),
        (408, {}, RequestRefused, None),
        (429, {"Retry-After": "7"}, GatewayBusy, 7.0),
        (500, {}, GatewayError, None),
        (503, {"Retry-After": "1"}, GatewayBusy, 1.0),
        (503, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, GatewayBusy, None),
        (504, {"Retry-After": "2"}, GatewayTooLate, 2.0),
    ],
)
def test_each_status_is_its_error(
    scripted: Any, status: int, headers: dict[str, str], kind: type[GatewayError], retry_after: float | None
) -> None:
    scripted.status, scripted.headers, scripted.body = status, headers, b'{"error": "field: what is wrong"}'
    with Client(scripted.url, model="m", api_key="s3cret") as client, pytest.raises(kind) as raised:
        client.classify(FILES[0])
    assert type(raised.value) is kind
    assert str(raised.value) == "field: what is wrong"
    assert (raised.value.status, raised.value.retry_after) == (status, retry_after)
    assert scripted.seen[0][1]["authorization"] == "Bearer s3cret"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error"', b'{"no": "model"}', b'{"inputs": 3}', b"\xff"])
def test_what_is_no_gateway_is_said(scripted: Any, body: bytes) -> None:
    scripted.body = body
    with Client(scripted.url, model="m") as client:
        with pytest.raises(GatewayError, match="no gateway"):
            client.classify(FILES[0])
        with pytest.raises(GatewayError, match="no gateway"):
            client.models() if body != b"[]" else client.model()
        scripted.status = 502
        with pytest.raises(GatewayError, match="HTTP 502") as raised:
            client.classify(FILES[0])
    assert raised.value.status == 502


def test_nobody_there_and_nobody_answering() -> None:
    with socket.socket() as bound:  # bound, and not listened on
        bound.bind(("127.0.0.1", 0))
        with Client(f"127.0.0.1:{bound.getsockname()[1]}") as client:
            assert not client.ready()
            with pytest.raises(GatewayUnreachable, match="no gateway answers") as raised:
                client.classify(FILES[0])
        assert raised.value.status is None
        bound.listen()
        with (
            Client(f"127.0.0.1:{bound.getsockname()[1]}", timeout=0.05) as client,
            pytest.raises(GatewayTooLate, match="in time"),
        ):
            client.classify(FILES[0])


def test_one_connection_serves_one_after_the_other(scripted: Any) -> None:
    scripted.body = json.dumps([{"name": "a"}, {"name": "b"}, {"name": "a"}]).encode()
    with Client(scripted.url) as client:
        assert client.models() == client.models() == ["a", "b"]
        assert len(client._http._transport._pool.connections) == 1
