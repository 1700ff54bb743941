"""Train the networks: recipes, data made on the fly, the engine, the stages of paper section 3.4.

Nothing heavy is imported here; `napari_deblur.training.cli` is the way in.
"""

from __future__ import annotations
