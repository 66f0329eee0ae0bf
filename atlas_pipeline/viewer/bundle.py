"""A bundler that turns ES modules into one classic script, because browsers load no modules from file://.

The modules share one function scope, in the order in which a browser would run them. Bindings stay live, and
import cycles are allowed as long as modules call each other only after all of them have run. A name may be
declared at the top level of only one module. A bundler from npm would do more, but the machine that publishes
would have to download it. Constructs that this bundler does not support are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_IMPORT = re.compile(r'^import \{([^{}]*)\} from "\./([\w-]+\.js)";\n', re.MULTILINE)
_KINDS = r"(?:(?:async )?function\*? |class |const |let )"
_DECLARATION = re.compile(rf"^(export )?{_KINDS}(\w+)(.*)$", re.MULTILINE)
# Most patterns match at the start of a line: in a formatted module, only the top level is not indented.
_REFUSED = {
    r"^import\b": 'only `import { a, b } from "./module.js";` is understood',
    rf"^export (?!{_KINDS}\w)": "export declarations, neither lists nor defaults",
    r"^(?:const|let) [\[{]": "declare one name at a time at the top level",
    r"^var\b": "use const or let",
    r"^(?:await|for await)\b": "a classic script cannot wait at the top level",
    r"\bimport\s*[(.]": "a classic script has neither import() nor import.meta",
}


@dataclass(frozen=True, slots=True)
class _Module:
    """A parsed module: its code without import statements and the keyword export, and its names."""

    code: str
    imports: Mapping[str, tuple[str, ...]]  # imported names, by module
    names: frozenset[str]
    exports: tuple[str, ...]


def bundle(modules: Mapping[str, str], entry: str) -> str:
    """A script that runs ``entry`` and its imports; every export becomes a property of ``window.atlas``.

    Args:    modules: code by file name, formatted so that the top level is not indented. entry: file name.
    Raises:  ValueError: an unsupported construct, a name declared at the top level of two modules, an import
             of a missing module or name, or a module that is never imported.
    """
    parsed = {name: _parsed(name, code) for name, code in modules.items()}
    _check(parsed)
    order = _in_order(parsed, entry)
    if unused := sorted(parsed.keys() - set(order)):
        raise ValueError(f"nobody imports {', '.join(unused)}; import it or remove it")
    exports = [name for module in order for name in parsed[module].exports]
    code = "\n".join(f"// {module}\n{parsed[module].code}" for module in order)
    # Getters keep the properties live when a module reassigns an export.
    getters = "".join(f"  get {name}() {{ return {name}; }},\n" for name in exports)
    return f'"use strict";\n(() => {{\n{code}\nwindow.atlas = {{\n{getters}}};\n}})();\n'


def _parsed(name: str, code: str) -> _Module:
    if not code.endswith("\n"):
        raise ValueError(f"{name}: its last line does not end")
    imports: dict[str, tuple[str, ...]] = {}
    for listed, source in _IMPORT.findall(code):
        imported = tuple(one.strip() for one in listed.split(",") if one.strip())
        if renamed := [one for one in imported if not re.fullmatch(r"\w+", one)]:
            raise ValueError(f"{name}: import '{renamed[0]}' of {source} under its own name")
        if source in imports:
            raise ValueError(f"{name}: imports {source} twice")
        imports[source] = imported
    rest = _IMPORT.sub("", code)
    for pattern, words in _REFUSED.items():
        if found := re.search(pattern, _without_comments(rest), re.MULTILINE):
            raise ValueError(f"{name}: '{found.group()}' cannot be bundled: {words}")
    declared, exports = [], []
    for exported, one, after in _DECLARATION.findall(rest):
        line = _without_comments(after).strip()
        if line.startswith(",") or (line.endswith(",") and _is_balanced(line)):
            raise ValueError(f"{name}: declare one name at a time at the top level, '{one}' alone")
        declared.append(one)
        if exported:
            exports.append(one)
    if twice := {one for one in declared if declared.count(one) > 1}:
        raise ValueError(f"{name}: {', '.join(sorted(twice))} is declared twice")
    code = re.sub(r"^export ", "", rest, flags=re.MULTILINE).strip("\n") + "\n"
    return _Module(code, imports, frozenset(declared), tuple(exports))


def _without_comments(code: str) -> str:
    """The code without comments that take whole lines or end a line."""
    return re.sub(r"^\s*/\*\*?.*?\*/$|(?:^|(?<=[\s;,{]))//.*$", "", code, flags=re.MULTILINE | re.DOTALL)


def _is_balanced(line: str) -> bool:
    return sum(line.count(one) for one in "([{") == sum(line.count(one) for one in ")]}")


def _check(modules: Mapping[str, _Module]) -> None:
    owner: dict[str, str] = {}
    for name, module in modules.items():
        for one in sorted(module.names):
            if one in owner:
                raise ValueError(f"{one} is declared at the top of {owner[one]} and of {name}; rename one")
            owner[one] = name
        for source, imported in module.imports.items():
            if source not in modules:
                raise ValueError(f"{name}: imports {source}, which is not there")
            if missing := sorted(set(imported) - set(modules[source].exports)):
                raise ValueError(f"{name}: {source} does not export {', '.join(missing)}")


def _in_order(modules: Mapping[str, _Module], entry: str) -> list[str]:
    """File names in the order in which a browser would run the modules: imported modules come first."""
    order: dict[str, None] = {}
    entered: set[str] = set()

    def enter(name: str) -> None:
        if name in entered:
            return
        entered.add(name)
        for source in modules[name].imports:
            enter(source)
        order[name] = None

    enter(entry)
    return list(order)
