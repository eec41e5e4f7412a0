"""What is not made straight into a repository of the Hub, and is refused before weights are read."""

from pathlib import Path

import pytest
import torch

from flows.cli.extrapolate import extrapolate as command
from tasks.core.errors import InputError, PermanentError
from tasks.stores.artefact import Artefact
from tasks.weights.jobs import Plan
from tests.servers.hub import WRITE_TOKEN, HubServer
from tests.stores.straight_to_hub import REPO, SENT, plan_at, to_hub
from tests.weights.checkpoints import write_checkpoint


def test_the_model_of_another_alpha_is_kept(hub: HubServer, plan: Plan) -> None:
    kept = to_hub(plan)
    other = plan_at(alpha=0.5)
    hub.log.clear()
    with pytest.raises(InputError, match="another model"):
        to_hub(other)
    assert hub.repos[REPO].head.sha == kept.commit
    assert hub.asked("GET /cdn/") == hub.asked(SENT) == 0


def test_a_repository_that_holds_something_else(hub: HubServer, plan: Plan) -> None:
    """Refused by the command when it has read headers, and no weights."""
    hub.add(REPO, {"notes.txt": b"mine"}, private=True)
    hub.repos[REPO].granted.add(WRITE_TOKEN)
    hub.log.clear()
    plan_at()
    headers = hub.asked("GET /cdn/")
    hub.log.clear()
    with pytest.raises(InputError, match=r"holds notes\.txt; choose an empty one"):
        command(sft="org/sft", aligned="org/aligned", alpha=["0.3"], out=f"hf://{REPO}", stream=True)
    assert (hub.asked("GET /cdn/"), hub.asked("POST .*/(branch|commit)/")) == (headers, 0)


def test_wrong_token(hub: HubServer, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    hub.log.clear()
    with pytest.raises(PermanentError, match="HF_TOKEN") as raised:
        to_hub(plan)
    assert "hf_of_somebody_else" not in str(raised.value)
    assert hub.asked("GET /cdn/") == 0
    assert REPO not in hub.repos


def test_several_alphas_have_no_place_in_one_repository(hub: HubServer, plan: Plan) -> None:
    with pytest.raises(InputError, match="a repository holds one model"):
        command(sft="org/sft", aligned="org/aligned", alpha=["0.3", "0.5"], out=f"hf://{REPO}")
    assert REPO not in hub.repos


def test_checkpoints_that_do_not_fit_make_no_repository(hub: HubServer, plan: Plan, tmp_path: Path) -> None:
    hub.add("org/other", write_checkpoint(tmp_path / "other", {"another": torch.ones(3)}).folder())
    with pytest.raises(InputError, match="another"):
        command(sft="org/other", aligned="org/aligned", alpha=["0.3"], out=f"hf://{REPO}", stream=True)
    assert REPO not in hub.repos


def test_a_repository_is_no_store(hub: HubServer) -> None:
    with pytest.raises(InputError, match=r"hf://lab/x: .*give a folder or s3://"):
        Artefact("hf://lab/x")
