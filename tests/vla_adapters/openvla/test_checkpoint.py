"""Checkpoints that are incomplete, damaged or of something else: one clear line each."""

import hashlib
import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from common.manifest import write_manifest
from vla_adapters.adapter import AdapterError
from vla_adapters.openvla.checkpoint import (
    Checkpoint,
    digest,
    find,
    load_checkpoint,
    save_checkpoint,
)
from vla_adapters.openvla.config import OpenVlaConfig, TextConfig, read_json, small_config
from vla_adapters.openvla.model import OpenVla
from vla_adapters.openvla.processing import Preprocessing
from vla_adapters.openvla.tokenizer import LlamaTokenizer


@pytest.fixture(scope="module")
def checkpoint(tokenizer) -> Checkpoint:
    config = small_config(
        tokenizer.vocabulary_size, 32, vision_width=32, vision_depth=2, text_width=64, text_depth=1
    )
    return Checkpoint(OpenVla.random(config), Preprocessing.of_config(config), tokenizer)


@pytest.fixture
def folder(checkpoint, tmp_path):
    save_checkpoint(checkpoint, tmp_path, shard_bytes=100_000)
    return tmp_path


def change(file, **fields):
    file.write_text(json.dumps({**read_json(file), **fields}))


def test_shards_and_index_hold_all_parameters(checkpoint, folder):
    index = read_json(folder / "model.safetensors.index.json")
    state = checkpoint.model.state_dict()
    assert index["weight_map"].keys() == state.keys()
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in state.values())
    assert len(set(index["weight_map"].values())) > 2
    loaded = load_checkpoint(folder, dtype=torch.float32)
    torch.testing.assert_close(loaded.model.state_dict(), state, rtol=0, atol=0)
    assert (loaded.config, loaded.preprocessing) == (checkpoint.config, checkpoint.preprocessing)


def test_saving_again_replaces_the_shards(checkpoint, folder):
    before = digest(folder)
    save_checkpoint(checkpoint, folder)
    assert [f.name for f in folder.glob("model*")] == ["model.safetensors"]
    load_checkpoint(folder)
    save_checkpoint(checkpoint, folder, shard_bytes=100_000)
    assert digest(folder) == before


def test_missing_shard_is_named(folder):
    file = sorted(folder.glob("model-*.safetensors"))[1]
    file.unlink()
    with pytest.raises(AdapterError, match=f"lacks {file.name}: fetch"):
        load_checkpoint(folder)


def test_missing_weights(folder):
    for file in folder.glob("model*"):
        file.unlink()
    with pytest.raises(AdapterError, match=r"neither model\.safetensors nor"):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", ["../x.safetensors", "/x.safetensors", "", 1])
def test_weights_outside_the_folder_are_refused(name, folder):
    index = folder / "model.safetensors.index.json"
    content = read_json(index)
    content["weight_map"] = dict.fromkeys(content["weight_map"], name)
    index.write_text(json.dumps(content))
    with pytest.raises(AdapterError, match="may lead out of its folder"):
        load_checkpoint(folder)


def test_a_checkpoint_with_digests_shows_another_bit(folder):
    write_manifest(folder)
    load_checkpoint(folder)
    file = sorted(folder.glob("model-*.safetensors"))[1]
    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.write_bytes(content)
    with pytest.raises(AdapterError, match=f"{file.name} is damaged"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"model_type": "openvla", "text_config": [1]}']
)
def test_a_configuration_of_nonsense_is_one_line(content, folder):
    (folder / "config.json").write_text(content)
    with pytest.raises(AdapterError) as caught:
        load_checkpoint(folder)
    assert "\n" not in str(caught.value)


def test_damaged_shard_is_named(folder):
    file = sorted(folder.glob("model-*.safetensors"))[0]
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(AdapterError, match=f"{file.name} is damaged"):
        load_checkpoint(folder)


def test_every_parameter_that_does_not_match_is_named(checkpoint, tmp_path):
    state = checkpoint.model.state_dict()
    missing = [name for name in state if ".norm1." in name]
    other = {name: t for name, t in state.items() if name not in missing} | {"more": torch.ones(1)}
    with pytest.raises(AdapterError) as raised:
        save_checkpoint(checkpoint, tmp_path, other)
    message = str(raised.value)
    assert all(name in message for name in [*missing, "1 unexpected (more)"])
    assert "\n" not in message and not list(tmp_path.iterdir())


def test_weights_of_another_size(checkpoint, folder):
    wide = small_config(
        checkpoint.config.vocabulary_size, 32, vision_width=32, vision_depth=2, text_width=128,
        text_depth=1,
    )  # fmt: skip
    change(folder / "config.json", text_config=wide.text.as_json())
    with pytest.raises(AdapterError, match=r"has shape \(.*\), but config.json makes it"):
        load_checkpoint(folder)


def test_tokenizer_of_another_vocabulary(folder):
    LlamaTokenizer.train(["something else entirely"], 600).save(folder)
    with pytest.raises(AdapterError, match="take the tokenizer that came with the model"):
        load_checkpoint(folder)


