from __future__ import annotations

import subprocess
import sys


def test_importing_the_simulator_prints_nothing(tmp_path):
    """Also where robosuite is compiled anew, which shows its syntax warnings."""
    code = (
        "import sys; sys.pycache_prefix = sys.argv[1]\n"
        "from simulation.quiet import quiet_robosuite\n"
        "with quiet_robosuite(): import robosuite.macros\n"
        "sys.pycache_prefix = None\n"
        "import logging, simulation.environment\n"
        "logging.getLogger('robosuite_logs').warning('still works')\n"
    )
    result = subprocess.run(
        [sys.executable, "-W", "always::SyntaxWarning", "-c", code, tmp_path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert "still works" in line
