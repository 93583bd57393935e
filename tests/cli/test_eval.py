"""`srcache eval`: the group of `images` and `classifiers`, each loaded when it is called."""

import subprocess
import sys


def test_the_group_lists_its_commands(home, srcache):
    printed = srcache("eval", "--help")
    assert printed.code == 0
    assert "classifiers" in printed.out
    assert "images" in printed.out
    assert srcache("eval", "nonsense").code == 2
    assert srcache("eval", "images", "--help").code == 0


def test_each_command_is_loaded_without_the_other():
    code = (
        "import sys; from srcache_cli.main import run\n"
        "assert run(['eval', sys.argv[1], '--help']) == 0\n"
        "print(*(name for name in sys.modules if name.startswith('srcache_cli.eval_')), file=sys.stderr)"
    )
    for name in ("images", "classifiers"):
        done = subprocess.run([sys.executable, "-c", code, name], capture_output=True, text=True, check=True)
        assert done.stderr.split() == [f"srcache_cli.eval_{name}"]
