"""Activation atlases of your own vision network on your own images.

config = load_config("quickstart")           # a YAML file, or one of ours by its name
run(config)                                  # what `atlas run` does
atlas = open_run("data/runs/quickstart").atlas("mixed5")
"""

from atlas_pipeline.lazy import lazy_names

__version__ = "0.1.0"

__all__ = ["load_config", "open_run", "run"]

__getattr__ = lazy_names(
    __name__, {"load_config": "config.loading", "open_run": "reader", "run": "runs.commands"}
)
