"""BibTeX entries for a figure: the method, its parts, the network and this software."""

from __future__ import annotations

import re
from collections.abc import Mapping

from atlas_pipeline.figure.facts import Facts
from atlas_pipeline.models.sources import SOURCES

_ENTRIES: Mapping[str, str] = {
    "carter2019atlas": """@article{carter2019atlas,
  title = {Exploring Neural Networks with Activation Atlases},
  author = {Carter, Shan and Armstrong, Zan and Schubert, Ludwig and Johnson, Ian and Olah, Chris},
  journal = {Distill},
  year = {2019},
  doi = {10.23915/distill.00015},
}
""",
    "mcinnes2018umap": """@article{mcinnes2018umap,
  title = {{UMAP}: Uniform Manifold Approximation and Projection},
  author = {McInnes, Leland and Healy, John and Saul, Nathaniel and Gro{\\ss}berger, Lukas},
  journal = {Journal of Open Source Software},
  volume = {3},
  number = {29},
  pages = {861},
  year = {2018},
  doi = {10.21105/joss.00861},
}
""",
    "vandermaaten2008tsne": """@article{vandermaaten2008tsne,
  title = {Visualizing Data using {t-SNE}},
  author = {van der Maaten, Laurens and Hinton, Geoffrey},
  journal = {Journal of Machine Learning Research},
  volume = {9},
  pages = {2579--2605},
  year = {2008},
}
""",
    "olah2017feature": """@article{olah2017feature,
  title = {Feature Visualization},
  author = {Olah, Chris and Mordvintsev, Alexander and Schubert, Ludwig},
  journal = {Distill},
  year = {2017},
  doi = {10.23915/distill.00007},
}
""",
    "fel2023maco": """@inproceedings{fel2023maco,
  title = {Unlocking Feature Visualization for Deeper Networks with {MAgnitude} Constrained Optimization},
  author = {Fel, Thomas and Boissin, Thibaut and Boutin, Victor and others},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2023},
}
""",
    "kingma2015adam": """@inproceedings{kingma2015adam,
  title = {Adam: A Method for Stochastic Optimization},
  author = {Kingma, Diederik P. and Ba, Jimmy},
  booktitle = {International Conference on Learning Representations},
  year = {2015},
}
""",
    "sundararajan2017axiomatic": """@inproceedings{sundararajan2017axiomatic,
  title = {Axiomatic Attribution for Deep Networks},
  author = {Sundararajan, Mukund and Taly, Ankur and Yan, Qiqi},
  booktitle = {International Conference on Machine Learning},
  year = {2017},
}
""",
    "olah2018blocks": """@article{olah2018blocks,
  title = {The Building Blocks of Interpretability},
  author = {Olah, Chris and Satyanarayan, Arvind and Johnson, Ian and Carter, Shan and Schubert, Ludwig
            and Ye, Katherine and Mordvintsev, Alexander},
  journal = {Distill},
  year = {2018},
  doi = {10.23915/distill.00010},
}
""",
}
_OTHER_MODEL = """@misc{model,
  title = {%s},
  note = {%s},
}
"""


def bibliography_of(facts: Facts, methods: str) -> str:
    """BibTeX entries that a methods paragraph cites, in order of citation."""
    entries = {**_ENTRIES, "model": _model(facts), "atlaspipeline": _software(facts)}
    cited = dict.fromkeys(re.findall(r"(?<!\\)@(\w+)", methods))
    return "\n".join(entries[key] for key in cited)


def _model(facts: Facts) -> str:
    source = SOURCES.get(str(facts.run.config.get("model", {}).get("source")))
    note = _escape(f"model {facts.model}, {facts.weights}")
    if source and source.citation:
        return source.citation % note
    return _OTHER_MODEL % (_escape(facts.model), note)


def _software(facts: Facts) -> str:
    name, _, version = facts.software.partition(" ")
    return (
        f"@software{{atlaspipeline,\n  title = {{{name}}},\n  author = {{{{The {name} developers}}}},\n"
        f"  version = {{{version}}},\n}}\n"
    )


def _escape(text: str) -> str:
    """Escape text for a BibTeX field: no braces, LaTeX's special characters escaped."""
    plain = text.replace("\\", "/").replace("{", "(").replace("}", ")")
    return "".join(f"\\{c}" if c in "#$%&_~^" else c for c in plain)
