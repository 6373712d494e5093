"""The one build step that pyproject.toml cannot say: config/ goes into the wheel, inside `agent`.

A bare top-level `config` in site-packages would shadow, or be shadowed by, somebody else's.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = "shipped_config"  # where agent/layers.py looks


class BuildWithConfig(build_py):
    """Copies `config/` beside the agent's modules."""

    def run(self) -> None:
        """Build, then copy; an editable install reads the checkout's own folder."""
        super().run()
        if self.editable_mode:
            return
        into = Path(self.build_lib) / "agent" / SHIPPED
        if into.exists():
            shutil.rmtree(into)
        for source in sorted(Path("config").rglob("*")):
            if source.is_file() and "__pycache__" not in source.parts:
                target = into / source.relative_to("config")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)


setup(cmdclass={"build_py": BuildWithConfig})
