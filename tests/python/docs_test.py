"""The snippets of docs/python.md run, one after the other, in an empty folder."""

import pathlib
import re
import subprocess
import sys

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "python.md"


def test_the_snippets_run(tmp_path):
    text = PAGE.read_text()
    snippets = [(text.count("\n", 0, match.start()) + 1, match[1])
                for match in re.finditer(r"^```python\n(.*?)^```$", text, re.M | re.S)]
    assert len(snippets) >= 8
    # Blank lines before each, so that a traceback names the page's own line.
    script, at = "", 0
    for line, code in snippets:
        script += "\n" * (line - at) + code
        at = line + code.count("\n")
    file = tmp_path / "python.md"
    file.write_text(script)
    done = subprocess.run([sys.executable, file], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "did you mean '0.weight'" in done.stdout
