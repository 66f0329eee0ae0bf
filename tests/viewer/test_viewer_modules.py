"""The ES modules of the viewer: their own tests in Node, and the script bundled from them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from atlas_pipeline.viewer.bundle import bundle
from atlas_pipeline.viewer.page_files import viewer_modules

TESTS = Path(__file__).parent / "static"


@pytest.fixture(scope="module")
def node():
    """Path of Node: on PATH, or the copy in Playwright."""
    if found := shutil.which("node"):
        return found
    try:
        from playwright._impl._driver import compute_driver_executable

        found = compute_driver_executable()
    except ImportError:
        found = ()
    # Playwright returns a path, or a tuple of the path and its own script.
    path = Path(found if isinstance(found, str) else found[0]) if found else None
    if path is not None and path.is_file():
        return str(path)
    if os.environ.get("CI"):
        pytest.fail("no node here: neither on the path nor in Playwright's package")
    return pytest.skip("no node here; install it, or Playwright's Python package")


def run(node, *arguments):
    """Output of Node, which must exit with 0."""
    done = subprocess.run(
        [node, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_modules_pass_their_own_tests(node):
    files = sorted(TESTS.glob("*.test.mjs"))
    said = run(node, "--test", "--test-reporter=tap", *files)
    assert int(re.search(r"^# pass (\d+)$", said, re.MULTILINE).group(1)) >= len(files) > 0
    assert re.search(r"^# fail 0$", said, re.MULTILINE)
    assert re.search(r"^# skipped 0$", said, re.MULTILINE)


def test_the_script_of_all_modules_is_one_that_runs_without_modules(node, tmp_path):
    made = tmp_path / "viewer.cjs"
    made.write_text(bundle(viewer_modules(), "start.js"))
    run(node, "--check", made)


def without_words(code):
    """Code without comments and strings; only the expressions of a template stay."""
    code = re.sub(r"/\*.*?\*/", "", code, flags=re.DOTALL)
    code = re.sub(r"(^|[\s;,{(])//.*$", r"\1", code, flags=re.MULTILINE)
    code = re.sub(r'"(?:[^"\\\n]|\\.)*"', '""', code)
    return re.sub(r"`[^`]*`", lambda of: f"({' '.join(re.findall(r'[$]{(.*?)}', of[0], re.DOTALL))})", code)


def test_a_module_imports_what_it_uses_and_nothing_else():
    # The bundle has one shared scope, which would hide a missing import.
    modules = viewer_modules()
    exports = {
        name: module
        for module, code in modules.items()
        for name in re.findall(r"^export (?:async )?(?:function|const|let|class) (\w+)", code, re.MULTILINE)
    }
    for module, code in modules.items():
        imports = re.findall(r'^import \{([^{}]*)\} from "', code, re.MULTILINE)
        imported = {name.strip() for names in imports for name in names.split(",")} - {""}
        body = without_words(re.sub(r'^import \{[^{}]*\} from ".*";$', "", code, flags=re.MULTILINE))
        used = {
            name
            for name, owner in exports.items()
            if owner != module
            and re.search(rf"(?:(?<![\w.$])|(?<=\.\.\.)){name}\b(?!\s*:)|\? {name}\b", body)
        }
        assert (module, used) == (module, imported)


def scope(code):
    """Lines of the bundle of these modules, without its wrapper."""
    return [line for line in bundle(code, "a.js").splitlines() if line.strip()][2:-1]


def test_what_is_imported_runs_first_and_exports_stay_live(node, tmp_path):
    modules = {
        "a.js": 'import { n, up } from "./b.js";\nimport { twice } from "./c.js";\n'
        "export const start = twice(n);\nup();\nwindow.seen = [start, n];\n",
        "b.js": "export let n = 2;\nexport function up() {\n  n++;\n}\n",
        "c.js": 'import {\n  n,\n} from "./b.js";\n\nexport const twice = (of) => 2 * of + n;\n',
    }
    assert [line for line in scope(modules) if line.endswith(".js")] == ["// b.js", "// c.js", "// a.js"]
    made = tmp_path / "made.cjs"
    made.write_text(
        "globalThis.window = globalThis;\n"
        + bundle(modules, "a.js")
        + "console.log(JSON.stringify([window.seen, window.atlas.n, typeof twice]));\n"
    )
    assert run(node, made).strip() == '[[6,3],3,"undefined"]'


def test_modules_may_import_each_other_in_a_circle():
    modules = {
        "a.js": 'import { b } from "./b.js";\n\nexport const a = () => b();\n',
        "b.js": 'import { a } from "./a.js";\n\nexport const b = () => a;\n',
    }
    assert [line for line in scope(modules) if line.startswith("//")] == ["// b.js", "// a.js"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("export default 1;\n", "a.js: 'export ' cannot be bundled"),
        ("const x = 1;\nexport { x };\n", "'export ' cannot be bundled"),
        ('export * from "./b.js";\n', "'export ' cannot be bundled"),
        ('import { b as c } from "./b.js";\n', "import 'b as c' of b.js under its own name"),
        ('import * as all from "./b.js";\n', "'import' cannot be bundled"),
        ('import b from "./b.js";\n', "'import' cannot be bundled"),
        ('import "./b.js";\n', "'import' cannot be bundled"),
        ('const later = () => import("./b.js");\n', "neither import() nor import.meta"),
        ("await 1;\n", "cannot wait at the top level"),
        ("const { x } = 1;\n", "declare one name at a time"),
        ("const x = 1,\n  y = 2;\n", "declare one name at a time at the top level, 'x' alone"),
        ("let x, y;\n", "declare one name at a time at the top level, 'x' alone"),
        ("const x = f(1), // why\n  y = 2;\n", "declare one name at a time at the top level, 'x' alone"),
        ("var x = 1;\n", "use const or let"),
        ('import { c } from "./b.js";\n', "a.js: b.js does not export c"),
        ('import { c } from "./gone.js";\n', "imports gone.js, which is not there"),
        (
            'import { b } from "./b.js";\n\nconst shared = 1;\n',
            "shared is declared at the top of a.js and of b.js",
        ),
        ("const x = 1;\n", "nobody imports b.js"),
        ("const x = 1;", "its last line does not end"),
    ],
)
def test_what_the_bundler_does_not_understand_is_refused(code, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        bundle({"a.js": code, "b.js": "export const b = 1;\nconst shared = 2;\n"}, "a.js")