def test_tokenizer_missing(folder):
    (folder / "tokenizer.json").unlink()
    with pytest.raises(AdapterError, match=r"tokenizer.json is missing"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "llava"}, "of type 'llava', not 'openvla'"),
        ({"text_config": {"model_type": "phi"}}, "of type 'phi'"),
        ({"image_sizes": [32, 48]}, "image_sizes must be equal"),
        ({"image_resize_strategy": "squint"}, "unknown image_resize_strategy 'squint'"),
        ({"timm_model_ids": ["hf-hub:a/b", "vit_so400m_patch14_siglip_224"]}, "would be fetched"),
        ({"timm_model_ids": ["vit_unheard_of", "resnet18"]}, "timm cannot make vit_unheard_of"),
        ({"pad_to_multiple_of": 10**6}, "has no room for 256 actions"),
    ],
)
def test_configuration_that_cannot_be_loaded(folder, fields, message):
    change(folder / "config.json", **fields)
    with pytest.raises(AdapterError, match=message):
        load_checkpoint(folder)


def test_folder_without_configuration(tmp_path):
    with pytest.raises(AdapterError, match=r"cannot read .*config.json"):
        load_checkpoint(tmp_path)


def test_preprocessing_of_another_size(folder):
    change(folder / "preprocessor_config.json", input_sizes=[[3, 42, 42]] * 2)
    with pytest.raises(AdapterError, match=r"config\.json wants 32 pixels, bicubic"):
        load_checkpoint(folder)


def test_statistics_beside_the_configuration_come_first(folder):
    (folder / "dataset_statistics.json").write_text('{"mine": {}}')
    assert load_checkpoint(folder).config.norm_stats == {"mine": {}}


def test_no_network_says_how_to_get_the_model(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(AdapterError, match="run `hf download nobody/nothing`"):
        find("nobody/nothing")


OFT = ("action_head--150000_checkpoint.pt", "proprio_projector--150000_checkpoint.pt")


@pytest.mark.parametrize("part", OFT)
def test_an_oft_checkpoint_is_refused(folder, part):
    (folder / part).write_bytes(b"its weights")
    with pytest.raises(AdapterError, match=f"is an OpenVLA-OFT \\({part}\\)"):
        load_checkpoint(folder)


@pytest.fixture
def hub(folder, monkeypatch, tmp_path_factory):
    """Names and files of one model on a server on loopback, as the Hugging Face hub has them."""
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    asked = []

    class Hub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            asked.append(self.path)
            if "/resolve/" in self.path:
                self.answer(files[self.path.rpartition("/")[2]])
            elif "/tree/" in self.path:
                listed = [
                    {"type": "file", "path": n, "size": len(c), "oid": digest_of(c)}
                    for n, c in files.items()
                ]
                self.answer(json.dumps(listed).encode())
            else:
                self.answer(json.dumps({"id": "me/model", "sha": "a" * 40}).encode())

        do_HEAD = do_GET

        def answer(self, content):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{digest_of(content)}"')
            self.send_header("X-Repo-Commit", "a" * 40)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    def digest_of(content):
        return hashlib.sha1(content, usedforsecurity=False).hexdigest()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    constants = "huggingface_hub.constants"
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(f"{constants}.ENDPOINT", endpoint)
    monkeypatch.setattr(f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(f"{constants}.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(f"{constants}.HF_HUB_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield files, asked
    server.shutdown()
    server.server_close()


def test_an_oft_checkpoint_on_the_hub_is_refused_before_it_is_fetched(hub):
    files, asked = hub
    files |= dict.fromkeys(OFT, b"its weights")
    with pytest.raises(AdapterError, match=rf"me/model is an OpenVLA-OFT \({OFT[0]}, {OFT[1]}\)"):
        find("me/model")
    assert not [path for path in asked if path.endswith((".safetensors", ".json"))]


def test_a_plain_checkpoint_on_the_hub_is_fetched(hub, folder):
    assert digest(find("me/model")) == digest(folder)


def test_one_vision_transformer(tokenizer, tmp_path):
    text = TextConfig(
        vocab_size=tokenizer.vocabulary_size + 64, hidden_size=64, intermediate_size=64,
        num_hidden_layers=1, num_attention_heads=1, pad_token_id=tokenizer.vocabulary_size,
    )  # fmt: skip
    config = OpenVlaConfig(
        timm_model_ids=("vit_so400m_patch14_siglip_224",),
        image_sizes=(28,),
        timm_override_act_layers=(None,),
        timm_overrides=({"embed_dim": 32, "depth": 2, "num_heads": 1},),
        text=text,
    )
    model = OpenVla.random(config)
    made = Checkpoint(model, Preprocessing.of_config(config), tokenizer)
    save_checkpoint(made, tmp_path / "a")
    shutil.move(tmp_path / "a", tmp_path / "b")
    loaded = load_checkpoint(tmp_path / "b", dtype=torch.float32)
    pictures = torch.zeros(1, 3, 28, 28, dtype=torch.uint8)
    pixels = loaded.preprocessing.normalise(pictures, torch.float32)
    ids = torch.tensor([tokenizer.prompt("wait")])
    ours, theirs = (m.eval()(pixels, ids, torch.ones_like(ids)) for m in (model, loaded.model))
    torch.testing.assert_close(theirs, ours, rtol=0, atol=0)
