"""`dlr vla` as a user meets it: what it asks for, one line for each mistake."""

from __future__ import annotations

import pytest

from cli.main import main


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["finetune"], "give it as --init"),
        (["pretrain", "--steps", "1", "--epochs", "1"], "not both"),
        (["pretrain", "--model", "openvla", "--train", "expert_only"], "no action expert"),
        (["pretrain", "--evaluate-every-epochs", "1"], "--validation-suites"),
        (["pretrain"], "nowhere"),
        (["pretrain", "--learning-rate", "nan"], "--learning-rate is more than 0, not nan"),
        (["pretrain", "--weight-decay", "-1"], "--weight-decay is 0 or more, not -1"),
        (["pretrain", "--episodes", "0"], "--episodes is 1 or more, not 0"),
        (["pretrain", "--lora-alpha", "-3"], "--lora-alpha is 1 or more, not -3"),
        (["pretrain", "--patience", "0"], "--patience is 1 or more, not 0"),
    ],
)
def test_mistakes_are_one_line(words, message, tmp_path, capsys):
    common = ["--data", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as exit_:
        main(["vla", *words, *common])
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert message in line


def test_help_lists_settings_with_their_meaning(capsys):
    with pytest.raises(SystemExit):
        main(["vla", "finetune", "--help"])
    shown = capsys.readouterr().out
    assert "--lora-rank" in shown and "statistics of this data" in " ".join(shown.split())
