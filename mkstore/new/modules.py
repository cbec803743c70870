"""Python modules that are changed at places found in their syntax trees; comments and layout stay as they are."""

import ast
import re
from collections.abc import Iterator
from functools import lru_cache

from mkstore.new.plan import CannotChange, Draft


class Module:
    """A module of a draft. Each change is in the draft at once; `ruff` sorts imports and wraps lines afterwards."""

    def __init__(self, draft: Draft, path: str) -> None:
        self._draft = draft
        self.path = path
        draft.read(path)  # raises if there is none

    @property
    def text(self) -> str:
        """The source with the changes so far."""
        return self._draft.read(self.path)

    def classes(self) -> Iterator[ast.ClassDef]:
        """Return the classes of the module in their order."""
        return (node for node in self._tree().body if isinstance(node, ast.ClassDef))

    def source(self, node: ast.AST) -> str:
        """Return the text of a node."""
        return ast.get_source_segment(self.text, node) or ""

    def defines(self, name: str) -> bool:
        """Return whether a class, function or variable of the module has this name."""
        nodes = self._tree().body
        targets = (target for node in nodes if isinstance(node, ast.Assign) for target in node.targets)
        return name in {getattr(node, "name", None) for node in nodes} | {getattr(each, "id", None) for each in targets}

    def add_import(self, module: str, name: str) -> None:
        """Import a name, unless it is imported already."""
        imports = [node for node in self._tree().body if isinstance(node, ast.Import | ast.ImportFrom)]
        for node in imports:
            if isinstance(node, ast.ImportFrom) and node.module == module and name in {n.name for n in node.names}:
                return
        self._insert(imports[0].lineno - 1 if imports else self._docstring_end(), f"from {module} import {name}\n")

    def insert_after(self, node: ast.stmt, code: str) -> None:
        """Insert statements after one of the module's, separated as classes and functions are."""
        self._insert(node.end_lineno or node.lineno, f"\n\n{code}")

    def insert_before_router(self, code: str) -> None:
        """Insert lines before the assignment of `router`."""
        self._insert(self._assignment("router").lineno - 1, code)

    def append_handler(self, decorator: str, code: str) -> None:
        """Insert a function after the last one with this decorator, or at the end if there is none."""
        for node in reversed(self._tree().body):
            if isinstance(node, ast.AsyncFunctionDef) and any(
                self.source(each).startswith(decorator) for each in node.decorator_list
            ):
                self.insert_after(node, code)
                return
        self.append(f"\n\n{code}")

    def append(self, code: str) -> None:
        """Add lines at the end."""
        self._draft.change(self.path, f"{self.text.rstrip()}\n{code}")

    def value(self, name: str) -> ast.expr:
        """Return what the module assigns to a variable. Raises `CannotChange` if it assigns nothing to it."""
        return self._assignment(name).value

    def argument(self, call: str, keyword: str) -> ast.expr | None:
        """Return a keyword argument of the only call of a function; None if there is none."""
        for node in ast.walk(self._tree()):
            if isinstance(node, ast.Call) and self.source(node.func) == call:
                return next((each.value for each in node.keywords if each.arg == keyword), None)
        return None

    def add_to_argument(self, call: str, keyword: str, element: str) -> None:
        """Add an element to a list or tuple that is a keyword argument, unless it is there already.

        Raises `CannotChange` if the argument is something else.
        """
        sequence = self.argument(call, keyword)
        if not isinstance(sequence, ast.List | ast.Tuple) or not sequence.elts:
            raise CannotChange(f"{self.path} has no list {keyword}=[...] in {call}(...): nothing was changed.")
        if element in {self.source(each) for each in sequence.elts}:
            return
        last = sequence.elts[-1]
        lines = self.text.splitlines(keepends=True)
        line = lines[(last.end_lineno or last.lineno) - 1].encode()  # the tree counts bytes
        head, tail = line[: last.end_col_offset].decode(), line[last.end_col_offset or 0 :].decode()
        tail = re.sub(r"^,(?=\))", "", tail)  # a tuple of one element
        lines[(last.end_lineno or last.lineno) - 1] = f"{head}, {element}{tail}"
        self._draft.change(self.path, "".join(lines))

    def _tree(self) -> ast.Module:
        try:
            return _parse(self.text)
        except SyntaxError as error:
            raise CannotChange(f"{self.path} is not valid Python (line {error.lineno}): nothing was changed.") from None

    def _assignment(self, name: str) -> ast.Assign:
        for node in self._tree().body:
            if isinstance(node, ast.Assign) and name in {getattr(target, "id", None) for target in node.targets}:
                return node
        raise CannotChange(f"{self.path} assigns nothing to {name}: nothing was changed.")

    def _docstring_end(self) -> int:
        body = self._tree().body
        return (body[0].end_lineno or 0) if body and isinstance(body[0], ast.Expr) else 0

    def _insert(self, line: int, code: str) -> None:
        lines = self.text.splitlines(keepends=True)
        self._draft.change(self.path, "".join([*lines[:line], code, *lines[line:]]))


@lru_cache(maxsize=64)  # a plan asks each module of the contracts several times
def _parse(text: str) -> ast.Module:
    return ast.parse(text)
