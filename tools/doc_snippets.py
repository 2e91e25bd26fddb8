#!/usr/bin/env python3
"""Makes C++ sources of the snippets in a page: doc_snippets.py PAGE FOLDER.

A snippet with a main becomes a program of its own, program_N.cpp; the others become functions of snippets.cpp, which
runs them in their order. `#line` has the compiler name the page and its line.
"""
import re
import sys
from pathlib import Path

HEAD = """#include <headrace/headrace.hpp>

#include <cstdio>
#include <filesystem>
#include <future>
#include <span>
#include <string>
#include <vector>
"""


def main() -> int:
    page, folder = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    text = page.read_text()
    folder.mkdir(parents=True, exist_ok=True)
    functions = []
    for match in re.finditer(r"^```cpp\n(.*?)^```$", text, re.M | re.S):
        line = text.count("\n", 0, match.start()) + 2
        code = f'#line {line} "{page}"\n{match[1]}'
        if "int main(" in code:
            (folder / f"program_{line}.cpp").write_text(code)
        else:
            functions.append((line, code))
    body = HEAD + "".join(f"\nstatic void snippet_{line}() {{\n{code}}}\n" for line, code in functions)
    calls = "".join(f"  snippet_{line}();\n" for line, _ in functions)
    (folder / "snippets.cpp").write_text(f"{body}\nint main() {{\n{calls}}}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
